//! Handlers of every kind, called through the machinery that the host calls them through.

#![allow(clippy::unwrap_used)] // Also in what the tests share.

mod calls;
mod errors;
mod events;
mod extract;
mod respond;
mod streaming;
