//! The answer to the question for attributes of an object.

use lacewing_store::object::Object;
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
        ObjectAttributes, ObjectPart, StorageClass,
    },
    s3_error,
};

use super::{
    caller::Caller,
    checksum::{tell_checksums, told, told_of_part},
    condition::{etag, modified},
};

/// The most parts that one response lists, as in S3.
const MAX_PARTS: i32 = 1000;

pub(super) async fn describe(
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let bucket = caller.bucket(&input.bucket).await?;
    let found = caller.run(|transaction| transaction.object(&bucket, &input.key)).await?;
    let (object, _) = found.ok_or_else(|| s3_error!(NoSuchKey))?;
    let asks = |name: &str| {
        // A client may name several in one field.
        let asked = input.object_attributes.iter().map(ObjectAttributes::as_str);
        asked.flat_map(|asked| asked.split(',')).any(|asked| asked.trim() == name)
    };
    let has_checksums = !object.attributes.checksums.is_empty();
    Ok(S3Response::new(GetObjectAttributesOutput {
        checksum: (asks(ObjectAttributes::CHECKSUM) && has_checksums)
            .then(|| told(&object.attributes.checksums)),
        e_tag: asks(ObjectAttributes::ETAG).then(|| etag(&object)),
        last_modified: Some(modified(&object)),
        object_size: asks(ObjectAttributes::OBJECT_SIZE)
            .then(|| i64::try_from(object.bytes).unwrap_or(i64::MAX)),
        object_parts: (asks(ObjectAttributes::OBJECT_PARTS) && object.etag.contains('-'))
            .then(|| parts(&object, input.max_parts, input.part_number_marker)),
        storage_class: asks(ObjectAttributes::STORAGE_CLASS)
            .then(|| StorageClass::from_static(StorageClass::STANDARD)),
        ..Default::default()
    }))
}

/// The parts after a number, as many as a client asks for.
fn parts(object: &Object, limit: Option<i32>, after: Option<i32>) -> GetObjectAttributesParts {
    let (limit, after) = (limit.unwrap_or(MAX_PARTS).clamp(0, MAX_PARTS), after.unwrap_or(0));
    let all = object.parts();
    let part = |(at, (number, bytes)): (usize, (i32, &u64))| {
        let size = i64::try_from(*bytes).ok();
        let mut part = ObjectPart { part_number: Some(number), size, ..Default::default() };
        tell_checksums!(part, told_of_part(&object.attributes.checksums, at));
        part
    };
    let listed = (1..).zip(&all).enumerate().filter(|(_, (number, _))| *number > after);
    let listed: Vec<_> = listed.take(usize::try_from(limit).unwrap_or(0)).map(part).collect();
    let last = listed.last().and_then(|part| part.part_number).unwrap_or(after);
    let count = i32::try_from(all.len()).unwrap_or(i32::MAX);
    GetObjectAttributesParts {
        is_truncated: Some(last < count),
        max_parts: Some(limit),
        next_part_number_marker: Some(last),
        part_number_marker: Some(after),
        parts: Some(listed),
        total_parts_count: Some(count),
    }
}
