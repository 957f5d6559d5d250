//! Behaviour through the real engine and real sockets.

mod cli;
mod client;
mod egress;
mod examples;
mod harness;
mod hello;
mod portable;
mod process;
mod streaming;
mod structure;
mod up;
mod upstream;
