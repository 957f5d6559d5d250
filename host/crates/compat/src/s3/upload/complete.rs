//! The end of an upload: one object of all its parts.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use lacewing_base::Bucket;
use lacewing_store::{
    Transaction,
    kv::Condition,
    object::{Attributes, Object},
};
use md5::{Digest, Md5};
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, ETag,
        ETagCondition,
    },
    s3_error,
};

use super::{Upload, Uploads, part_key};
use crate::s3::{
    caller::Caller,
    checksum::{said_checksums, tell_checksums, told},
    condition::{check_write, etag},
    error::refused,
};

/// The most parts of one object: its commit looks at each.
const MAX_PARTS: usize = 9_000;

/// The least bytes of a part that is not the last one, as in S3.
const MIN_PART_BYTES: u64 = 5 << 20;

/// What a client says of the object.
struct Said {
    key: String,
    upload_id: String,
    parts: Vec<CompletedPart>,
    checksums: BTreeMap<&'static str, String>,
    bytes: Option<i64>,
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
}

pub(in crate::s3) async fn complete(
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let uploads = Uploads::of(caller.bucket(&input.bucket).await?);
    let checksums = said_checksums!(input).into_iter();
    let checksums = checksums.filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    let said = Said {
        key: input.key,
        upload_id: input.upload_id,
        parts: input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default(),
        checksums,
        bytes: input.mpu_object_size,
        if_match: input.if_match,
        if_none_match: input.if_none_match,
    };
    if said.parts.is_empty() || said.parts.len() > MAX_PARTS {
        return Err(s3_error!(MalformedXML, "an object has 1 to {MAX_PARTS} parts"));
    }
    if !said.parts.windows(2).all(|two| two[0].part_number < two[1].part_number) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let object = caller.attempt(|transaction| join(transaction, &uploads, &said)).await?;
    // Parts that the object does not have go afterwards: nothing refers to them.
    while uploads.remove_parts(&caller, &said.upload_id).await? {}
    let told = told(&object.attributes.checksums);
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, said.key)),
        bucket: Some(input.bucket),
        key: Some(said.key),
        e_tag: Some(etag(&object)),
        checksum_type: told.checksum_type.clone(),
        ..Default::default()
    };
    tell_checksums!(output, told);
    Ok(S3Response::new(output))
}

/// Makes the object, and ends the upload.
fn join(transaction: &mut Transaction, uploads: &Uploads, said: &Said) -> S3Result<Object> {
    let upload = match uploads.find(transaction, &said.upload_id, &said.key) {
        Err(error) if *error.code() == S3ErrorCode::NoSuchUpload => {
            // The id may be that of an upload of another key, which goes on.
            return match uploads.has(transaction, &said.upload_id) {
                true => Err(error),
                false => ended_before(transaction, &uploads.bucket, said, error),
            };
        }
        upload => upload?,
    };
    if said.if_match.is_some() || said.if_none_match.is_some() {
        let found = transaction.object(&uploads.bucket, &said.key);
        let found = found.map_err(|error| refused(&error))?;
        let found = found.as_ref().map(|(object, _)| object);
        check_write(said.if_match.as_ref(), said.if_none_match.as_ref(), found)?;
    }
    let keys: Vec<String> = said
        .parts
        .iter()
        .map(|part| part_key(&said.upload_id, part.part_number.unwrap_or_default()))
        .collect();
    let found = check_parts(transaction, &uploads.parts, &keys, &said.parts)?;
    let attributes = attributes(upload, said, &found)?;
    let tag = tag(found.iter().map(|part| &*part.etag));
    let parts: Vec<(&Bucket, &str)> =
        keys.iter().map(|key| (&uploads.parts, key.as_str())).collect();
    let joined = transaction.join_objects(&parts, (&uploads.bucket, &said.key), tag, attributes);
    let joined = joined.map_err(|error| refused(&error))?;
    let joined = joined.ok_or_else(|| s3_error!(InvalidPart))?;
    for key in &keys {
        let deleted = transaction.delete_object(&uploads.parts, key, Condition::Any);
        deleted.map_err(|error| refused(&error))?;
    }
    let deleted = transaction.delete(&uploads.uploads, &said.upload_id, Condition::Any);
    deleted.map_err(|error| refused(&error))?;
    Ok(joined)
}

/// The object of an upload that has ended. A client that got no answer asks again.
fn ended_before(
    transaction: &mut Transaction,
    bucket: &Bucket,
    said: &Said,
    error: S3Error,
) -> S3Result<Object> {
    let tags = said.parts.iter().map(|part| part.e_tag.as_ref().map_or("", ETag::value));
    let tag = tag(tags);
    let found = transaction.object(bucket, &said.key).map_err(|error| refused(&error))?;
    found.map(|(object, _)| object).filter(|object| object.etag == tag).ok_or(error)
}

/// Checks the parts that a client names. Returns them.
fn check_parts(
    transaction: &mut Transaction,
    parts: &Bucket,
    keys: &[String],
    said: &[CompletedPart],
) -> S3Result<Vec<Object>> {
    let mut all = Vec::with_capacity(keys.len());
    for (at, (key, said)) in keys.iter().zip(said).enumerate() {
        let found = transaction.object(parts, key).map_err(|error| refused(&error))?;
        let (part, _) = found.ok_or_else(|| s3_error!(InvalidPart))?;
        if said.e_tag.as_ref().is_some_and(|tag| tag.value() != part.etag) {
            return Err(s3_error!(InvalidPart));
        }
        let checksums = said_checksums!(said).into_iter();
        let mut checksums = checksums.filter_map(|(name, said)| Some((name, said.as_ref()?)));
        if !checksums.all(|(name, said)| part.attributes.checksums.get(name) == Some(said)) {
            return Err(s3_error!(InvalidPart, "the checksum of a part is another one"));
        }
        if part.bytes < MIN_PART_BYTES && at + 1 < keys.len() {
            return Err(s3_error!(EntityTooSmall));
        }
        all.push(part);
    }
    Ok(all)
}

/// The attributes of the object, if its size and checksums are those that the client says.
fn attributes(upload: Upload, said: &Said, parts: &[Object]) -> S3Result<Attributes> {
    let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
    if said.bytes.is_some_and(|said| u64::try_from(said) != Ok(bytes)) {
        return Err(s3_error!(InvalidRequest, "the parts have {bytes} bytes"));
    }
    let mut attributes = upload.attributes;
    if let Some(checksum) = &upload.checksum {
        checksum.add_to(&mut attributes, parts)?;
    }
    for (name, said) in &said.checksums {
        match attributes.checksums.get(*name) {
            Some(found) if found == said => {}
            Some(_) => {
                let text = format!("the checksum {name} is not that of the object");
                return Err(s3_error!(BadDigest, "{text}"));
            }
            None => {
                let text = format!("the upload began without the checksum {name}");
                return Err(s3_error!(InvalidRequest, "{text}"));
            }
        }
    }
    Ok(attributes)
}

/// The tag of an object whose parts have these tags.
fn tag<'a>(parts: impl ExactSizeIterator<Item = &'a str>) -> String {
    let (mut digests, count) = (Md5::new(), parts.len());
    for part in parts {
        digests.update(HEXLOWER.decode(part.as_bytes()).unwrap_or_default());
    }
    let digest: [u8; 16] = digests.finalize().into();
    format!("{}-{count}", HEXLOWER.encode(&digest))
}
