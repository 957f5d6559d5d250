//! Behaviour through the real engine and real sockets.

mod harness;
mod hello;
mod structure;
