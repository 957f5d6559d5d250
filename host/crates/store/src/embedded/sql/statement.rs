//! One statement on a connection of a guest, on a thread of the store.

use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use lacewing_base::Access;
use rusqlite::{
    Batch, Connection, ErrorCode, Row, Statement,
    fallible_iterator::FallibleIterator,
    ffi,
    types::{ToSql, ToSqlOutput, ValueRef},
};
use tokio::sync::OwnedMutexGuard;

use super::{
    super::database::failure,
    file::Database,
    harden::{SCHEMA_OBJECTS, harden, needs_write},
    memory::{self, HeapUse},
    tenant::{ConnectionPlace, SqlTenant},
    watch::{Ended, Watch},
};
use crate::{
    StoreError,
    sql::{SqlDatabase, SqlError, SqlRows, SqlStatement, SqlValue, StatementPayer},
};

/// The parts of a connection. They are dropped on a thread of the store.
pub(super) struct Parts {
    /// Dropped before the turn: what is not committed is rolled back first.
    connection: Connection,
    pub(super) turn: Option<OwnedMutexGuard<()>>,
    heap: HeapUse,
    /// The pages that the connection lets the file have.
    max_pages: Cell<u64>,
    access: Access,
    settings: Arc<SqlDatabase>,
    pub(super) watch: Arc<Watch>,
    pub(super) database: Arc<Database>,
    payer: Arc<dyn StatementPayer>,
    tenant: Arc<SqlTenant>,
    _place: ConnectionPlace,
}

/// The end of a step of a statement.
pub(super) enum Step {
    /// The statement writes, and the connection has to wait for its turn first.
    NeedsTurn,
    /// The statement is done, or failed.
    Done(Result<SqlRows, SqlError>),
}

/// A statement that did not succeed.
enum Failed {
    /// As SQLite has it.
    Sqlite(rusqlite::Error),
    /// As the store has it.
    Store(SqlError),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Failed {
        Failed::Sqlite(error)
    }
}

impl From<SqlError> for Failed {
    fn from(error: SqlError) -> Failed {
        Failed::Store(error)
    }
}

impl Parts {
    /// Opens a connection, and charges its heap.
    pub(super) fn open(
        database: Arc<Database>,
        settings: Arc<SqlDatabase>,
        access: Access,
        payer: Arc<dyn StatementPayer>,
        tenant: Arc<SqlTenant>,
        place: ConnectionPlace,
    ) -> Result<Parts, SqlError> {
        if !memory::install() {
            let text = "SQLite was in use before the store was opened, and its heap has no bound";
            return Err(StoreError::Failed(text.into()).into());
        }
        let watch = Arc::new(Watch::new());
        let mut heap = HeapUse::default();
        let mut opened = None;
        payer.run(&mut || {
            opened = Some(memory::bounded(&mut heap, settings.max_heap_bytes, || {
                let mut connection = database.connect(access)?;
                harden(&mut connection, access, &settings.id, &watch)
                    .map_err(|error| failure(&error))?;
                Ok(connection)
            }));
        });
        let connection = opened.unwrap_or(Err(SqlError::Closed))?;
        Ok(Parts {
            connection,
            turn: None,
            heap,
            max_pages: Cell::new(0),
            access,
            settings,
            watch,
            database,
            payer,
            tenant,
            _place: place,
        })
    }

    /// A handle that interrupts a statement from any thread.
    pub(super) fn interrupt_handle(&self) -> rusqlite::InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// The row id of the last insert, and the rows that were changed last.
    pub(super) fn counts(&self) -> (i64, u64) {
        (self.connection.last_insert_rowid(), self.connection.changes())
    }

