//! Sandboxes: the engines, one store for each invocation, and the imports of guests.
//!
//! This crate alone names Wasmtime.
//!
//! ```text
//!   sandbox      one invocation's store, instance and limits; the classification of faults
//!      │
//!   capability   the imports of guests: WASI, stdio, outbound HTTP
//!      │
//!   engine       the engines, the pool, the epoch, the artifact cache, the compiler
//! ```

pub mod capability;
pub mod engine;
mod sandbox;

pub use sandbox::{
    CONCURRENT, CallError, DETAIL_BYTES, Event, EventFailure, Extension, Fault, GrowthRefusal,
    IDLE, InitError, InitSpec, LeanField, LeanParam, LeanRequest, LeanResponse, LinkError, Linkers,
    Program, Provisioned, Retry, Reused, Sandbox, Seat, Snapshot, Spec, snapshot,
};
