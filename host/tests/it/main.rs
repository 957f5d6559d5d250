//! Behaviour through the real engine and real sockets.

mod client;
mod harness;
mod hello;
mod portable;
mod process;
mod structure;
