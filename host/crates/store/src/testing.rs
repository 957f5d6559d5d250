//! Parts of this crate's tests.

use std::sync::Arc;

use lacewing_base::name::TenantName;

use crate::{
    CommitError, EffectLimits, Transaction,
    kv::{KvStore, Version},
};

pub(crate) const LIMITS: EffectLimits = EffectLimits { count: 1000, bytes: 4 << 20 };

pub(crate) fn name(name: &str) -> TenantName {
    name.parse().unwrap()
}

/// A store of the app `app`, without a bound.
pub(crate) fn kv_store(name: &str) -> Arc<KvStore> {
    let id = format!("app/{name}").into();
    Arc::new(KvStore { id, max_bytes: u64::MAX, max_value_bytes: KvStore::MAX_VALUE_BYTES })
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Commits a transaction that has effects.
pub(crate) fn commit(transaction: Transaction) -> Result<Version, CommitError> {
    let (state, changes) = transaction.into_changes().expect("it has effects");
    block_on(state.commit(changes))
}
