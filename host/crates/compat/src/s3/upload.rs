//! Uploads in parts.
//!
//! An upload is an entry of the bucket's store of uploads. Its parts are objects of another store,
//! each in a file. The end of the upload makes one object of all their files, without a copy.

pub(super) mod list;

use std::sync::Arc;

use data_encoding::HEXLOWER;
use lacewing_base::{Bucket, KvStore};
use lacewing_store::{
    Transaction,
    kv::{Condition, MAX_KEYS},
    object::{Attributes, ByteRange, Object, ObjectWriter},
};
use md5::{Digest, Md5};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
        CompleteMultipartUploadOutput, CompletedPart, CopyPartResult, CreateMultipartUploadInput,
        CreateMultipartUploadOutput, ETag, ListPartsInput, ListPartsOutput, Part, Range,
        UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
    },
    s3_error,
};
use serde::{Deserialize, Serialize};

use super::{
    attributes::said,
    body::Received,
    caller::Caller,
    checksum::{BodyChecksums, told},
    condition::{check_write, etag, modified, source_conditions},
    error::{of_store, refused},
    list::owner,
    object::source,
};

/// The largest number of a part, as in S3.
const MAX_NUMBER: i32 = 10_000;

/// The most parts of one object: its commit looks at each.
const MAX_PARTS: usize = 9_000;

/// The least bytes of a part that is not the last one, as in S3.
const MIN_PART_BYTES: u64 = 5 << 20;

/// The most uploads of a bucket that are under way.
const MAX_UPLOADS: usize = 1000;

/// An upload that is under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Upload {
    key: String,
    begun_ms: i64,
    attributes: Attributes,
}

/// The places of a bucket's uploads.
struct Uploads {
    bucket: Arc<Bucket>,
    uploads: Arc<KvStore>,
    parts: Bucket,
}

impl Uploads {
    fn of(bucket: Arc<Bucket>) -> Uploads {
        let name = &bucket.name;
        let uploads = KvStore {
            id: format!("s3:uploads:{name}").into(),
            max_bytes: 64 << 20,
            max_value_bytes: KvStore::MAX_VALUE_BYTES,
        };
        let max_bytes = bucket.entries.max_bytes;
        let parts = Bucket::new(&format!("{name}:parts")).with_max_bytes(max_bytes);
        Uploads { uploads: Arc::new(uploads), parts, bucket }
    }

    /// The upload of an id, if it is one of the key.
    fn find(&self, transaction: &mut Transaction, id: &str, key: &str) -> S3Result<Upload> {
        // An id that is no key of the store is not there either.
        let found = transaction.get(&self.uploads, id).unwrap_or_default();
        let upload = found.and_then(|entry| serde_json::from_slice::<Upload>(&entry.value).ok());
        upload.filter(|upload| upload.key == key).ok_or_else(|| s3_error!(NoSuchUpload))
    }

    /// Removes up to 1,000 parts of an upload. Returns whether there may be more.
    async fn remove_parts(&self, caller: &Caller, id: &str) -> S3Result<bool> {
        let prefix = format!("{id}/");
        let remove = |transaction: &mut Transaction| {
            let page = transaction.list_objects(&self.parts, &prefix, None, None, MAX_KEYS)?;
            for part in &page.objects {
                transaction.delete_object(&self.parts, &part.key, Condition::Any)?;
            }
            Ok(page.next.is_some())
        };
        caller.run(remove).await
    }
}

/// The key of a part.
fn part_key(id: &str, number: i32) -> String {
    format!("{id}/{number:05}")
}

fn number_of(key: &str) -> Option<i32> {
    key.rsplit('/').next()?.parse().ok()
}

fn check_number(number: i32) -> S3Result<()> {
    match (1..=MAX_NUMBER).contains(&number) {
        true => Ok(()),
        false => Err(s3_error!(InvalidArgument, "a part has a number from 1 to {MAX_NUMBER}")),
    }
}

pub(super) async fn create(
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let uploads = Uploads::of(caller.bucket(&input.bucket).await?);
    if !(1..=lacewing_store::object::MAX_OBJECT_KEY_BYTES).contains(&input.key.len()) {
        return Err(s3_error!(KeyTooLongError));
    }
    let attributes = said!(input).attributes()?;
    let upload = Upload { key: input.key.clone(), begun_ms: super::bucket::now_ms(), attributes };
    let value = serde_json::to_vec(&upload).unwrap_or_default();
    let id = new_id();
    let begin = |transaction: &mut Transaction| {
        let page = transaction.list(&uploads.uploads, "", None, MAX_UPLOADS);
        if page.map_err(|error| refused(&error))?.keys.len() >= MAX_UPLOADS {
            let text = format!("the bucket has {MAX_UPLOADS} uploads: complete or abort some");
            return Err(s3_error!(InvalidRequest, "{text}"));
        }
        let set = transaction.set(&uploads.uploads, &id, value.clone(), None, Condition::Absent);
        set.map(drop).map_err(|error| refused(&error))
    };
    caller.attempt(begin).await?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        checksum_algorithm: input.checksum_algorithm,
        ..Default::default()
    }))
}

