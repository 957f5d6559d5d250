//! Tags of objects.

use lacewing_store::{Transaction, object::Object};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput,
        GetObjectTaggingOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
    },
    s3_error,
};

use super::{attributes::check_tags, caller::Caller, error::refused};

pub(super) async fn get(
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let bucket = caller.bucket(&input.bucket).await?;
    let found = caller.run(|transaction| transaction.object(&bucket, &input.key)).await?;
    let (object, _) = found.ok_or_else(|| s3_error!(NoSuchKey))?;
    let tags = object.attributes.tags.into_iter();
    let tag_set = tags.map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: None }))
}

pub(super) async fn put(
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let pairs = input.tagging.tag_set.into_iter();
    let pairs = pairs.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    let tags = check_tags(pairs)?;
    set(&caller, &input.bucket, &input.key, |object| object.attributes.tags.clone_from(&tags))
        .await?;
    Ok(S3Response::new(PutObjectTaggingOutput::default()))
}

pub(super) async fn delete(
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    set(&caller, &input.bucket, &input.key, |object| object.attributes.tags.clear()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
}

async fn set(
    caller: &Caller,
    bucket: &str,
    key: &str,
    change: impl Fn(&mut Object),
) -> S3Result<()> {
    let bucket = caller.bucket(bucket).await?;
    let set = |transaction: &mut Transaction| {
        let found = transaction.object(&bucket, key).map_err(|error| refused(&error))?;
        let (mut object, _) = found.ok_or_else(|| s3_error!(NoSuchKey))?;
        change(&mut object);
        let changed = transaction.set_attributes(&bucket, key, object.attributes);
        changed.map(drop).map_err(|error| refused(&error))
    };
    caller.attempt(set).await
}
