//! Behaviour through the real engine and real sockets.

mod cli;
mod harness;
mod hello;
mod structure;
