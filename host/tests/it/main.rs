//! Behaviour through the real engine and real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
mod client;
mod components;
mod cli;
mod client;
mod egress;
mod examples;
mod harness;
mod hello;
mod limits;
mod portable;
mod process;
mod outcomes;
mod structure;
mod tenants;
mod streaming;
mod structure;
mod up;
mod upstream;
