//! Functions: tenants, revisions, quotas, and the programs in memory.

mod quota;
mod rerun;
mod residency;
mod revision;
mod tenant;

pub use quota::{Quota, QuotaLimits, QuotaPermit, Rate};
pub use rerun::RerunQueues;
pub use residency::{Place, Prepare, ProgramError, Residency, ResidencyOptions, ResidencyShare};
pub use revision::{Component, Revision, RevisionParts};
pub use tenant::{Allotment, Tenant, WaitingPlace};
