//! Uploads in parts.
//!
//! An upload is an entry of the bucket's store of uploads. Its parts are objects of another store,
//! each in a file. The end of the upload makes one object of all their files, without a copy.

mod checksum;
pub(super) mod complete;
pub(super) mod list;

use std::sync::Arc;

use lacewing_base::{Bucket, KvStore};
use lacewing_store::{
    Transaction,
    kv::{Condition, MAX_KEYS},
    object::{Attributes, ByteRange, Object, ObjectWriter},
};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CopyPartResult,
        CreateMultipartUploadInput, CreateMultipartUploadOutput, ListPartsInput, ListPartsOutput,
        Part, Range, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
    },
    s3_error,
};
use serde::{Deserialize, Serialize};

use self::checksum::UploadChecksum;
use super::{
    attributes::said,
    body::Received,
    caller::Caller,
    checksum::{BodyChecksums, tell_checksums, told},
    condition::{etag, modified, source_conditions},
    error::{of_store, refused},
    list::owner,
    object::source,
};

/// The largest number of a part, as in S3.
const MAX_NUMBER: i32 = 10_000;

/// The most uploads of a bucket that are under way.
const MAX_UPLOADS: usize = 1000;

/// An upload that is under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Upload {
    key: String,
    begun_ms: i64,
    attributes: Attributes,
    #[serde(default)]
    checksum: Option<UploadChecksum>,
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

    /// Whether there is an upload with an id, of any key.
    fn has(&self, transaction: &mut Transaction, id: &str) -> bool {
        transaction.get(&self.uploads, id).unwrap_or_default().is_some()
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
    let (algorithm, kind) = (input.checksum_algorithm, input.checksum_type);
    let checksum = UploadChecksum::new(algorithm.as_ref(), kind.as_ref())?;
    let checksum_type = checksum.as_ref().map(UploadChecksum::kind);
    let (key, begun_ms) = (input.key.clone(), super::bucket::now_ms());
    let upload = Upload { key, begun_ms, attributes, checksum };
    let value = serde_json::to_vec(&upload).unwrap_or_default();
    let id = new_id();
    // The count is no part of the transaction that begins the upload, or uploads that begin at the
    // same time would conflict. They may exceed the bound by as many as the tenant has requests.
    let count = |transaction: &mut Transaction| {
        transaction.list(&uploads.uploads, "", None, MAX_UPLOADS).map(|page| page.keys.len())
    };
    if caller.run(count).await? >= MAX_UPLOADS {
        let text = format!("the bucket has {MAX_UPLOADS} uploads: complete or abort some");
        return Err(s3_error!(InvalidRequest, "{text}"));
    }
    let begin = |transaction: &mut Transaction| {
        transaction.set(&uploads.uploads, &id, value.clone(), None, Condition::Absent)
    };
    caller.run(begin).await?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        checksum_algorithm: algorithm,
        checksum_type,
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
    let mut checksums =
        BodyChecksums::new(&request.headers, trailers, request.input.content_md5.as_deref())?;
    let input = request.input;
    check_number(input.part_number)?;
    let uploads = Uploads::of(caller.bucket(&input.bucket).await?);
    let find =
        |transaction: &mut Transaction| uploads.find(transaction, &input.upload_id, &input.key);
    let upload = caller.attempt(find).await?;
    if let Some(asked) = &upload.checksum {
        checksums.take(&asked.name);
    }
    let limit_bytes = uploads.bucket.max_object_bytes;
    let writer = ObjectWriter::in_file(caller.key.state.clone(), limit_bytes);
    let received = Received { body: input.body, checksums, length: input.content_length };
    let (staged, checksums) = received.into_writer(writer).await?;
    let attributes = Attributes { checksums, ..Attributes::default() };
    let place = (&*input.upload_id, &*input.key, input.part_number);
    let part = store_part(&caller, &uploads, place, staged, attributes).await?;
    let mut output = UploadPartOutput { e_tag: Some(etag(&part)), ..Default::default() };
    tell_checksums!(output, told(&part.attributes.checksums));
    Ok(S3Response::new(output))
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
        let upload = uploads.find(transaction, &input.upload_id, &input.key)?;
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
        Ok((upload, reader.map_err(|error| refused(&error))?))
    };
    let (upload, mut reader) = caller.attempt(open).await?;
    let asked = upload.checksum.map(|asked| asked.name).unwrap_or_default();
    let mut checksums = BodyChecksums::of(&asked);
    let limit_bytes = uploads.bucket.max_object_bytes;
    let mut writer = ObjectWriter::in_file(caller.key.state.clone(), limit_bytes);
    loop {
        let bytes = reader.next(1 << 20).await.map_err(|error| of_store(&error))?;
        if bytes.is_empty() {
            break;
        }
        checksums.update(&bytes);
        writer.write(bytes).await.map_err(|error| refused(&error))?;
    }
    let staged = writer.finish().await.map_err(|error| refused(&error))?;
    let checksums = checksums.finish(staged.md5)?;
    let attributes = Attributes { checksums, ..Attributes::default() };
    let place = (&*input.upload_id, &*input.key, input.part_number);
    let part = store_part(&caller, &uploads, place, staged, attributes).await?;
    let mut result = CopyPartResult {
        e_tag: Some(etag(&part)),
        last_modified: Some(modified(&part)),
        ..Default::default()
    };
    tell_checksums!(result, told(&part.attributes.checksums));
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

pub(super) async fn abort(
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let uploads = Uploads::of(caller.bucket(&input.bucket).await?);
    // An earlier call may have ended the upload, and not come to all of its parts.
    let end = |transaction: &mut Transaction| {
        let found = uploads.find(transaction, &input.upload_id, &input.key);
        if found.is_err() && uploads.has(transaction, &input.upload_id) {
            return found.map(|_| false);
        }
        let deleted = transaction.delete(&uploads.uploads, &input.upload_id, Condition::Any);
        deleted.map_err(|error| refused(&error))
    };
    let was_there = caller.attempt(end).await?;
    while uploads.remove_parts(&caller, &input.upload_id).await? {}
    if !was_there {
        return Err(s3_error!(NoSuchUpload));
    }
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
        let mut part = Part {
            e_tag: Some(etag(&listed.object)),
            last_modified: Some(modified(&listed.object)),
            part_number: number_of(&listed.key),
            size: i64::try_from(listed.object.bytes).ok(),
            ..Default::default()
        };
        tell_checksums!(part, told(&listed.object.attributes.checksums));
        part
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