    /// Executes a statement, as far as its limits allow.
    pub(super) fn run(&mut self, statement: &SqlStatement) -> Step {
        let cpu_left = self.payer.cpu_left();
        if cpu_left.is_zero() {
            return Step::Done(Err(SqlError::Limit(over_cpu())));
        }
        let (payer, mut heap) = (self.payer.clone(), self.heap);
        let mut executed = None;
        payer.run(&mut || {
            self.watch.begin(self.settings.max_statement, cpu_left);
            executed = Some(memory::bounded(&mut heap, self.settings.max_heap_bytes, || {
                let executed = self.execute(statement);
                self.note_size();
                executed
            }));
        });
        self.heap = heap;
        if self.connection.is_autocommit() {
            self.turn = None;
        }
        match executed {
            Some(Ok(Some(rows))) => Step::Done(Ok(rows)),
            Some(Ok(None)) => Step::NeedsTurn,
            Some(Err(failed)) => Step::Done(Err(self.error(failed))),
            None => Step::Done(Err(SqlError::Closed)),
        }
    }

    /// `None`: the statement needs the turn of writing.
    fn execute(&self, statement: &SqlStatement) -> Result<Option<SqlRows>, Failed> {
        let mut batch = Batch::new(&self.connection, &statement.text);
        let Some(mut prepared) = batch.next()? else { return Ok(Some(SqlRows::default())) };
        if batch.next()?.is_some() {
            let text = "a second statement follows the first: execute one at a time";
            return Err(SqlError::Statement(text.to_owned()).into());
        }
        check_count(&prepared, &statement.parameters)?;
        if !prepared.readonly() {
            if let Some(sentence) = needs_write(self.access, &self.settings.id) {
                return Err(SqlError::Refused(sentence).into());
            }
            if self.turn.is_none() {
                return Ok(None);
            }
            self.prepare_write()?;
            self.payer.writes();
        }
        for (index, value) in statement.parameters.iter().enumerate() {
            prepared.raw_bind_parameter(index + 1, value)?;
        }
        self.rows(&mut prepared).map(Some)
    }

    /// Sees to the bounds of a database before a statement writes.
    fn prepare_write(&self) -> Result<(), Failed> {
        if self.connection.is_autocommit() && !self.database.bound_log() {
            let text = "transactions that read hold up the log of the database: end them";
            return Err(SqlError::Limit(text.to_owned()).into());
        }
        if self.watch.creates() {
            let count = "SELECT count(*) FROM sqlite_schema";
            let objects: i32 =
                self.watch.as_host(|| self.connection.query_row(count, [], |row| row.get(0)))?;
            if objects >= SCHEMA_OBJECTS {
                let text = format!(
                    "the database has {objects} tables, indexes, triggers and views, and may have {SCHEMA_OBJECTS}"
                );
                return Err(SqlError::Limit(text).into());
            }
        }
        let pages = self.tenant.room(&self.settings) / self.database.page_bytes;
        if pages != self.max_pages.get() {
            let most = i64::try_from(pages.max(1)).unwrap_or(i64::MAX);
            let set = || self.connection.pragma_update(None, "max_page_count", most);
            self.watch.as_host(set)?;
            self.max_pages.set(pages);
        }
        Ok(())
    }

    fn rows(&self, prepared: &mut Statement<'_>) -> Result<SqlRows, Failed> {
        let columns: Vec<String> = prepared.column_names().map(str::to_owned).collect();
        let mut result = SqlRows { columns, rows: Vec::new() };
        let mut left = self.settings.max_result_bytes;
        let mut rows = prepared.raw_query();
        while let Some(row) = rows.next()? {
            let read = read_row(row, &result.columns, &mut left);
            match read {
                Ok(values) => result.rows.push(values),
                // The next step then fails, and takes back what the statement has written.
                Err(failed) => {
                    self.connection.get_interrupt_handle().interrupt();
                    let _interrupted = rows.next();
                    return Err(failed);
                }
            }
        }
        Ok(result)
    }

