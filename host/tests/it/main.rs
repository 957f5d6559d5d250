//! Behaviour through the real engine and real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
mod harness;
mod hello;
mod structure;
