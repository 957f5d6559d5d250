//! The seam between guests that use SQL and the place where their databases are kept.
//!
//! ```text
//!   TenantSql::connect ─> SqlConnection ─> execute: one statement, on a thread of the store
//!                             │
//!                             └── dropped: what it has not committed is rolled back
//! ```
//!
//! A statement commits on its own, or in a transaction that the guest begins. Neither has a part
//! in the [`Transaction`](crate::Transaction) of an invocation.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use lacewing_base::Access;
pub use lacewing_base::SqlDatabase;

use crate::StoreError;

/// The SQL databases of one tenant.
pub trait TenantSql: Send + Sync {
    /// Opens a connection to a database, which is made if it is not there. With [`Access::Read`]
    /// it changes nothing.
    fn connect(
        &self,
        database: Arc<SqlDatabase>,
        access: Access,
        payer: Arc<dyn StatementPayer>,
    ) -> Connecting;
}

/// The end of an opening.
pub type Connecting = BoxFuture<'static, Result<Box<dyn SqlConnection>, SqlError>>;

/// A connection to one database. Dropping it rolls back what is not committed.
pub trait SqlConnection: Send {
    /// Executes one statement. Dropping the future interrupts the statement, and the connection
    /// is of no more use then.
    fn execute(&mut self, statement: SqlStatement) -> BoxFuture<'_, Result<SqlRows, SqlError>>;

    /// The row id of the last row that was inserted; 0 if there was none.
    fn last_insert_rowid(&self) -> i64;

    /// The rows that the last statement changed that changes rows.
    fn changes(&self) -> u64;
}

/// The account that pays for statements.
pub trait StatementPayer: Send + Sync {
    /// Runs work on this thread, and charges its CPU time and heap.
    fn run(&self, work: &mut dyn FnMut());

    /// The CPU time that is left. At zero nothing is to run any more.
    fn cpu_left(&self) -> Duration;

    /// Notes that a statement which may change the database is about to run.
    fn writes(&self);
}

/// A statement, with the values of its parameters in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SqlStatement {
    /// The text: one statement.
    pub text: String,
    /// The values.
    pub parameters: Vec<SqlValue>,
}

/// A value of a column or a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    /// NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl SqlValue {
    /// The bytes that a result is charged with.
    pub(crate) fn bytes(&self) -> u64 {
        let content = match self {
            SqlValue::Null | SqlValue::Integer(_) | SqlValue::Real(_) => 0,
            SqlValue::Text(text) => text.len(),
            SqlValue::Blob(blob) => blob.len(),
        };
        (size_of::<SqlValue>() + content) as u64
    }
}

/// The rows that a statement returns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SqlRows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The values of each row, in the order of the columns.
    pub rows: Vec<Vec<SqlValue>>,
}

/// Why a statement, or an opening, failed. Its text is for the function's developer, unless it is
/// [`SqlError::Store`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The database refuses the statement: its syntax, a constraint, a name that is not there.
    #[error("{0}")]
    Statement(String),
    /// The host does not let guests do this.
    #[error("{0}")]
    Refused(String),
    /// A limit on time, memory or the result.
    #[error("{0}")]
    Limit(String),
    /// The database has its bound of bytes, or the disk is full.
    #[error(
        "the database `{id}` is full: it may have {limit_mib} MiB, and all databases of the tenant {tenant_mib} MiB"
    )]
    Full {
        /// The database.
        id: Arc<str>,
        /// Its own bound.
        limit_mib: u64,
        /// The tenant's bound.
        tenant_mib: u64,
    },
    /// An earlier statement was given up, and the connection with it.
    #[error("the connection is closed: an earlier statement on it was given up")]
    Closed,
    /// The disk or the database.
    #[error(transparent)]
    Store(#[from] StoreError),
}
