//! The imports of guests, one file per group.

pub mod egress;
mod init;
mod link;
pub(crate) mod stdio;

pub(crate) use init::{InitView, for_init, link_for_init};
pub(crate) use link::{candidate, linker, missing};
