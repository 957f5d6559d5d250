//! Turns to load a program.
//!
//! ```text
//!   loads that wait, a line for each tenant --fairly, by weight--> so many at once, and of one tenant so many
//! ```
//!
//! A tenant with hundreds of functions that are all asked for at once has them loaded one after the
//! other, and another one's single load waits for no more than one of these. Each tenant is charged
//! for the time that its loads take ([`FairQueue`]).

use std::{collections::HashMap, num::NonZero, sync::Arc, thread, time::Instant};

use lacewing_base::fair::{FairQueue, Flow};
use parking_lot::{Mutex, MutexGuard};

type LoadWork = Box<dyn FnOnce() + Send>;

/// Loads that run, and loads that wait.
pub(super) struct ProgramLoads {
    /// Loads at once.
    places: u32,
    /// Of these, one tenant's.
    each: u32,
    state: Mutex<LoadsState>,
}

#[derive(Default)]
struct LoadsState {
    running: u32,
    /// The same by tenant: none is 0.
    by_tenant: HashMap<u64, u32>,
    waiting: FairQueue<(u64, LoadWork)>,
}

/// A load that runs.
struct RunningLoad {
    loads: Arc<ProgramLoads>,
    share: Arc<Flow>,
    began: Instant,
}

impl ProgramLoads {
    /// As many that all cores have something to do for one tenant, and places are left for another.
    pub(super) fn per_core() -> Arc<ProgramLoads> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let cores = u32::try_from(cores).unwrap_or(u32::MAX / 2);
        ProgramLoads::new(cores * 2, cores)
    }

    /// The bounds on loads at once, and on those of one tenant.
    pub(super) fn new(places: u32, each: u32) -> Arc<ProgramLoads> {
        Arc::new(ProgramLoads { places, each, state: Mutex::default() })
    }

    /// Has a load run on a thread that may block, when it is its tenant's turn.
    pub(super) fn start(self: &Arc<Self>, share: &Arc<Flow>, work: impl FnOnce() + Send + 'static) {
        self.state().waiting.push(share, (share.id(), Box::new(work)));
        self.fill();
    }

    fn fill(self: &Arc<Self>) {
        while let Some((share, work)) = self.state().next(self.places, self.each) {
            let loads = self.clone();
            tokio::task::spawn_blocking(move || {
                let _running = RunningLoad { loads, share, began: Instant::now() };
                work();
            });
        }
    }

    fn state(&self) -> MutexGuard<'_, LoadsState> {
        self.state.lock()
    }
}

impl LoadsState {
    fn next(&mut self, places: u32, each: u32) -> Option<(Arc<Flow>, LoadWork)> {
        if self.running >= places {
            return None;
        }
        let by_tenant = &self.by_tenant;
        let may =
            |(tenant, _): &(u64, LoadWork)| by_tenant.get(tenant).is_none_or(|all| *all < each);
        let (share, (tenant, work)) = self.waiting.next(may)?;
        self.running += 1;
        *self.by_tenant.entry(tenant).or_default() += 1;
        Some((share, work))
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        let tenant = self.share.id();
        let mut state = self.loads.state();
        state.running -= 1;
        if let Some(all) = state.by_tenant.get_mut(&tenant) {
            *all -= 1;
            if *all == 0 {
                state.by_tenant.remove(&tenant);
            }
        }
        let took = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        state.waiting.charge(&self.share, took.max(1));
        drop(state);
        self.loads.fill();
    }
}

#[cfg(test)]
mod tests;
