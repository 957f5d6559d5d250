//! SQL databases of guests: each a file of its own, below the folder of its tenant.
//!
//! ```text
//!   DIR/TENANT/sql/APP/NAME.db
//! ```
//!
//! A connection belongs to one guest, and is closed with it. The statements are a stranger's: they
//! run on threads of their own, with limits on all that they take (`harden`, `memory`, `watch`).

mod allowed;
mod connection;
mod file;
mod functions;
mod harden;
pub(super) mod maintain;
pub(super) mod memory;
mod statement;
mod tenant;
#[cfg(test)]
mod tests;
mod threads;
mod watch;

use std::sync::Arc;

use lacewing_base::{
    Access,
    budget::{Budget, Share},
    fair::Weight,
};

pub(super) use self::{file::FOLDER, tenant::SqlTenant};
use self::{file::OpenFiles, threads::SqlThreads};
use super::tenant::EmbeddedTenant;
use crate::sql::{Connecting, SqlDatabase, StatementPayer, TenantSql};

/// Connections of all tenants at once. Each has two file descriptors.
const CONNECTIONS: u64 = 512;

/// The parts of a store for SQL that its tenants share.
pub(super) struct SharedSql {
    pub(super) threads: Arc<SqlThreads>,
    pub(super) files: OpenFiles,
    connections: Arc<Budget>,
}

impl SharedSql {
    pub(super) fn new(open_files: usize, threads: usize) -> SharedSql {
        SharedSql {
            threads: Arc::new(SqlThreads::new(threads)),
            files: OpenFiles::new(open_files),
            connections: Budget::new(CONNECTIONS),
        }
    }

    /// A tenant's share of the connections.
    pub(super) fn share(&self) -> Arc<Share> {
        self.connections.share(&Weight::new(1))
    }
}

impl TenantSql for EmbeddedTenant {
    fn connect(
        &self,
        database: Arc<SqlDatabase>,
        access: Access,
        payer: Arc<dyn StatementPayer>,
    ) -> Connecting {
        let (tenant, shared) = (self.sql.clone(), self.shared.clone());
        Box::pin(tenant.connect(shared, database, access, payer))
    }
}
