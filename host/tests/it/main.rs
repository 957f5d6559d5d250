//! One binary for all integration tests: a module for each of `src/`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
