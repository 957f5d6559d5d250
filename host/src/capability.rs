//! What a guest may import: one file per group.

pub mod egress;
mod link;
pub(crate) mod stdio;

pub(crate) use link::{linker, missing};
