//! Who may start a sandbox now.
//!
//! ```text
//!   rate of tenant, of function --over--> throttled, with the time until the next token
//!        |
//!   a slot of the function, of the tenant, memory of the tenant, a slot of the host
//!        |  all free            |  one is not: wait, no longer than the queue's time and only
//!        v                      |  while the queue is not full
//!     admitted  <---------------+--> throttled (function, tenant) or load_shed (host)
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{function::Quota, outcome::Outcome};

/// How long and how many may wait.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// The longest wait for a slot. Default 100 ms: longer than most invocations take, shorter than a client's patience.
    pub wait: Duration,
    /// Requests that may wait at once, in the whole host. Default 1,000. The next one is refused at once.
    pub length: u32,
}

impl Default for QueueOptions {
    fn default() -> QueueOptions {
        QueueOptions { wait: Duration::from_millis(100), length: 1000 }
    }
}

/// Admits invocations to the host's sandboxes.
#[derive(Debug)]
pub struct Admission {
    host: Arc<Semaphore>,
    capacity: u32,
    queue: QueueOptions,
    waiting: AtomicU32,
}

/// The slots that one invocation holds.
#[derive(Debug)]
pub struct Permit {
    _slots: [Option<OwnedSemaphorePermit>; 4],
}

/// Why an invocation was not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `throttled` or `load_shed`.
    pub outcome: Outcome,
    /// Which limit; for the client as well.
    pub reason: &'static str,
    /// When a slot or a token is to be expected.
    pub retry_after: Duration,
}

/// What a client is told when it is not known when a slot will be free.
const RETRY_AFTER: Duration = Duration::from_secs(1);

const FUNCTION_FULL: &str =
    "the function has as many invocations running as its concurrency limit allows";
const TENANT_FULL: &str = "the tenant has as many invocations running as its quota allows";
const TENANT_MEMORY: &str = "the tenant's sandboxes have as much memory as its quota allows";
const HOST_FULL: &str = "the host has as many invocations running as it can hold";

impl Admission {
    /// Admits up to `capacity` invocations at once.
    pub fn new(capacity: u32, queue: QueueOptions) -> Admission {
        Admission {
            host: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
            queue,
            waiting: AtomicU32::new(0),
        }
    }

    /// Invocations that may run at once.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Invocations that run.
    pub fn in_flight(&self) -> u32 {
        self.capacity
            .saturating_sub(u32::try_from(self.host.available_permits()).unwrap_or(u32::MAX))
    }

    /// Waits until nothing runs. What asks to be admitted meanwhile waits as well: for the end of the host.
    pub async fn idle(&self) {
        // Never closed, so that it cannot fail.
        let _ = self.host.acquire_many(self.capacity).await;
    }

    /// Requests that wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits for a slot, if need be. `memory_mib` is the memory limit of the sandbox that is to be made.
    pub async fn admit(
        &self,
        tenant: &Quota,
        function: &Quota,
        memory_mib: u32,
    ) -> Result<Permit, Refused> {
        function.take_rate().map_err(|wait| rate("the function's rate is used up", wait))?;
        tenant.take_rate().map_err(|wait| rate("the tenant's rate is used up", wait))?;
        let stages = [
            Some(Stage {
                semaphore: function.slots(),
                permits: 1,
                outcome: Outcome::Throttled,
                reason: FUNCTION_FULL,
            }),
            Some(Stage {
                semaphore: tenant.slots(),
                permits: 1,
                outcome: Outcome::Throttled,
                reason: TENANT_FULL,
            }),
            tenant.memory().map(|(_, semaphore)| Stage {
                semaphore,
                permits: memory_mib,
                outcome: Outcome::Throttled,
                reason: TENANT_MEMORY,
            }),
            Some(Stage {
                semaphore: &self.host,
                permits: 1,
                outcome: Outcome::LoadShed,
                reason: HOST_FULL,
            }),
        ];
        let mut slots = [const { None }; 4];
        let mut all = true;
        for (slot, stage) in slots.iter_mut().zip(&stages) {
            if let Some(stage) = stage {
                *slot = stage.semaphore.clone().try_acquire_many_owned(stage.permits).ok();
                all &= slot.is_some();
            }
        }
        if all {
            return Ok(Permit { _slots: slots });
        }
        // Those that wait hold nothing of a later stage, or they would starve others of it.
        drop(slots);
        self.wait(stages).await
    }

    async fn wait(&self, stages: [Option<Stage<'_>>; 4]) -> Result<Permit, Refused> {
        let _place = Place::take(&self.waiting, self.queue.length).ok_or(Refused {
            outcome: Outcome::LoadShed,
            reason: "as many requests are waiting as the host lets wait",
            retry_after: RETRY_AFTER,
        })?;
        let until = Instant::now() + self.queue.wait;
        let mut slots = [const { None }; 4];
        for (slot, stage) in slots.iter_mut().zip(stages) {
            if let Some(stage) = stage {
                *slot = Some(stage.enter(until).await?);
            }
        }
        Ok(Permit { _slots: slots })
    }
}

/// Something that an invocation has to have a part of.
struct Stage<'a> {
    semaphore: &'a Arc<Semaphore>,
    permits: u32,
    outcome: Outcome,
    reason: &'static str,
}

