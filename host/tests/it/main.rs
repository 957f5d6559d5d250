//! Behaviour through the real engine and real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::cast_possible_truncation, reason = "sizes of tests are small")]

mod admin_api;
mod attacks;
mod bad_components;
mod bad_requests;
mod bad_responses;
mod bad_state;
mod budgets;
mod cache;
mod cli;
mod client;
mod compiler;
mod components;
mod deploy;
mod docs;
mod durable;
mod egress;
mod examples;
mod fairness;
mod fuzz;
mod guest_logs;
mod harness;
mod hello;
mod json_log;
mod limits;
mod machine;
mod objects;
mod outcomes;
mod portable;
mod process;
mod prose;
mod provisioned;
mod reference;
mod residency;
mod restart;
mod reuse;
mod s3;
mod secrets;
mod snapshot;
mod spin;
mod sql;
mod start;
mod state;
mod streaming;
mod structure;
mod tenants;
mod up;
mod upstream;
mod watch;

/// As the program's own: hosts of this process charge their heap too.
#[global_allocator]
static ALLOCATOR: lacewing::heap::ChargingAllocator<std::alloc::System> =
    lacewing::heap::ChargingAllocator(std::alloc::System);
