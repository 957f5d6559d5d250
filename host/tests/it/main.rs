//! Behaviour through the real engine and real sockets.

mod cli;
mod components;
mod harness;
mod hello;
mod limits;
mod outcomes;
mod structure;
mod tenants;
