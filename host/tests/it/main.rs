//! Behaviour through the real engine and real sockets.

mod bad_components;
mod bad_requests;
mod cli;
mod components;
mod deploy;
mod harness;
mod hello;
mod limits;
mod outcomes;
mod structure;
mod tenants;
