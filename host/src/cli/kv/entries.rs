//! The entries of one store, in a directory or of a running host.

use std::{sync::Arc, time::Duration};

use lacewing_base::{KvStore, name::TenantName};
use lacewing_control::AdminClient;
use lacewing_store::{
    Transaction,
    embedded::EmbeddedStore,
    kv::{Condition, KvError, MAX_KEYS},
};

use crate::cli::{
    Error,
    opened::OpenState,
    place::{commit, transaction},
};

/// A store that is open.
pub(super) struct OpenStore {
    state: OpenState,
    tenant: TenantName,
    store: Arc<KvStore>,
}

/// The keys of a store, page by page.
pub(super) struct Keys<'a> {
    prefix: &'a str,
    source: KeySource,
    after: Option<String>,
    is_over: bool,
}

/// Where the keys come from.
enum KeySource {
    /// A directory, whose keys are all of one moment.
    Directory { _locks: EmbeddedStore, transaction: Box<Transaction>, store: Arc<KvStore> },
    /// A host, each of whose pages is of a moment.
    Host { client: AdminClient, tenant: TenantName, store: Arc<KvStore> },
}

impl OpenStore {
    pub(super) fn new(state: OpenState, tenant: TenantName, store: Arc<KvStore>) -> OpenStore {
        OpenStore { state, tenant, store }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        match &self.state {
            OpenState::Directory(embedded) => {
                let found = transaction(embedded, &self.tenant).get(&self.store, key)?;
                Ok(found.map(|entry| entry.value))
            }
            OpenState::Host(client) => Ok(client.get(self.names(), key)?.map(Into::into)),
        }
    }

    /// Sets the value of a key.
    pub(super) fn set(
        &self,
        key: &str,
        value: Vec<u8>,
        expires_in_s: Option<u64>,
    ) -> Result<(), Error> {
        // No store takes more. A host closes the connection of such a request before its end.
        let (bytes, limit_bytes) = (value.len() as u64, KvStore::MAX_VALUE_BYTES);
        if bytes > limit_bytes {
            return Err(KvError::ValueSize { bytes, limit_bytes }.into());
        }
        match &self.state {
            OpenState::Directory(embedded) => {
                let mut transaction = transaction(embedded, &self.tenant);
                let time_to_live = expires_in_s.map(Duration::from_secs);
                transaction.set(&self.store, key, value, time_to_live, Condition::Any)?;
                commit(transaction)
            }
            OpenState::Host(client) => Ok(client.set(self.names(), key, value, expires_in_s)?),
        }
    }

    /// Deletes the entry of a key. False: there is none.
    pub(super) fn delete(&self, key: &str) -> Result<bool, Error> {
        match &self.state {
            OpenState::Directory(embedded) => {
                let mut transaction = transaction(embedded, &self.tenant);
                let is_deleted = transaction.delete(&self.store, key, Condition::Any)?;
                commit(transaction)?;
                Ok(is_deleted)
            }
            OpenState::Host(client) => Ok(client.delete(self.names(), key)?),
        }
    }

    /// The keys that begin with a prefix.
    pub(super) fn keys(self, prefix: &str) -> Keys<'_> {
        let OpenStore { state, tenant, store } = self;
        let source = match state {
            OpenState::Directory(embedded) => {
                let transaction = Box::new(transaction(&embedded, &tenant));
                KeySource::Directory { _locks: embedded, transaction, store }
            }
            OpenState::Host(client) => KeySource::Host { client, tenant, store },
        };
        Keys { prefix, source, after: None, is_over: false }
    }

    fn names(&self) -> (&str, &str) {
        (self.tenant.as_str(), &self.store.id)
    }
}

impl Keys<'_> {
    /// The next keys; `None` at the end.
    pub(super) fn next_page(&mut self) -> Result<Option<Vec<String>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let after = self.after.as_deref();
        let (keys, next) = match &mut self.source {
            KeySource::Directory { transaction, store, .. } => {
                let page = transaction.list(store, self.prefix, after, MAX_KEYS)?;
                (page.keys, page.next)
            }
            KeySource::Host { client, tenant, store } => {
                let page = client.keys((tenant.as_str(), &store.id), self.prefix, after)?;
                (page.keys, page.next)
            }
        };
        self.is_over = next.is_none();
        self.after = next;
        Ok(Some(keys))
    }
}
