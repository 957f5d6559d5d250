//! Reads, writes, copies and deletions of objects.

use std::sync::Arc;

use http::HeaderValue;
use lacewing_base::Bucket;
use lacewing_store::{
    Transaction,
    kv::{Condition, KvError},
    object::{Attributes, ByteRange, Object, ObjectReader, ObjectWriter, StagedBody},
};
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        Checksum, ChecksumMode, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource,
        DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
        DeletedObject, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput,
        HeadObjectOutput, MetadataDirective, PutObjectInput, PutObjectOutput, Range,
        TaggingDirective,
    },
    s3_error,
};

use super::{
    attributes::{self, said},
    body::{self, Received},
    caller::Caller,
    checksum::{BodyChecksums, tell_checksums, told, told_of_part},
    condition::{
        Conditions, DeleteConditions, check_write, conditions, etag, modified, source_conditions,
    },
    error::{of_store, refused},
    text::text_of,
};

/// The most objects that one request deletes, as in S3.
const MAX_DELETED: usize = 1000;

pub(super) async fn put(
    request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let caller = Caller::of(&request)?;
    let trailers = request.trailing_headers.clone();
    let checksums =
        BodyChecksums::new(&request.headers, trailers, request.input.content_md5.as_deref())?;
    let input = request.input;
    let bucket = caller.bucket(&input.bucket).await?;
    if input.write_offset_bytes.is_some() {
        return Err(s3_error!(NotImplemented, "an object cannot be appended to"));
    }
    check_size(input.content_length, &bucket)?;
    let (if_match, if_none_match) = (input.if_match, input.if_none_match);
    if if_match.is_some() || if_none_match.is_some() {
        // A body that will be refused need not be read.
        let found = caller.run(|transaction| transaction.object(&bucket, &input.key)).await?;
        let found = found.as_ref().map(|(object, _)| object);
        check_write(if_match.as_ref(), if_none_match.as_ref(), found)?;
    }
    let mut attributes = said!(input).attributes()?;
    let writer = ObjectWriter::new(caller.key.state.clone(), bucket.max_object_bytes);
    let received = Received { body: input.body, checksums, length: input.content_length };
    let (staged, checksums) = received.into_writer(writer).await?;
    attributes.checksums = checksums;
    let conditions = (if_match, if_none_match);
    let object = store(&caller, &bucket, &input.key, staged, attributes, &conditions).await?;
    let mut output = PutObjectOutput { e_tag: Some(etag(&object)), ..Default::default() };
    tell_checksums!(output, told(&object.attributes.checksums));
    Ok(S3Response::new(output))
}

fn check_size(length: Option<i64>, bucket: &Bucket) -> S3Result<()> {
    let length = length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
    match length <= bucket.max_object_bytes {
        true => Ok(()),
        false => Err(refused(&KvError::ObjectSize { limit_bytes: bucket.max_object_bytes })),
    }
}

/// Commits an object, if the conditions on the one that it replaces hold.
async fn store(
    caller: &Caller,
    bucket: &Bucket,
    key: &str,
    staged: StagedBody,
    attributes: Attributes,
    (if_match, if_none_match): &(Option<ETagCondition>, Option<ETagCondition>),
) -> S3Result<Object> {
    let put = |transaction: &mut Transaction| {
        if if_match.is_some() || if_none_match.is_some() {
            let found = transaction.object(bucket, key).map_err(|error| refused(&error))?;
            let found = found.as_ref().map(|(object, _)| object);
            check_write(if_match.as_ref(), if_none_match.as_ref(), found)?;
        }
        let (staged, attributes) = (staged.clone(), attributes.clone());
        let put = transaction.put_object(bucket, key, staged, attributes, Condition::Any);
        put.map_err(|error| refused(&error))?.ok_or_else(|| s3_error!(PreconditionFailed))
    };
    caller.attempt(put).await
}