impl Stage<'_> {
    async fn enter(self, until: Instant) -> Result<OwnedSemaphorePermit, Refused> {
        match timeout_at(until, self.semaphore.clone().acquire_many_owned(self.permits)).await {
            Ok(Ok(permit)) => Ok(permit),
            // Semaphores here are never closed; if one were, nobody could get in.
            Ok(Err(_)) | Err(_) => Err(Refused {
                outcome: self.outcome,
                reason: self.reason,
                retry_after: RETRY_AFTER,
            }),
        }
    }
}

fn rate(reason: &'static str, retry_after: Duration) -> Refused {
    Refused { outcome: Outcome::Throttled, reason, retry_after }
}

/// A place in the queue.
struct Place<'a>(&'a AtomicU32);

impl Place<'_> {
    fn take(waiting: &AtomicU32, length: u32) -> Option<Place<'_>> {
        waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < length).then_some(n + 1))
            .ok()
            .map(|_| Place(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(wait_ms: u64, length: u32) -> QueueOptions {
        QueueOptions { wait: Duration::from_millis(wait_ms), length }
    }

    #[tokio::test]
    async fn a_full_function_throttles_and_a_full_host_sheds() {
        let admission = Admission::new(2, queue(1, 10));
        let (tenant, small, large) =
            (Quota::new(10, None), Quota::new(1, None), Quota::new(10, None));
        let first = admission.admit(&tenant, &small, 64).await.unwrap();
        let refused = admission.admit(&tenant, &small, 64).await.unwrap_err();
        assert_eq!((refused.outcome, refused.reason), (Outcome::Throttled, FUNCTION_FULL));
        let second = admission.admit(&tenant, &large, 64).await.unwrap();
        let refused = admission.admit(&tenant, &large, 64).await.unwrap_err();
        assert_eq!((refused.outcome, refused.reason), (Outcome::LoadShed, HOST_FULL));
        assert_eq!(admission.in_flight(), 2);
        drop((first, second));
        assert_eq!((admission.in_flight(), admission.waiting()), (0, 0));
        assert_eq!((tenant.in_use(), small.in_use(), large.in_use()), (0, 0, 0));
    }

    #[tokio::test]
    async fn a_full_tenant_throttles_only_itself() {
        let admission = Admission::new(10, queue(1, 10));
        let (full, other, function) =
            (Quota::new(1, None), Quota::new(1, None), Quota::new(10, None));
        let _permit = admission.admit(&full, &function, 64).await.unwrap();
        let refused = admission.admit(&full, &function, 64).await.unwrap_err();
        assert_eq!((refused.outcome, refused.reason), (Outcome::Throttled, TENANT_FULL));
        assert!(admission.admit(&other, &function, 64).await.is_ok());
    }

    #[tokio::test]
    async fn a_tenants_memory_is_the_sum_of_its_sandboxes_limits() {
        let admission = Admission::new(10, queue(1, 10));
        let (tenant, function) =
            (Quota::new(10, None).with_memory(Some(100)), Quota::new(10, None));
        let first = admission.admit(&tenant, &function, 64).await.unwrap();
        let refused = admission.admit(&tenant, &function, 64).await.unwrap_err();
        assert_eq!((refused.outcome, refused.reason), (Outcome::Throttled, TENANT_MEMORY));
        assert!(admission.admit(&tenant, &function, 36).await.is_ok());
        drop(first);
        assert!(admission.admit(&tenant, &function, 64).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_gets_the_slot_that_comes_free() {
        let admission = Arc::new(Admission::new(1, queue(60_000, 10)));
        let quota = Arc::new(Quota::new(10, None));
        let permit = admission.admit(&quota, &quota, 64).await.unwrap();
        let waiter = tokio::spawn({
            let (admission, quota) = (admission.clone(), quota.clone());
            async move { admission.admit(&quota, &quota, 64).await.map(drop) }
        });
        while admission.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        drop(permit);
        assert_eq!(waiter.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let admission = Admission::new(0, queue(60_000, 0));
        let quota = Quota::new(1, None);
        let refused = admission.admit(&quota, &quota, 64).await.unwrap_err();
        assert_eq!(refused.reason, "as many requests are waiting as the host lets wait");
    }

    #[tokio::test]
    async fn a_rate_says_when() {
        let admission = Admission::new(10, queue(1, 10));
        let (tenant, function) = (Quota::new(10, None), Quota::new(10, Some(1)));
        admission.admit(&tenant, &function, 64).await.unwrap();
        let refused = admission.admit(&tenant, &function, 64).await.unwrap_err();
        assert_eq!(
            (refused.outcome, refused.reason),
            (Outcome::Throttled, "the function's rate is used up")
        );
        assert!(refused.retry_after > Duration::from_millis(900), "{:?}", refused.retry_after);
    }
}
