//! The receivers of a tenant that wait for entries to be appended to stores.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::kv::Version;

/// The stores that have receivers.
#[derive(Default)]
pub(super) struct AppendSignals(Mutex<HashMap<Arc<str>, watch::Sender<Version>>>);

impl AppendSignals {
    /// A receiver of the commits that append to a store.
    pub(super) fn receiver(&self, store: &Arc<str>) -> watch::Receiver<Version> {
        let mut senders = self.0.lock();
        let sender = senders.entry(store.clone());
        sender.or_insert_with(|| watch::channel(Version::ABSENT).0).subscribe()
    }

    /// Tells the receivers of a store. A store whose receivers are gone is forgotten.
    pub(super) fn tell(&self, store: &str, commit: Version) {
        let mut senders = self.0.lock();
        if senders.get(store).is_some_and(|sender| sender.send(commit).is_err()) {
            senders.remove(store);
        }
    }
}
