//! The tenant and the rights of an access key.

use std::{cell::OnceCell, sync::Arc};

use http::{Extensions, HeaderMap, header};
use lacewing_base::{Access, Bucket, name::TenantName};
use lacewing_store::{CommitError, EffectLimits, RunError, TenantState, Transaction, kv::KvError};
use s3s::{
    S3Error, S3Request, S3Result,
    access::{S3Access, S3AccessContext},
    path::S3Path,
    s3_error,
};
use serde::{Deserialize, Serialize};

use super::{
    XML_BYTES,
    error::{over_quota, refused},
    pace::BodyWatch,
    requests::{RequestPlace, RequestPlaces},
};

/// An access key of a tenant.
#[derive(Clone)]
pub struct S3Key {
    /// Its secret.
    pub secret: String,
    /// The tenant.
    pub tenant: TenantName,
    /// The tenant's state.
    pub state: Arc<dyn TenantState>,
    /// The buckets that the tenant's manifests declare.
    pub declared: Arc<Vec<Arc<Bucket>>>,
    /// The names of the buckets that the key may use; `None` for all of its tenant.
    pub buckets: Option<Vec<String>>,
    /// The operations that the key may call.
    pub access: Access,
}

impl std::fmt::Debug for S3Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Key").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// The access keys of a host.
pub trait S3Keys: Send + Sync + 'static {
    /// The key of this id.
    fn find(&self, access_key: &str) -> Option<S3Key>;
}

/// Operations that write, and whose bodies are not read into memory.
const NOT_READ: [&str; 7] = [
    "PutObject",
    "UploadPart",
    "CopyObject",
    "UploadPartCopy",
    "CreateMultipartUpload",
    "AbortMultipartUpload",
    "DeleteObject",
];

/// The most that one request writes: an upload of 10,000 parts, or a deletion of 1,000 objects.
const LIMITS: EffectLimits = EffectLimits { count: 20_000, bytes: 32 << 20 };

/// The access key of a request, once it was looked up.
type FoundKey = OnceCell<(String, Option<Arc<S3Key>>)>;

tokio::task_local! {
    /// s3s asks for the secret, and then for the rights, of the key of a request.
    static FOUND: FoundKey;
}

/// The check of the rights of each request.
pub(super) struct Rights {
    keys: Arc<dyn S3Keys>,
    places: Arc<RequestPlaces>,
}

impl Rights {
    pub(super) fn new(keys: Arc<dyn S3Keys>) -> Rights {
        Rights { keys, places: Arc::default() }
    }

    /// Answers a request, whose key is looked up once.
    pub(super) async fn looking_up<T>(&self, answer: impl Future<Output = T>) -> T {
        FOUND.scope(FoundKey::new(), answer).await
    }

    /// The key of an id.
    pub(super) fn key(&self, access_key: &str) -> Option<Arc<S3Key>> {
        let find = || self.keys.find(access_key).map(Arc::new);
        let found = FOUND.try_with(|found| {
            let (id, key) = found.get_or_init(|| (access_key.to_owned(), find()));
            (id == access_key).then(|| key.clone())
        });
        found.ok().flatten().unwrap_or_else(find)
    }

    /// The caller with a key that may use a bucket, without a look at the secret. The caller has no
    /// place of its tenant: a stranger may know the id of a key.
    pub(super) async fn unproven(&self, access_key: &str, bucket: &str) -> Option<Caller> {
        let key = self.key(access_key).filter(|key| key.may_use(bucket))?;
        Some(Caller { key, _place: self.places.of_stranger().await })
    }
}

/// The rights, for s3s.
pub(super) struct RightsOf(pub(super) Arc<Rights>);

#[async_trait::async_trait]
impl S3Access for RightsOf {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "a request has to be signed with an access key"));
        };
        let key = self.0.key(&credentials.access_key);
        let key = key.ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        let name = cx.s3_op().name();
        let reads = ["Get", "Head", "List"].iter().any(|reads| name.starts_with(reads));
        if !reads && key.access < Access::ReadWrite {
            return Err(s3_error!(AccessDenied, "the access key may only read"));
        }
        let bucket = match cx.s3_path() {
            S3Path::Root => None,
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } => Some(&**bucket),
        };
        if bucket.is_some_and(|bucket| !key.may_use(bucket)) {
            return Err(s3_error!(AccessDenied, "the access key may not use the bucket"));
        }
        let place = self.0.places.of_tenant(&key.tenant);
        let mut place =
            place.ok_or_else(|| s3_error!(SlowDown, "the tenant has too many requests at once"))?;
        if !reads && !NOT_READ.contains(&name) {
            check_length(cx.headers())?;
            place.read_into_memory().await;
            if let Some(watch) = cx.extensions_mut().get::<Arc<BodyWatch>>() {
                watch.begin_whole();
            }
        }
        cx.extensions_mut().insert(Arc::new(Caller { key, _place: place }));
        Ok(())
    }
}

