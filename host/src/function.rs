//! Functions: what is registered, in which revision, under which quota.

mod quota;
mod revision;

pub use quota::Quota;
pub use revision::{Revision, Tenant};
