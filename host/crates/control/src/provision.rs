//! The start and end of provisioned sandboxes and of reused instances, by revision.

use std::sync::Arc;

use lacewing_runtime::function::Revision;
use lacewing_telemetry::GuestLog;

use super::{Deployed, Host};

impl Host {
    /// Those of what is deployed now are made; those of what was deployed `before` and is no more
    /// are dropped.
    pub(super) fn provision(&self, before: &Deployed) {
        let now = self.deployed();
        for revision in now.revisions.iter().filter(|revision| revision.provisioned.is_some()) {
            let log = self.deploy_log(&revision.origin, &revision.spec.limits);
            tokio::spawn(start(revision.clone(), log));
        }
        let kept = |one: &Arc<Revision>| one.provisioned.is_some() || one.reused.is_some();
        for old in before.revisions.iter().filter(|old| kept(old)) {
            if !now.revisions.iter().any(|new| Arc::ptr_eq(new, old)) {
                close(old);
            }
        }
    }

    /// Drops all that are ready or idle: a host that drains makes no more ahead.
    pub fn stop_provisioning(&self) {
        for revision in &self.deployed().revisions {
            close(revision);
        }
    }
}

fn close(revision: &Revision) {
    if let Some(provisioned) = &revision.provisioned {
        provisioned.close();
    }
    if let Some(reused) = &revision.reused {
        reused.close();
    }
}

/// Has them made of the revision's program, which they keep as long as they are made.
async fn start(revision: Arc<Revision>, log: Arc<GuestLog>) {
    let Some(provisioned) = &revision.provisioned else { return };
    match revision.program().await {
        Ok(program) => provisioned.start(program, log),
        Err(error) => tracing::warn!(
            function = %revision.origin,
            %error,
            "no sandbox of it is provisioned: its program could not be loaded"
        ),
    }
}
