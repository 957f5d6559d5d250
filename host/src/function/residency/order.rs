//! In which order programs are evicted.
//!
//! Nothing is moved when a program is used, because that would take a lock. Instead, once victims are needed, all programs are
//! looked at and the eighth of them that was used longest ago is put in order; the evictions after that take from it, and
//! pass over what was used meanwhile. So an eviction looks at eight programs on average.

use std::sync::{Arc, Weak, atomic::Ordering};

use super::Revision;

/// What is resident, or was.
#[derive(Default)]
pub(super) struct Order {
    entries: Vec<Entry>,
    /// The next one last.
    victims: Vec<(u64, Entry)>,
}

#[derive(Clone)]
struct Entry {
    revision: Weak<Revision>,
    loaded: u64,
}

impl Entry {
    /// The revision, if it is there and has not been evicted since.
    fn get(&self) -> Option<Arc<Revision>> {
        let revision = self.revision.upgrade()?;
        let place = &revision.place;
        let resident =
            place.loaded.load(Ordering::Relaxed) == self.loaded && place.program.load().is_some();
        resident.then_some(revision)
    }
}

/// Which part of all programs is put in order at a time.
const PART: usize = 8;

impl Order {
    pub(super) fn add(&mut self, revision: &Arc<Revision>, loaded: u64) {
        self.entries.push(Entry { revision: Arc::downgrade(revision), loaded });
    }

    /// The program that was used longest ago, but for the one of the load `newest`.
    pub(super) fn next(&mut self, newest: u64) -> Option<Arc<Revision>> {
        if let Some(victim) = self.pop() {
            return Some(victim);
        }
        let mut used = Vec::with_capacity(self.entries.len());
        self.entries.retain(|entry| {
            let Some(revision) = entry.get() else { return false };
            if entry.loaded != newest {
                used.push((revision.place.used.load(Ordering::Relaxed), entry.clone()));
            }
            true
        });
        let part = used.len().div_ceil(PART);
        if part == 0 {
            return None;
        }
        used.select_nth_unstable_by_key(part - 1, |(used, _)| *used);
        used.truncate(part);
        used.sort_unstable_by_key(|(used, _)| std::cmp::Reverse(*used));
        let least = used.last().and_then(|(_, entry)| entry.get());
        self.victims = used;
        // All of them may have been used in this very moment: one goes all the same, and is loaded again when it is asked for.
        self.pop().or(least)
    }

    /// The next victim that was not used since it became one.
    fn pop(&mut self) -> Option<Arc<Revision>> {
        while let Some((used, entry)) = self.victims.pop() {
            if let Some(revision) = entry.get()
                && revision.place.used.load(Ordering::Relaxed) == used
            {
                return Some(revision);
            }
        }
        None
    }
}
