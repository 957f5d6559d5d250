//! Functions: what is registered, in which revision, under which quota, and which of it is in memory.

mod quota;
mod residency;
mod revision;

pub use quota::Quota;
pub use residency::{Place, Prepare, ProgramError, Residency, ResidencyOptions};
pub use revision::{Component, Revision, RevisionParts, Tenant};
