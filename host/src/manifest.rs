//! `lacewing.toml`: raw, then validated into an [`App`] that cannot be wrong.

mod limits;

pub use limits::Limits;
