//! Liveness, and readiness for requests.
//!
//! ```text
//!  starting ──ready──> ready ──drain──> draining
//!      └───────────────drain──────────────┘  (no way back)
//! ```

use std::sync::atomic::{AtomicU8, Ordering};

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// The state that load balancers ask for. It only ever moves forward.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

/// Why a host should not be sent requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// No app has been loaded yet.
    #[error("starting: the apps are not loaded yet")]
    Starting,
    /// The host finishes what it has and then ends.
    #[error("draining: no new requests, please")]
    Draining,
}

impl Health {
    /// A host that is starting.
    pub fn new() -> Health {
        Health::default()
    }

    /// The apps are loaded and the listener is open. Has no effect once the host drains.
    pub fn set_ready(&self) {
        let _ = self.0.compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The first step of a drain, before the listener closes.
    pub fn set_draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }

    /// Whether requests are welcome, or why not.
    pub fn readiness(&self) -> Result<(), NotReady> {
        match self.0.load(Ordering::Acquire) {
            STARTING => Err(NotReady::Starting),
            READY => Ok(()),
            _ => Err(NotReady::Draining),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_only_moves_forward() {
        let health = Health::new();
        assert_eq!(health.readiness(), Err(NotReady::Starting));
        health.set_ready();
        assert_eq!(health.readiness(), Ok(()));
        health.set_draining();
        health.set_ready();
        assert_eq!(health.readiness(), Err(NotReady::Draining));
    }
}