/// The part of an object that a request asks for.
struct Part {
    range: ByteRange,
    /// Whether the response is one of a part.
    is_part: bool,
    /// The part of an upload that it is, from 0.
    at: Option<usize>,
}

fn part(range: Option<Range>, number: Option<i32>, object: &Object) -> S3Result<Part> {
    if let Some(number) = number {
        if range.is_some() {
            return Err(s3_error!(InvalidRequest, "a range and a part number exclude each other"));
        }
        let parts = object.parts();
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let Some((at, bytes)) = at.and_then(|at| Some((at, *parts.get(at)?))) else {
            return Err(s3_error!(InvalidPart));
        };
        let first: u64 = parts[..at].iter().sum();
        let range = match bytes {
            0 => ByteRange::From(0),
            bytes => ByteRange::Between(first, first + bytes - 1),
        };
        return Ok(Part { range, is_part: bytes > 0, at: Some(at) });
    }
    let range = match range {
        None => return Ok(Part { range: ByteRange::From(0), is_part: false, at: None }),
        Some(Range::Int { first, last: Some(last) }) => ByteRange::Between(first, last),
        Some(Range::Int { first, last: None }) => ByteRange::From(first),
        Some(Range::Suffix { length }) => ByteRange::Last(length),
    };
    match range.of(object.bytes) {
        Some(_) => Ok(Part { range, is_part: true, at: None }),
        None => Err(s3_error!(InvalidRange)),
    }
}

/// Opens an object, if the conditions hold.
async fn open(
    caller: &Caller,
    bucket: &Bucket,
    key: &str,
    conditions: &Conditions,
    (range, number): (Option<Range>, Option<i32>),
) -> S3Result<(Object, ObjectReader, Part)> {
    let open = |transaction: &mut Transaction| {
        let found = transaction.object(bucket, key).map_err(|error| refused(&error))?;
        let (object, _) = found.ok_or_else(|| s3_error!(NoSuchKey))?;
        conditions.check_read(&object)?;
        let part = part(range, number, &object)?;
        let reader = transaction.read_object(bucket, key, &object, part.range);
        let reader = reader.map_err(|error| refused(&error))?;
        Ok((object, reader, part))
    };
    caller.attempt(open).await
}

pub(super) async fn get(
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let bucket = caller.bucket(&input.bucket).await?;
    let conditions = conditions!(input);
    let asked = (input.range, input.part_number);
    let (object, mut reader, part) = open(&caller, &bucket, &input.key, &conditions, asked).await?;
    let (first, bytes) = part.range.of(object.bytes).unwrap_or((0, 0));
    // A file that cannot be read at all is an error, and no response that breaks off.
    let ready = reader.ready().await;
    ready.map_err(|error| of_store(&error))?;
    let described = Described::new(&object, input.checksum_mode.as_ref(), &part);
    let Described { attributes, checksum } = described;
    let mut output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(body::send(caller.clone(), reader, bytes)),
        cache_control: attributes::header(&attributes, "cache-control"),
        checksum_type: checksum.checksum_type.clone(),
        content_disposition: attributes::header(&attributes, "content-disposition"),
        content_encoding: attributes::header(&attributes, "content-encoding"),
        content_language: attributes::header(&attributes, "content-language"),
        content_length: i64::try_from(bytes).ok(),
        content_range: part.is_part.then(|| content_range(first, bytes, object.bytes)),
        content_type: Some(content_type(&attributes)),
        e_tag: Some(etag(&object)),
        expires: attributes::expires(&attributes),
        last_modified: Some(modified(&object)),
        metadata: attributes::metadata(&attributes),
        parts_count: input.part_number.and_then(|_| i32::try_from(object.parts().len()).ok()),
        tag_count: i32::try_from(attributes.tags.len()).ok().filter(|tags| *tags > 0),
        website_redirect_location: attributes::header(
            &attributes,
            "x-amz-website-redirect-location",
        ),
        ..Default::default()
    };
    tell_checksums!(output, checksum);
    Ok(S3Response::new(output))
}

