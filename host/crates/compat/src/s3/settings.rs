//! Settings of buckets: the pages that may call them (CORS), and tags.

use std::{collections::BTreeMap, sync::Arc};

use lacewing_base::KvStore;
use lacewing_store::{Transaction, kv::Condition};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, DeleteBucketTaggingInput,
        DeleteBucketTaggingOutput, GetBucketCorsInput, GetBucketCorsOutput, GetBucketTaggingInput,
        GetBucketTaggingOutput, PutBucketCorsInput, PutBucketCorsOutput, PutBucketTaggingInput,
        PutBucketTaggingOutput, Tag,
    },
    s3_error,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{attributes::check_tags, caller::Caller, cors::Rule};

/// The most rules of a bucket, as in S3.
const MAX_RULES: usize = 100;

/// The store with the settings of all buckets of a tenant.
fn store() -> Arc<KvStore> {
    let id = "s3:settings".into();
    Arc::new(KvStore { id, max_bytes: 64 << 20, max_value_bytes: KvStore::MAX_VALUE_BYTES })
}

/// The name of a setting, as a part of its key.
const CORS: &str = "cors";
const TAGS: &str = "tags";

async fn read<T: DeserializeOwned>(
    caller: &Caller,
    bucket: &str,
    name: &str,
) -> S3Result<Option<T>> {
    caller.bucket(bucket).await?;
    let (store, key) = (store(), format!("{bucket}/{name}"));
    let found = caller.run(|transaction| transaction.get(&store, &key)).await?;
    Ok(found.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
}

async fn write<T: Serialize>(
    caller: &Caller,
    bucket: &str,
    name: &str,
    value: Option<&T>,
) -> S3Result<()> {
    caller.bucket(bucket).await?;
    let (store, key) = (store(), format!("{bucket}/{name}"));
    let value = value.map(|value| serde_json::to_vec(value).unwrap_or_default());
    let set = |transaction: &mut Transaction| match &value {
        Some(value) => transaction.set(&store, &key, value.clone(), None, Condition::Any),
        None => transaction.delete(&store, &key, Condition::Any),
    };
    caller.run(set).await.map(drop)
}

/// The rules of a bucket for pages of other origins.
pub(super) async fn cors_rules(caller: &Caller, bucket: &str) -> S3Result<Vec<Rule>> {
    Ok(read(caller, bucket, CORS).await?.unwrap_or_default())
}

pub(super) async fn get_cors(
    request: S3Request<GetBucketCorsInput>,
) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let caller = Caller::of(&request)?;
    let rules = cors_rules(&caller, &request.input.bucket).await?;
    if rules.is_empty() {
        return Err(s3_error!(NoSuchCORSConfiguration));
    }
    let cors_rules = Some(rules.into_iter().map(CORSRule::from).collect());
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules }))
}

pub(super) async fn put_cors(
    request: S3Request<PutBucketCorsInput>,
) -> S3Result<S3Response<PutBucketCorsOutput>> {
    let caller = Caller::of(&request)?;
    let rules = request.input.cors_configuration.cors_rules;
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(s3_error!(MalformedXML, "a bucket has 1 to {MAX_RULES} rules"));
    }
    let rules: Vec<Rule> = rules.into_iter().map(Rule::try_from).collect::<S3Result<_>>()?;
    write(&caller, &request.input.bucket, CORS, Some(&rules)).await?;
    Ok(S3Response::new(PutBucketCorsOutput {}))
}

pub(super) async fn delete_cors(
    request: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    let caller = Caller::of(&request)?;
    write(&caller, &request.input.bucket, CORS, None::<&Vec<Rule>>).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput {}))
}

pub(super) async fn get_tags(
    request: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let caller = Caller::of(&request)?;
    let tags = read::<BTreeMap<String, String>>(&caller, &request.input.bucket, TAGS).await?;
    let tags = tags.ok_or_else(|| s3_error!(NoSuchTagSet))?.into_iter();
    let tag_set = tags.map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set }))
}

pub(super) async fn put_tags(
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let caller = Caller::of(&request)?;
    let pairs = request.input.tagging.tag_set.into_iter();
    let pairs = pairs.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    let tags = check_tags(pairs)?;
    write(&caller, &request.input.bucket, TAGS, Some(&tags)).await?;
    Ok(S3Response::new(PutBucketTaggingOutput {}))
}

pub(super) async fn delete_tags(
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    let caller = Caller::of(&request)?;
    write(&caller, &request.input.bucket, TAGS, None::<&BTreeMap<String, String>>).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput {}))
}