/// Checks the length of a body that is read into memory. s3s takes a body that has none, or is too
/// long, for a fault of its own.
fn check_length(headers: &HeaderMap) -> S3Result<()> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(s3_error!(MissingContentLength));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let bytes = length.map_or(Ok(0), str::parse::<usize>);
    match bytes.is_ok_and(|bytes| bytes <= XML_BYTES) {
        true => Ok(()),
        false => Err(s3_error!(MaxMessageLengthExceeded, "a body in XML has up to 2 MiB")),
    }
}

impl S3Key {
    fn may_use(&self, bucket: &str) -> bool {
        self.buckets.as_ref().is_none_or(|buckets| buckets.iter().any(|known| known == bucket))
    }
}

/// A bucket that a client has made.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MadeBucket {
    /// When, in milliseconds since 1970.
    pub(super) made_ms: i64,
}

/// The tenant of a request, and its rights.
pub(super) struct Caller {
    pub(super) key: Arc<S3Key>,
    /// The request keeps its place until its response was sent.
    _place: RequestPlace,
}

impl Caller {
    /// The caller of a request.
    pub(super) fn of<T>(request: &S3Request<T>) -> S3Result<Arc<Caller>> {
        Caller::find(&request.extensions).ok_or_else(|| s3_error!(AccessDenied))
    }

    fn find(extensions: &Extensions) -> Option<Arc<Caller>> {
        extensions.get::<Arc<Caller>>().cloned()
    }

    /// Whether the caller may use a bucket besides that of its request.
    pub(super) fn check_bucket(&self, name: &str) -> S3Result<()> {
        match self.key.may_use(name) {
            true => Ok(()),
            false => Err(s3_error!(AccessDenied, "the access key may not use the bucket")),
        }
    }

    /// The bucket of a name.
    pub(super) async fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        if let Some(declared) = self.declared(name) {
            return Ok(declared.clone());
        }
        let made = Bucket::made();
        let found = self.run(|transaction| transaction.get(&made, name)).await?;
        match found {
            Some(_) => Ok(Arc::new(Bucket::new(name))),
            None => Err(self.no_bucket(name)),
        }
    }

    /// The error of a bucket that is not there. A client may have left the app out of the name.
    fn no_bucket(&self, name: &str) -> S3Error {
        let is_meant = |bucket: &&Arc<Bucket>| {
            let own = bucket.name.split_once('.').map(|(_, own)| own);
            own == Some(name) && self.key.may_use(&bucket.name)
        };
        match self.key.declared.iter().find(is_meant) {
            Some(meant) => {
                s3_error!(NoSuchBucket, "there is no bucket {name}; did you mean {}?", meant.name)
            }
            None => s3_error!(NoSuchBucket, "there is no bucket {name}"),
        }
    }

    pub(super) fn declared(&self, name: &str) -> Option<&Arc<Bucket>> {
        self.key.declared.iter().find(|bucket| *bucket.name == *name)
    }

    /// Runs a transaction until it is committed.
    pub(super) async fn run<T>(
        &self,
        mut step: impl FnMut(&mut Transaction) -> Result<T, KvError>,
    ) -> S3Result<T> {
        self.attempt(|transaction| step(transaction).map_err(|error| refused(&error))).await
    }

    /// Runs a transaction until it is committed. An error of `step` is the answer, and nothing is
    /// committed.
    pub(super) async fn attempt<T>(
        &self,
        step: impl FnMut(&mut Transaction) -> S3Result<T>,
    ) -> S3Result<T> {
        match Transaction::run(&self.key.state, LIMITS, step).await {
            Ok((done, _)) => Ok(done),
            Err(RunError::Step(error)) => Err(error),
            Err(RunError::Commit(error)) => Err(not_committed(error)),
        }
    }
}

fn not_committed(error: CommitError) -> S3Error {
    match error {
        CommitError::Conflict { .. } => {
            s3_error!(OperationAborted, "other clients change the same objects again and again")
        }
        CommitError::OverQuota { .. } => over_quota(error.to_string()),
        CommitError::TooManyWaiting { .. } => s3_error!(SlowDown, "{error}"),
        CommitError::Store(error) => refused(&error.into()),
    }
}