fn content_range(first: u64, bytes: u64, size: u64) -> String {
    format!("bytes {first}-{}/{size}", (first + bytes).saturating_sub(1))
}

fn content_type(attributes: &Attributes) -> String {
    let unknown = || "binary/octet-stream".to_owned();
    attributes.content_type.clone().unwrap_or_else(unknown)
}

/// The attributes of an object, with the checksums that a request asks for.
struct Described {
    attributes: Attributes,
    checksum: Checksum,
}

impl Described {
    fn new(object: &Object, mode: Option<&ChecksumMode>, part: &Part) -> Described {
        let attributes = object.attributes.clone();
        let is_asked = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        let checksum = match part {
            _ if !is_asked => Checksum::default(),
            Part { at: Some(at), .. } => told_of_part(&attributes.checksums, *at),
            // A checksum is that of the whole body, and no range has one.
            Part { is_part: true, .. } => Checksum::default(),
            Part { .. } => told(&attributes.checksums),
        };
        Described { attributes, checksum }
    }
}

pub(super) async fn head(
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let bucket = caller.bucket(&input.bucket).await?;
    let conditions = conditions!(input);
    let found = caller.run(|transaction| transaction.object(&bucket, &input.key)).await?;
    let (object, _) = found.ok_or_else(|| s3_error!(NoSuchKey))?;
    conditions.check_read(&object)?;
    let part = part(input.range, input.part_number, &object)?;
    let (first, bytes) = part.range.of(object.bytes).unwrap_or((0, 0));
    let described = Described::new(&object, input.checksum_mode.as_ref(), &part);
    let Described { attributes, checksum } = described;
    let mut output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: attributes::header(&attributes, "cache-control"),
        checksum_type: checksum.checksum_type.clone(),
        content_disposition: attributes::header(&attributes, "content-disposition"),
        content_encoding: attributes::header(&attributes, "content-encoding"),
        content_language: attributes::header(&attributes, "content-language"),
        content_length: i64::try_from(bytes).ok(),
        content_range: part.is_part.then(|| content_range(first, bytes, object.bytes)),
        content_type: Some(content_type(&attributes)),
        e_tag: Some(etag(&object)),
        expires: attributes::expires(&attributes),
        last_modified: Some(modified(&object)),
        metadata: attributes::metadata(&attributes),
        parts_count: input.part_number.and_then(|_| i32::try_from(object.parts().len()).ok()),
        website_redirect_location: attributes::header(
            &attributes,
            "x-amz-website-redirect-location",
        ),
        ..Default::default()
    };
    tell_checksums!(output, checksum);
    let mut response = S3Response::new(output);
    if !attributes.tags.is_empty() {
        let count = HeaderValue::from(attributes.tags.len());
        response.headers.insert("x-amz-tagging-count", count);
    }
    Ok(response)
}

/// The bucket and key that a copy reads.
pub(super) async fn source(
    caller: &Caller,
    source: &CopySource,
) -> S3Result<(Arc<Bucket>, String)> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "a copy reads from a bucket"));
    };
    if version_id.is_some() {
        return Err(s3_error!(NotImplemented, "buckets have no versions"));
    }
    caller.check_bucket(bucket)?;
    Ok((caller.bucket(bucket).await?, key.to_string()))
}