/// An id that no other upload has: 128 bits of hashes whose keys are random.
fn new_id() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

/// Commits a part, if its upload is under way.
async fn store_part(
    caller: &Caller,
    uploads: &Uploads,
    (id, key, number): (&str, &str, i32),
    staged: lacewing_store::object::StagedBody,
    attributes: Attributes,
) -> S3Result<Object> {
    let part = part_key(id, number);
    let put = |transaction: &mut Transaction| {
        uploads.find(transaction, id, key)?;
        let (staged, attributes) = (staged.clone(), attributes.clone());
        let put = transaction.put_object(&uploads.parts, &part, staged, attributes, Condition::Any);
        put.map_err(|error| refused(&error))?.ok_or_else(|| s3_error!(NoSuchUpload))
    };
    caller.attempt(put).await
}

pub(super) async fn put_part(
    request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let caller = Caller::of(&request)?;
    let trailers = request.trailing_headers.clone();
    let checksums =
        BodyChecksums::new(&request.headers, trailers, request.input.content_md5.as_deref())?;
    let input = request.input;
    check_number(input.part_number)?;
    let uploads = Uploads::of(caller.bucket(&input.bucket).await?);
    caller.attempt(|transaction| uploads.find(transaction, &input.upload_id, &input.key)).await?;
    let limit_bytes = uploads.bucket.max_object_bytes;
    let writer = ObjectWriter::in_file(caller.key.state.clone(), limit_bytes);
    let received = Received { body: input.body, checksums, length: input.content_length };
    let (staged, checksums) = received.into_writer(writer).await?;
    let attributes = Attributes { checksums, ..Attributes::default() };
    let place = (&*input.upload_id, &*input.key, input.part_number);
    let part = store_part(&caller, &uploads, place, staged, attributes).await?;
    let checksum = told(&part.attributes.checksums);
    Ok(S3Response::new(UploadPartOutput {
        e_tag: Some(etag(&part)),
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        ..Default::default()
    }))
}

pub(super) async fn copy_part(
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    check_number(input.part_number)?;
    let uploads = Uploads::of(caller.bucket(&input.bucket).await?);
    let (from, from_key) = source(&caller, &input.copy_source).await?;
    let conditions = source_conditions!(input);
    let range = copied_range(input.copy_source_range.as_deref())?;
    let open = |transaction: &mut Transaction| {
        uploads.find(transaction, &input.upload_id, &input.key)?;
        let found = transaction.object(&from, &from_key).map_err(|error| refused(&error))?;
        let (object, _) = found.ok_or_else(|| s3_error!(NoSuchKey))?;
        conditions.check_source(&object)?;
        let is_within = match range {
            ByteRange::Between(_, last) => last < object.bytes,
            _ => true,
        };
        if !is_within {
            return Err(s3_error!(InvalidRange));
        }
        let reader = transaction.read_object(&from, &from_key, &object, range);
        reader.map_err(|error| refused(&error))
    };
    let mut reader = caller.attempt(open).await?;
    let limit_bytes = uploads.bucket.max_object_bytes;
    let mut writer = ObjectWriter::in_file(caller.key.state.clone(), limit_bytes);
    loop {
        let bytes = reader.next(1 << 20).await.map_err(|error| of_store(&error))?;
        if bytes.is_empty() {
            break;
        }
        writer.write(bytes).await.map_err(|error| refused(&error))?;
    }
    let staged = writer.finish().await.map_err(|error| refused(&error))?;
    let place = (&*input.upload_id, &*input.key, input.part_number);
    let part = store_part(&caller, &uploads, place, staged, Attributes::default()).await?;
    let result = CopyPartResult {
        e_tag: Some(etag(&part)),
        last_modified: Some(modified(&part)),
        ..Default::default()
    };
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        ..Default::default()
    }))
}

fn copied_range(text: Option<&str>) -> S3Result<ByteRange> {
    let Some(text) = text else { return Ok(ByteRange::From(0)) };
    match Range::parse(text) {
        Ok(Range::Int { first, last: Some(last) }) if first <= last => {
            Ok(ByteRange::Between(first, last))
        }
        _ => Err(s3_error!(InvalidArgument, "the range to copy is `bytes=FIRST-LAST`")),
    }
}

