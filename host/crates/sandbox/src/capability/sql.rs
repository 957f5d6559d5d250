//! SQL databases that a function is granted, over connections that belong to its guest.
//!
//! A statement commits on its own, outside of the transaction of the invocation. So an invocation
//! that has executed one that may write does not run again.
//!
//! The interfaces are versions of the same calls of Spin's, one file each.

mod dialect;
mod spin_2;
mod spin_3;
mod spin_31;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use lacewing_base::SqlGrant;
use lacewing_store::sql::{
    SqlConnection, SqlError, SqlRows, SqlStatement, SqlValue, StatementPayer, TenantSql,
};
use tokio::sync::Mutex;
use wasmtime::{
    Result,
    component::{HasData, Linker, ResourceTable},
};

use super::{
    extension::{Capability, Opening, StoreData},
    grant::not_granted,
    interfaces::Versions,
    payer::Payer,
    stdio::Log,
};

/// The SQL databases of a tenant, and what a revision may do with them.
pub struct SqlSettings {
    /// The tenant's.
    pub databases: Arc<dyn TenantSql>,
    /// The databases that are granted.
    pub grants: Arc<[SqlGrant]>,
}

/// Connections of one invocation at once.
const CONNECTIONS: usize = 8;

/// The databases of one invocation.
pub(crate) struct Sql {
    databases: Option<Arc<dyn TenantSql>>,
    grants: Option<Arc<[SqlGrant]>>,
    statements: Arc<Statements>,
    /// Connections that are open.
    open: Arc<AtomicUsize>,
    is_over: bool,
    log: Log,
}

/// The statements of an invocation, which its sandbox pays for.
struct Statements {
    payer: Arc<dyn Payer>,
    /// Whether one may have written.
    has_written: AtomicBool,
}

impl StatementPayer for Statements {
    fn run(&self, work: &mut dyn FnMut()) {
        self.payer.charge_thread(work);
    }

    fn cpu_left(&self) -> Duration {
        self.payer.cpu_left()
    }

    fn writes(&self) {
        self.has_written.store(true, Relaxed);
    }
}

/// Why a call failed.
#[derive(Debug)]
enum Failure {
    /// The function is granted no database of this name.
    NotGranted,
    /// The database, or the disk, is full.
    Full,
    /// Anything else, in words for the function's developer.
    Other(String),
}

/// A connection that a guest has opened, behind a handle.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Clone)]
pub struct Connection(Arc<OpenConnection>);

struct OpenConnection {
    connection: Mutex<Box<dyn SqlConnection>>,
    last_insert_rowid: AtomicI64,
    changes: AtomicU64,
    log: Log,
    _place: Place,
}

/// The place of a connection among those of its invocation.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The facts with which a connection is opened, away from the store.
struct Connecting {
    databases: Arc<dyn TenantSql>,
    grant: SqlGrant,
    statements: Arc<Statements>,
    place: Place,
    log: Log,
}

impl Sql {
    /// Whether the guest has executed a statement that may write.
    pub(crate) fn has_written(&self) -> bool {
        self.statements.has_written.load(Relaxed)
    }

    /// Looks at the grant for a database.
    fn connecting(&self, name: &str) -> Result<Connecting, Failure> {
        if self.is_over {
            return Err(Failure::Other("the invocation is over".to_owned()));
        }
        let Some(databases) = self.databases.clone() else {
            return Err(self.not_granted(name));
        };
        let grants = self.grants.as_deref().unwrap_or_default();
        let Some(grant) = grants.iter().find(|grant| *grant.name == *name) else {
            return Err(self.not_granted(name));
        };
        let place = Place(self.open.clone());
        if self.open.fetch_add(1, Relaxed) >= CONNECTIONS {
            let text = format!("{CONNECTIONS} SQL connections of the invocation are open already");
            return Err(Failure::Other(text));
        }
        let (statements, grant, log) = (self.statements.clone(), grant.clone(), self.log.clone());
        Ok(Connecting { databases, grant, statements, place, log })
    }

    fn not_granted(&self, name: &str) -> Failure {
        let grants = self.grants.as_deref().unwrap_or_default();
        let granted = grants.iter().map(|grant| &*grant.name);
        self.log.now().note(&not_granted("SQL database", name, granted));
        Failure::NotGranted
    }
}