pub(super) async fn copy(
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let bucket = caller.bucket(&input.bucket).await?;
    let (from, from_key) = source(&caller, &input.copy_source).await?;
    let conditions = source_conditions!(input);
    let replaces = |directive: Option<&str>| directive == Some(MetadataDirective::REPLACE);
    let new_metadata = replaces(input.metadata_directive.as_ref().map(MetadataDirective::as_str));
    let new_tags = input.tagging_directive.as_ref().map(TaggingDirective::as_str)
        == Some(TaggingDirective::REPLACE);
    let to_itself = from.name == bucket.name && from_key == *input.key;
    if to_itself && !new_metadata && !new_tags {
        let text = "a copy of an object to itself has to replace its metadata";
        return Err(s3_error!(InvalidRequest, "{text}"));
    }
    let said = said!(input).attributes()?;
    let copy = |transaction: &mut Transaction| {
        let found = transaction.object(&from, &from_key).map_err(|error| refused(&error))?;
        let (object, _) = found.ok_or_else(|| s3_error!(NoSuchKey))?;
        conditions.check_source(&object)?;
        let mut attributes = match new_metadata {
            true => said.clone(),
            false => object.attributes.clone(),
        };
        attributes.tags = match new_tags {
            true => said.tags.clone(),
            false => object.attributes.tags.clone(),
        };
        attributes.checksums = object.attributes.checksums;
        let (source, to) = ((&*from, &*from_key), (&*bucket, &*input.key));
        let copied = transaction.copy_object(source, to, Some(attributes));
        copied.map_err(|error| refused(&error))?.ok_or_else(|| s3_error!(NoSuchKey))
    };
    let object = caller.attempt(copy).await?;
    let told = told(&object.attributes.checksums);
    let mut result = CopyObjectResult {
        checksum_type: told.checksum_type.clone(),
        e_tag: Some(etag(&object)),
        last_modified: Some(modified(&object)),
        ..Default::default()
    };
    tell_checksums!(result, told);
    Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
}

pub(super) async fn delete(
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let bucket = caller.bucket(&input.bucket).await?;
    let conditions = DeleteConditions {
        if_match: input.if_match,
        modified: input.if_match_last_modified_time,
        size: input.if_match_size,
    };
    let delete =
        |transaction: &mut Transaction| delete_one(transaction, &bucket, &input.key, &conditions);
    caller.attempt(delete).await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

/// Deletes an object, if there is one, and if the conditions hold.
fn delete_one(
    transaction: &mut Transaction,
    bucket: &Bucket,
    key: &str,
    conditions: &DeleteConditions,
) -> S3Result<()> {
    let found = transaction.object(bucket, key).map_err(|error| refused(&error))?;
    let Some((object, _)) = found else { return Ok(()) };
    if !conditions.hold(&object) {
        return Err(s3_error!(PreconditionFailed));
    }
    let deleted = transaction.delete_object(bucket, key, Condition::Any);
    deleted.map(drop).map_err(|error| refused(&error))
}

/// The errors that concern one object of several.
fn is_of_object(error: &S3Error) -> bool {
    matches!(error.code(), S3ErrorCode::PreconditionFailed | S3ErrorCode::KeyTooLongError)
}

pub(super) async fn delete_many(
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let bucket = caller.bucket(&input.bucket).await?;
    let objects = input.delete.objects;
    if objects.is_empty() || objects.len() > MAX_DELETED {
        return Err(s3_error!(MalformedXML, "a request deletes 1 to {MAX_DELETED} objects"));
    }
    let delete = |transaction: &mut Transaction| {
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in &objects {
            let conditions = DeleteConditions {
                if_match: object.e_tag.clone().map(ETagCondition::ETag),
                modified: object.last_modified_time.clone(),
                size: object.size,
            };
            match delete_one(transaction, &bucket, &object.key, &conditions) {
                Ok(()) => deleted.push(object.key.clone()),
                Err(error) if is_of_object(&error) => errors.push(s3s::dto::Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key.clone()),
                    message: text_of(&error),
                    version_id: None,
                }),
                Err(error) => return Err(error),
            }
        }
        Ok((deleted, errors))
    };
    let (deleted, errors) = caller.attempt(delete).await?;
    let told = |key| DeletedObject { key: Some(key), ..Default::default() };
    let is_quiet = input.delete.quiet.unwrap_or(false);
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!is_quiet).then(|| deleted.into_iter().map(told).collect()),
        errors: (!errors.is_empty()).then_some(errors),
        ..Default::default()
    }))
}
