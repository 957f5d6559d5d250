//! Buckets, and their settings.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lacewing_store::{
    Transaction,
    kv::{Condition, MAX_KEYS},
};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
        DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput,
        GetBucketVersioningInput, GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput,
        ListBucketsInput, ListBucketsOutput, Timestamp,
    },
    s3_error,
};

use super::{
    caller::{Caller, MadeBucket},
    error::refused,
    list::owner,
};

/// The most buckets that the clients of a tenant make.
const MAX_BUCKETS: usize = 1000;

/// The time of day, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) async fn create(
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    if input.object_lock_enabled_for_bucket.unwrap_or(false) {
        return Err(s3_error!(NotImplemented, "buckets have no object lock"));
    }
    let name = &input.bucket;
    if caller.declared(name).is_some() {
        return Err(s3_error!(BucketAlreadyOwnedByYou));
    }
    let made = lacewing_base::Bucket::made();
    let value = serde_json::to_vec(&MadeBucket { made_ms: now_ms() }).unwrap_or_default();
    let make = |transaction: &mut Transaction| {
        let page = transaction.list(&made, "", None, MAX_BUCKETS);
        if page.map_err(|error| refused(&error))?.keys.len() >= MAX_BUCKETS {
            return Err(s3_error!(TooManyBuckets));
        }
        let set = transaction.set(&made, name, value.clone(), None, Condition::Absent);
        set.map_err(|error| refused(&error))
    };
    // In the region of S3 that clients take by default, a bucket that one owns is made again.
    caller.attempt(make).await?;
    let location = Some(format!("/{name}"));
    Ok(S3Response::new(CreateBucketOutput { location }))
}

pub(super) async fn delete(
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let caller = Caller::of(&request)?;
    let name = request.input.bucket;
    if caller.declared(&name).is_some() {
        return Err(s3_error!(AccessDenied, "a manifest declares the bucket"));
    }
    let bucket = caller.bucket(&name).await?;
    let made = lacewing_base::Bucket::made();
    let delete = |transaction: &mut Transaction| {
        let page = transaction.list_objects(&bucket, "", None, None, 1);
        if !page.map_err(|error| refused(&error))?.objects.is_empty() {
            return Err(s3_error!(BucketNotEmpty));
        }
        let deleted = transaction.delete(&made, &name, Condition::Any);
        deleted.map(drop).map_err(|error| refused(&error))
    };
    caller.attempt(delete).await?;
    Ok(S3Response::new(DeleteBucketOutput {}))
}

pub(super) async fn head(
    request: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    let caller = Caller::of(&request)?;
    caller.bucket(&request.input.bucket).await?;
    Ok(S3Response::new(HeadBucketOutput::default()))
}

pub(super) async fn list(
    request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let caller = Caller::of(&request)?;
    let made = lacewing_base::Bucket::made();
    let read = |transaction: &mut Transaction| {
        let names = transaction.list(&made, "", None, MAX_KEYS)?.keys;
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let entry = transaction.get(&made, &name)?;
            let made = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
            let MadeBucket { made_ms } = made.unwrap_or_default();
            all.push((name, made_ms));
        }
        Ok(all)
    };
    let mut all = caller.run(read).await?;
    all.extend(caller.key.declared.iter().map(|bucket| (bucket.name.to_string(), 0)));
    let input = request.input;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let after = input.continuation_token.as_deref().unwrap_or_default();
    all.retain(|(name, _)| {
        caller.check_bucket(name).is_ok() && name.starts_with(prefix) && &**name > after
    });
    all.sort();
    let limit = input.max_buckets.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(usize::MAX).max(1);
    let continuation_token =
        (all.len() > limit).then(|| all.get(limit - 1).map(|(name, _)| name.clone())).flatten();
    all.truncate(limit);
    let told = |(name, made_ms): (String, i64)| {
        let since = Duration::from_millis(u64::try_from(made_ms).unwrap_or_default());
        let creation_date = Some(Timestamp::from(UNIX_EPOCH + since));
        Bucket { name: Some(name), creation_date, ..Default::default() }
    };
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(all.into_iter().map(told).collect()),
        continuation_token,
        owner: Some(owner(&caller)),
        prefix: input.prefix,
    }))
}

pub(super) async fn location(
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let caller = Caller::of(&request)?;
    caller.bucket(&request.input.bucket).await?;
    // No constraint is the region that clients take by default.
    let location_constraint = None::<BucketLocationConstraint>;
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

pub(super) async fn versioning(
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let caller = Caller::of(&request)?;
    caller.bucket(&request.input.bucket).await?;
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}
