//! Lacewing: a WebAssembly-sandboxed edge function runtime.
//!
//! The map of this crate is in `ARCHITECTURE.md`.

pub mod address;
pub mod body;
pub mod capability;
pub mod cli;
pub mod config;
pub mod control;
pub mod engine;
pub mod event_loop;
pub mod fair;
pub mod fields;
pub mod file;
pub mod function;
#[doc(hidden)]
pub mod fuzzing;
pub mod heap;
pub mod ingress;
pub mod invocation;
pub mod manifest;
pub mod memory;
pub mod name;
pub mod outcome;
pub mod sandbox;
pub mod telemetry;

/// As the program's own, so that tests see what is charged.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: heap::ChargingAllocator<std::alloc::System> =
    heap::ChargingAllocator(std::alloc::System);
