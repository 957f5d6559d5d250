//! An immutable revision of a function, and the tenant it belongs to.

use std::{path::PathBuf, sync::Arc};

use super::Quota;
use crate::{
    manifest::{Cors, Route},
    name::TenantName,
    sandbox::{Program, Provisioned, Spec},
    telemetry::{FunctionMetrics, Origin},
};

/// Who is isolated and charged.
#[derive(Debug)]
pub struct Tenant {
    name: TenantName,
    quota: Quota,
}

impl Tenant {
    /// A tenant with its quota over all its functions.
    pub fn new(name: TenantName, quota: Quota) -> Tenant {
        Tenant { name, quota }
    }

    /// Its name.
    pub fn name(&self) -> &TenantName {
        &self.name
    }

    /// Over all its functions.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }
}

/// An artifact with limits, grants and triggers. Nothing in it changes; a deploy makes another one.
pub struct Revision {
    /// Whose it is.
    pub tenant: Arc<Tenant>,
    /// Names, and the revision's identifier.
    pub origin: Arc<Origin>,
    /// What runs.
    pub program: Arc<Program>,
    /// Limits, environment, grants.
    pub spec: Arc<Spec>,
    /// The function's own quota: the same object for all revisions with the same limits.
    pub quota: Arc<Quota>,
    /// The function's metrics, over all its revisions.
    pub metrics: Arc<FunctionMetrics>,
    /// Its sandboxes that are made ahead, if there are to be any.
    pub provisioned: Option<Arc<Provisioned>>,
    /// Where it answers.
    pub routes: Vec<Route>,
    /// Which other origins' pages may call it.
    pub cors: Option<Arc<Cors>>,
    /// The file that its component was read from.
    pub source: PathBuf,
}