    /// Notes the size of the file, while the connection has the turn of writing.
    fn note_size(&self) {
        if self.turn.is_none() {
            return;
        }
        let pages = self.watch.as_host(|| {
            self.connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))
        });
        if let Ok(pages) = pages {
            let bytes = pages.unsigned_abs().saturating_mul(self.database.page_bytes);
            self.database.bytes.store(bytes, Relaxed);
            self.tenant.note_size(&self.settings.id, bytes);
        }
    }

    fn error(&self, failed: Failed) -> SqlError {
        let error = match failed {
            Failed::Store(error) => return error,
            Failed::Sqlite(error) => error,
        };
        if let Some(sentence) = self.watch.take_refusal() {
            return SqlError::Refused(sentence);
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => SqlError::Limit(self.interrupted()),
            Some(ErrorCode::OutOfMemory) => SqlError::Limit(format!(
                "the statement needs more memory than a connection to the database `{}` may have ({} MiB, `max_heap_mib`)",
                self.settings.id,
                self.settings.max_heap_bytes >> 20
            )),
            Some(ErrorCode::DiskFull) => SqlError::Full {
                id: self.settings.id.clone(),
                limit_mib: self.settings.max_bytes >> 20,
                tenant_mib: self.tenant.max_bytes() >> 20,
            },
            Some(ErrorCode::DatabaseBusy) if is_of_snapshot(&error) => SqlError::Statement(
                "another connection has written since this transaction began to read: roll back and begin anew, with BEGIN IMMEDIATE"
                    .to_owned(),
            ),
            Some(
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::DatabaseBusy
                | ErrorCode::InternalMalfunction,
            ) => SqlError::Store(StoreError::clone(&failure(&error))),
            _ => SqlError::Statement(words(&error)),
        }
    }

    fn interrupted(&self) -> String {
        match self.watch.ended() {
            Some(Ended::Cpu) => over_cpu(),
            Some(Ended::Time) => format!(
                "the statement ran for longer than {} ms (`max_statement_ms`)",
                self.settings.max_statement.as_millis()
            ),
            Some(Ended::Abandoned) | None => "the statement was interrupted".to_owned(),
        }
    }
}

fn over_cpu() -> String {
    "the CPU budget of the invocation is spent (`cpu_ms`)".to_owned()
}

fn check_count(prepared: &Statement<'_>, values: &[SqlValue]) -> Result<(), SqlError> {
    let (has, given) = (prepared.parameter_count(), values.len());
    if has == given {
        return Ok(());
    }
    let parameters = if has == 1 { "1 parameter" } else { &*format!("{has} parameters") };
    let values = if given == 1 { "1 value was" } else { &*format!("{given} values were") };
    Err(SqlError::Statement(format!("the statement has {parameters}, and {values} given")))
}

/// The values of a row. `left` is the room for the result.
fn read_row(row: &Row<'_>, columns: &[String], left: &mut u64) -> Result<Vec<SqlValue>, Failed> {
    let mut values = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        // SQLite makes the bytes of `zeroblob` here. What the result may have, it may have.
        let value = memory::over_the_bound(|| row.get_ref(index))?;
        let value = match value {
            ValueRef::Null => SqlValue::Null,
            ValueRef::Integer(number) => SqlValue::Integer(number),
            ValueRef::Real(number) => SqlValue::Real(number),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => SqlValue::Text(text.to_owned()),
                Err(_) => {
                    let text = format!(
                        "column {column:?} has a text that is not UTF-8: cast it to a blob"
                    );
                    return Err(SqlError::Statement(text).into());
                }
            },
            ValueRef::Blob(blob) => SqlValue::Blob(blob.to_vec()),
        };
        let Some(rest) = left.checked_sub(value.bytes()) else {
            let text = "the rows of the statement have more bytes than a result may have (`max_result_kib`): select less, or use LIMIT";
            return Err(SqlError::Limit(text.to_owned()).into());
        };
        *left = rest;
        values.push(value);
    }
    Ok(values)
}

fn is_of_snapshot(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_BUSY_SNAPSHOT)
}

/// What SQLite says of a statement.
fn words(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(words)) => words.clone(),
        rusqlite::Error::SqlInputError { msg, offset, .. } if *offset >= 0 => {
            format!("{msg} (at byte {offset})")
        }
        other => other.to_string(),
    }
}

impl ToSql for SqlValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            SqlValue::Null => ValueRef::Null,
            SqlValue::Integer(number) => ValueRef::Integer(*number),
            SqlValue::Real(number) => ValueRef::Real(*number),
            SqlValue::Text(text) => ValueRef::Text(text.as_bytes()),
            SqlValue::Blob(blob) => ValueRef::Blob(blob),
        }))
    }
}
