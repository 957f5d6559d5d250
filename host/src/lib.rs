//! Lacewing: a WebAssembly-sandboxed edge function runtime.
//!
//! The map of this crate is in `ARCHITECTURE.md`.

pub mod capability;
pub mod config;
pub mod manifest;
pub mod name;
pub mod outcome;
pub mod telemetry;
