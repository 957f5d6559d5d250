//! The store or bucket that a request names: its reads, its commits, and what may be wrong with
//! them.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use lacewing_base::{Bucket, KvStore};
use lacewing_store::{
    ATTEMPTS, CommitError, EffectLimits, RunError, StoreError, Transaction,
    kv::{KvError, Version},
};
use lacewing_telemetry::admin::ContentError;
use tokio::{runtime::Handle, time::timeout};

use super::{
    ControlApi, TenantView,
    operation::{Call, Refusal},
};
use crate::{BucketError, TenantBuckets};

/// A request writes one entry, of any size that its store takes.
const ONE_EFFECT: EffectLimits = EffectLimits { count: 1, bytes: u64::MAX };

/// The longest wait for the disk of one commit. 504.
const COMMIT: Duration = Duration::from_secs(10);

/// The store that a request names.
pub(super) struct OpenedStore {
    pub(super) tenant: TenantView,
    pub(super) store: Arc<KvStore>,
    /// Whether a deployed function is granted the store. If none is, its bounds are not known.
    is_granted: bool,
}

impl OpenedStore {
    pub(super) fn find(api: &ControlApi, call: &Call) -> Result<OpenedStore, Refusal> {
        let tenant = api.tenant(call.part(0))?;
        let id = format!("{}/{}", call.part(1), call.part(2));
        if let Some(store) = tenant.stores.iter().find(|store| *store.id == *id).cloned() {
            return Ok(OpenedStore { tenant, store, is_granted: true });
        }
        let is_used = !tenant.is_empty && {
            let used = tenant.state.snapshot().and_then(|mut snapshot| snapshot.stores())?;
            used.iter().any(|used| used.id == id)
        };
        if !is_used {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                format!(
                    "tenant `{}` has no kv store `{id}`: no deployed function is granted it, and it has no entries",
                    tenant.name
                ),
            ));
        }
        let store = KvStore { id: id.into(), max_bytes: 0, max_value_bytes: 0 };
        Ok(OpenedStore { tenant, store: Arc::new(store), is_granted: false })
    }

    pub(super) fn may_grow(self) -> Result<OpenedStore, Refusal> {
        match self.is_granted {
            true => Ok(self),
            false => {
                let id = &self.store.id;
                let detail = format!(
                    "no deployed function is granted the kv store `{id}`: it can be read and emptied only"
                );
                Err(Refusal::new(StatusCode::CONFLICT, detail))
            }
        }
    }
}

/// The bucket that a request names.
pub(super) struct OpenedBucket {
    pub(super) tenant: TenantView,
    pub(super) bucket: Arc<Bucket>,
}

impl OpenedBucket {
    /// To read and to empty.
    pub(super) fn find(api: &ControlApi, call: &Call) -> Result<OpenedBucket, Refusal> {
        OpenedBucket::found(api, call, TenantBuckets::find)
    }

    /// To write to.
    pub(super) fn find_to_write(api: &ControlApi, call: &Call) -> Result<OpenedBucket, Refusal> {
        OpenedBucket::found(api, call, TenantBuckets::bounded)
    }

    fn found(
        api: &ControlApi,
        call: &Call,
        find: fn(&TenantBuckets, &str) -> Result<Arc<Bucket>, BucketError>,
    ) -> Result<OpenedBucket, Refusal> {
        let tenant = api.tenant(call.part(0))?;
        let bucket = find(&tenant.buckets()?, call.part(1))?;
        Ok(OpenedBucket { tenant, bucket })
    }
}

impl TenantView {
    /// The buckets of the tenant.
    pub(super) fn buckets(&self) -> Result<TenantBuckets, Refusal> {
        let state = (!self.is_empty).then_some(&*self.state);
        Ok(TenantBuckets::read(self.name.clone(), self.granted_buckets.to_vec(), state)?)
    }

    /// A transaction of an operator, which has one effect.
    pub(super) fn transaction(&self) -> Transaction {
        Transaction::new(self.state.clone(), ONE_EFFECT)
    }

    /// Commits what `change` does, again if another transaction was in between. Waits for the disk.
    pub(super) fn commit(
        &self,
        change: impl Fn(&mut Transaction) -> Result<(), Refusal>,
    ) -> Result<Version, Refusal> {
        let committed = Transaction::run(&self.state, ONE_EFFECT, change);
        match Handle::current().block_on(async { timeout(COMMIT, committed).await }) {
            Ok(Ok((_, version))) => Ok(version.unwrap_or(Version::ABSENT)),
            Ok(Err(RunError::Step(refusal))) => Err(refusal),
            Ok(Err(RunError::Commit(CommitError::Conflict { .. }))) => {
                let detail =
                    format!("other transactions changed the entry {ATTEMPTS} times: try again");
                Err(Refusal::new(StatusCode::CONFLICT, detail))
            }
            Ok(Err(RunError::Commit(error))) => Err(Refusal::from(error)),
            Err(_) => {
                let seconds = COMMIT.as_secs();
                Err(Refusal::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    format!(
                        "the disk did not answer for {seconds} s: the write may have been made or not"
                    ),
                ))
            }
        }
    }
}

impl From<BucketError> for Refusal {
    fn from(error: BucketError) -> Refusal {
        let status = match error {
            BucketError::NotThere { .. } => StatusCode::NOT_FOUND,
            BucketError::Closed { .. } => StatusCode::CONFLICT,
        };
        Refusal::new(status, error.to_string())
    }
}

impl From<ContentError> for Refusal {
    fn from(error: ContentError) -> Refusal {
        Refusal::new(error.status(), error.to_string())
    }
}

impl From<KvError> for Refusal {
    fn from(error: KvError) -> Refusal {
        let status = match error {
            KvError::ValueSize { .. }
            | KvError::ObjectSize { .. }
            | KvError::MessageSize { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            KvError::KeySize { .. }
            | KvError::TooManyBytes { .. }
            | KvError::TooManyKeys { .. }
            | KvError::TooManyEffects { .. }
            | KvError::EffectBytes { .. }
            | KvError::TooManyReads
            | KvError::NotANumber
            | KvError::AttributeSize { .. }
            | KvError::NotAnObject
            | KvError::Delay { .. }
            | KvError::GroupSize { .. }
            | KvError::DelayInOrder
            | KvError::NotAMessage
            | KvError::Overflow => StatusCode::BAD_REQUEST,
            KvError::OverQuota { .. } => StatusCode::INSUFFICIENT_STORAGE,
            KvError::Store(error) => return error.into(),
        };
        Refusal::new(status, error.to_string())
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Refusal {
        let status = match error {
            CommitError::Conflict { .. } => StatusCode::CONFLICT,
            CommitError::OverQuota { .. } => StatusCode::INSUFFICIENT_STORAGE,
            CommitError::TooManyWaiting { .. } => StatusCode::SERVICE_UNAVAILABLE,
            CommitError::Store(error) => return error.into(),
        };
        Refusal::new(status, error.to_string())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        let status = match error {
            StoreError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            StoreError::ReadOnly(_)
            | StoreError::Damaged(_)
            | StoreError::NewerSchema { .. }
            | StoreError::TooManySnapshots { .. }
            | StoreError::SnapshotTooOld { .. }
            | StoreError::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refusal::new(status, error.to_string())
    }
}