impl Connecting {
    async fn connect(self) -> Result<Connection, Failure> {
        let Connecting { databases, grant, statements, place, log } = self;
        let connection = databases
            .connect(grant.database, grant.access, statements)
            .await
            .map_err(|error| failure(&error, &log))?;
        Ok(Connection(Arc::new(OpenConnection {
            connection: Mutex::new(connection),
            last_insert_rowid: AtomicI64::new(0),
            changes: AtomicU64::new(0),
            log,
            _place: place,
        })))
    }
}

impl Connection {
    /// Executes a statement, after those of the connection that run.
    async fn execute(&self, text: String, parameters: Vec<SqlValue>) -> Result<SqlRows, Failure> {
        let open = &*self.0;
        let mut connection = open.connection.lock().await;
        let executed = connection.execute(SqlStatement { text, parameters }).await;
        open.last_insert_rowid.store(connection.last_insert_rowid(), Relaxed);
        open.changes.store(connection.changes(), Relaxed);
        executed.map_err(|error| failure(&error, &open.log))
    }

    /// The same, for a call during which nothing else of the guest runs: another statement of the
    /// connection could not end.
    async fn execute_alone(
        &self,
        text: String,
        parameters: Vec<SqlValue>,
    ) -> Result<SqlRows, Failure> {
        if self.0.connection.try_lock().is_err() {
            let text = "another statement of the connection runs: wait for its end";
            return Err(Failure::Other(text.to_owned()));
        }
        self.execute(text, parameters).await
    }

    fn last_insert_rowid(&self) -> i64 {
        self.0.last_insert_rowid.load(Relaxed)
    }

    fn changes(&self) -> u64 {
        self.0.changes.load(Relaxed)
    }
}

/// A failure in words for the function's developer. The log has those that the manifest causes.
fn failure(error: &SqlError, log: &Log) -> Failure {
    match error {
        SqlError::Refused(text) => {
            log.now().note(text);
            Failure::Other(text.clone())
        }
        SqlError::Full { .. } => {
            log.now().note(&error.to_string());
            Failure::Full
        }
        SqlError::Statement(_) | SqlError::Limit(_) | SqlError::Closed => {
            Failure::Other(error.to_string())
        }
        SqlError::Store(store) => Failure::Other(store.for_tenants()),
    }
}

impl Capability for Sql {
    const PACKAGES: &'static [Versions] =
        &[("fermyon:spin/sqlite", &["2.0"]), ("spin:sqlite", &["3.0", "3.1"])];

    /// A transaction that one invocation has begun is not to go on in another one. Of an instance
    /// that serves several, the handles stay with the guest.
    const PER_INVOCATION: bool = true;

    const SHOWS_PROGRESS: bool = true;

    fn why_not_during_init(_: &str) -> &'static str {
        "state belongs to invocations"
    }

    fn open(opening: Opening<'_>) -> Sql {
        let settings = opening.settings.sql.as_ref();
        let statements = Statements { payer: opening.payer, has_written: AtomicBool::new(false) };
        Sql {
            databases: settings.map(|settings| settings.databases.clone()),
            grants: settings.map(|settings| settings.grants.clone()),
            statements: Arc::new(statements),
            open: Arc::default(),
            is_over: opening.is_over,
            log: opening.log,
        }
    }

    fn link<T: StoreData>(linker: &mut Linker<T>, tasks: bool) -> Result<()> {
        spin_2::link(linker)?;
        spin_3::link(linker)?;
        match tasks {
            true => spin_31::link(linker),
            false => Ok(()),
        }
    }
}

/// The databases of an invocation, and the handles of its guest.
struct Databases<'a> {
    sql: &'a mut Sql,
    table: &'a mut ResourceTable,
}

/// Says that a store has [`Databases`].
struct HasDatabases;

impl HasData for HasDatabases {
    type Data<'a> = Databases<'a>;
}

fn databases<T: StoreData>(data: &mut T) -> Databases<'_> {
    let (sql, table) = data.capability::<Sql>();
    Databases { sql, table }
}
