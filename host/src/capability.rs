//! What a guest may import: one file per group.

pub mod egress;