pub(super) async fn complete(
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let uploads = Uploads::of(caller.bucket(&input.bucket).await?);
    let said = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    if said.is_empty() || said.len() > MAX_PARTS {
        return Err(s3_error!(MalformedXML, "an object has 1 to {MAX_PARTS} parts"));
    }
    let is_ascending = said.windows(2).all(|two| two[0].part_number < two[1].part_number);
    if !is_ascending {
        return Err(s3_error!(InvalidPartOrder));
    }
    let id = &*input.upload_id;
    let keys: Vec<String> =
        said.iter().map(|part| part_key(id, part.part_number.unwrap_or_default())).collect();
    let join = |transaction: &mut Transaction| {
        let upload = uploads.find(transaction, id, &input.key)?;
        if input.if_match.is_some() || input.if_none_match.is_some() {
            let found = transaction.object(&uploads.bucket, &input.key);
            let found = found.map_err(|error| refused(&error))?;
            let found = found.as_ref().map(|(object, _)| object);
            check_write(input.if_match.as_ref(), input.if_none_match.as_ref(), found)?;
        }
        let tag = check_parts(transaction, &uploads.parts, &keys, &said)?;
        let parts: Vec<(&Bucket, &str)> =
            keys.iter().map(|key| (&uploads.parts, key.as_str())).collect();
        let to = (&*uploads.bucket, &*input.key);
        let joined = transaction.join_objects(&parts, to, tag, upload.attributes);
        let joined = joined.map_err(|error| refused(&error))?;
        let joined = joined.ok_or_else(|| s3_error!(InvalidPart))?;
        for key in &keys {
            let deleted = transaction.delete_object(&uploads.parts, key, Condition::Any);
            deleted.map_err(|error| refused(&error))?;
        }
        let deleted = transaction.delete(&uploads.uploads, id, Condition::Any);
        deleted.map_err(|error| refused(&error))?;
        Ok(joined)
    };
    let object = caller.attempt(join).await?;
    // Parts that the object does not have go afterwards: nothing refers to them.
    while uploads.remove_parts(&caller, id).await? {}
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(etag(&object)),
        ..Default::default()
    }))
}

/// Checks the parts that a client names. Returns the tag of the object that they make.
fn check_parts(
    transaction: &mut Transaction,
    parts: &Bucket,
    keys: &[String],
    said: &[CompletedPart],
) -> S3Result<String> {
    let mut digests = Md5::new();
    for (at, (key, said)) in keys.iter().zip(said).enumerate() {
        let found = transaction.object(parts, key).map_err(|error| refused(&error))?;
        let (part, _) = found.ok_or_else(|| s3_error!(InvalidPart))?;
        if said.e_tag.as_ref().is_some_and(|tag: &ETag| tag.value() != part.etag) {
            return Err(s3_error!(InvalidPart));
        }
        if part.bytes < MIN_PART_BYTES && at + 1 < keys.len() {
            return Err(s3_error!(EntityTooSmall));
        }
        digests.update(HEXLOWER.decode(part.etag.as_bytes()).unwrap_or_default());
    }
    let digest: [u8; 16] = digests.finalize().into();
    Ok(format!("{}-{}", HEXLOWER.encode(&digest), keys.len()))
}

pub(super) async fn abort(
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let uploads = Uploads::of(caller.bucket(&input.bucket).await?);
    let end = |transaction: &mut Transaction| {
        uploads.find(transaction, &input.upload_id, &input.key)?;
        let deleted = transaction.delete(&uploads.uploads, &input.upload_id, Condition::Any);
        deleted.map(drop).map_err(|error| refused(&error))
    };
    caller.attempt(end).await?;
    while uploads.remove_parts(&caller, &input.upload_id).await? {}
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(super) async fn list_parts(
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let uploads = Uploads::of(caller.bucket(&input.bucket).await?);
    let max_parts = input.max_parts.unwrap_or(1000).clamp(0, 1000);
    let limit = usize::try_from(max_parts).unwrap_or_default();
    let prefix = format!("{}/", input.upload_id);
    let after = input.part_number_marker.map(|number| part_key(&input.upload_id, number));
    let list = |transaction: &mut Transaction| {
        uploads.find(transaction, &input.upload_id, &input.key)?;
        let page = transaction.list_objects(&uploads.parts, &prefix, None, after.as_deref(), limit);
        page.map_err(|error| refused(&error))
    };
    let page = caller.attempt(list).await?;
    let parts = page.objects.iter().take(limit).map(|listed| {
        let checksum = told(&listed.object.attributes.checksums);
        Part {
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            e_tag: Some(etag(&listed.object)),
            last_modified: Some(modified(&listed.object)),
            part_number: number_of(&listed.key),
            size: i64::try_from(listed.object.bytes).ok(),
        }
    });
    Ok(S3Response::new(ListPartsOutput {
        parts: Some(parts.collect()),
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        is_truncated: Some(page.next.is_some()),
        next_part_number_marker: page.next.as_deref().and_then(number_of),
        part_number_marker: input.part_number_marker,
        max_parts: Some(max_parts),
        owner: Some(owner(&caller)),
        ..Default::default()
    }))
}
