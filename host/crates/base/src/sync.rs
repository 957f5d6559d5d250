//! Synchronisation primitives of this crate, in one place, so that a test can put a model checker's
//! in their stead.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic};
