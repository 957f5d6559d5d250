//! The order of evictions: first by tenant, then by time.
//!
//! The tenant whose [`Portion`] is the largest gives up the program that it used longest ago. A
//! tenant that has no more than its part of what may be resident therefore loses none, whatever the
//! others ask for; one that is alone may have all.
//!
//! Nothing is moved when a program is used, because that would take a lock. Instead, once a tenant
//! has to give up one, all of its programs are looked at and the eighth of them that was used
//! longest ago is put in order; its evictions after that take from these, and pass over what was
//! used meanwhile. So an eviction looks at eight programs on average, and once at each tenant that
//! has any.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use lacewing_base::fair::{Flow, Portion, Weight};

use super::ResidencyOptions;

/// The resident programs of one tenant, and its places in the queues for loads.
#[derive(Debug)]
pub struct ResidencyShare {
    /// Its place in the queue for loads.
    pub(super) loads: Arc<Flow>,
    /// Its place in the queue for loads whose artifact was lost.
    pub(super) recompilations: Arc<Flow>,
    functions: AtomicU64,
    bytes: AtomicU64,
}

impl ResidencyShare {
    /// A tenant's that has nothing resident yet.
    pub fn new(weight: &Weight) -> Arc<ResidencyShare> {
        let (functions, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let (loads, recompilations) = (Flow::new(weight), Flow::new(weight));
        Arc::new(ResidencyShare { loads, recompilations, functions, bytes })
    }

    /// Its programs that are resident.
    pub fn functions(&self) -> u64 {
        self.functions.load(Relaxed)
    }

    /// Their bytes, as far as they are counted.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(super) fn enter(&self, bytes: u64) {
        self.functions.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn leave(&self, bytes: u64) {
        self.functions.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// A program that is resident, or was.
pub(super) trait Entry: Clone {
    /// When it was used last; `None` if it is not resident any more.
    fn used(&self) -> Option<u64>;
    /// The number of its load.
    fn loaded(&self) -> u64;
}

/// Programs that are resident, or were, by tenant.
pub(super) struct Order<E> {
    tenants: Vec<Programs<E>>,
}

/// The programs of one tenant.
struct Programs<E> {
    share: Arc<ResidencyShare>,
    entries: Vec<E>,
    /// With the moment of their last use, the next one last.
    victims: Vec<(u64, E)>,
}

/// The holding of one tenant at the moment of a choice.
#[derive(Clone, Copy)]
struct Holding {
    functions: u64,
    bytes: u64,
    weight: u32,
}

/// The divisor of a tenant's programs that are put in order at a time.
const PART: usize = 8;

/// Entries of programs that are gone, for which it is not worth looking at all.
const FEW: usize = 16;

impl<E> Default for Order<E> {
    fn default() -> Order<E> {
        Order { tenants: Vec::new() }
    }
}

impl<E: Entry> Order<E> {
    /// Adds a program that its share counts already.
    pub(super) fn add(&mut self, share: &Arc<ResidencyShare>, entry: E) {
        // Those of tenants that have nothing any more.
        self.tenants.retain(|one| one.share.functions() > 0);
        let known = self.tenants.iter_mut().find(|one| Arc::ptr_eq(&one.share, share));
        if let Some(known) = known {
            return known.add(entry);
        }
        let (share, entries) = (share.clone(), vec![entry]);
        self.tenants.push(Programs { share, entries, victims: Vec::new() });
    }

    /// The program that has to go, if there are more than may be: of the tenant with the largest
    /// portion of what there is too much of, the one that was used longest ago. The one of the
    /// load `newest` is the last of its tenant's, and stays where nothing else is resident:
    /// whatever its size, it is asked for now.
    pub(super) fn victim(&mut self, options: &ResidencyOptions, newest: u64) -> Option<E> {
        // Looked at once: what is chosen from is what is added up.
        let holdings: Vec<Holding> = self.tenants.iter().map(Programs::holding).collect();
        let functions: u64 = holdings.iter().map(|one| one.functions).sum();
        let bytes: u64 = holdings.iter().map(|one| one.bytes).sum();
        let held: fn(&Holding) -> u64 = if functions > options.functions.into() {
            |one| one.functions
        } else if bytes > options.memory_bytes {
            |one| one.bytes
        } else {
            return None;
        };
        let portion = |one: &Holding| Portion { held: held(one), weight: one.weight };
        let (index, most) =
            holdings.iter().enumerate().max_by_key(|(_, holding)| portion(holding))?;
        let is_alone = most.functions == functions;
        let tenant = &mut self.tenants[index];
        tenant.next(newest).or_else(|| {
            let newest = tenant.entries.iter().find(|entry| entry.loaded() == newest)?;
            (!is_alone && newest.used().is_some()).then(|| newest.clone())
        })
    }
}

impl<E: Entry> Programs<E> {
    fn holding(&self) -> Holding {
        let ResidencyShare { loads, functions, bytes, .. } = &*self.share;
        Holding {
            functions: functions.load(Relaxed),
            bytes: bytes.load(Relaxed),
            weight: loads.weight(),
        }
    }

    fn add(&mut self, entry: E) {
        let live = usize::try_from(self.share.functions()).unwrap_or(usize::MAX);
        if self.entries.len() > live.saturating_mul(2).saturating_add(FEW) {
            self.entries.retain(|entry| entry.used().is_some());
        }
        self.entries.push(entry);
    }

    /// The program that was used longest ago, but for the one of the load `newest`.
    fn next(&mut self, newest: u64) -> Option<E> {
        if let Some(victim) = self.pop() {
            return Some(victim);
        }
        let mut used = Vec::with_capacity(self.entries.len());
        self.entries.retain(|entry| {
            let Some(moment) = entry.used() else { return false };
            if entry.loaded() != newest {
                used.push((moment, entry.clone()));
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
        let least = used.last().map(|(_, entry)| entry.clone());
        self.victims = used;
        // All of them may have been used in this very moment: one goes all the same, and is loaded
        // again when it is asked for.
        self.pop().or(least.filter(|entry| entry.used().is_some()))
    }

    /// The next victim that was not used since it became one.
    fn pop(&mut self) -> Option<E> {
        while let Some((used, entry)) = self.victims.pop() {
            if entry.used() == Some(used) {
                return Some(entry);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
