//! Which revisions have their provisioned sandboxes made, and when they are dropped.

use std::sync::Arc;

use super::{Deployed, Host};

impl Host {
    /// Those of what is deployed now are made; those of what was deployed `before` and is no more are dropped.
    pub(super) fn provision(&self, before: &Deployed) {
        let now = self.deployed();
        for revision in &now.revisions {
            if let Some(provisioned) = &revision.provisioned {
                provisioned.start(self.deploy_log(&revision.origin, &revision.spec.limits));
            }
        }
        for old in &before.revisions {
            if !now.revisions.iter().any(|new| Arc::ptr_eq(new, old))
                && let Some(provisioned) = &old.provisioned
            {
                provisioned.close();
            }
        }
    }

    /// Drops all that are ready: a host that drains makes no more ahead.
    pub fn stop_provisioning(&self) {
        for revision in &self.deployed().revisions {
            if let Some(provisioned) = &revision.provisioned {
                provisioned.close();
            }
        }
    }
}
