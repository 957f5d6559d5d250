//! SQL databases on a real disk, and statements of strangers.

mod hostile;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use lacewing_base::Access;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::super::{EmbeddedOptions, EmbeddedStore, Stopper};
use crate::{
    StoreError,
    kv::StoreUse,
    sql::{
        SqlConnection, SqlDatabase, SqlError, SqlRows, SqlStatement, SqlValue, StatementPayer,
        TenantSql,
    },
    testing::name,
};

const MIB: u64 = 1 << 20;

/// An account that pays for all, and counts.
#[derive(Default)]
struct Payer {
    statements: AtomicU64,
    writes: AtomicU64,
    cpu_left: Option<Duration>,
}

impl StatementPayer for Payer {
    fn run(&self, work: &mut dyn FnMut()) {
        self.statements.fetch_add(1, Relaxed);
        work();
    }

    fn cpu_left(&self) -> Duration {
        self.cpu_left.unwrap_or(Duration::from_secs(60))
    }

    fn writes(&self) {
        self.writes.fetch_add(1, Relaxed);
    }
}

/// A store with the tenant `acme`, and a runtime for its guests.
struct Place {
    runtime: Runtime,
    dir: TempDir,
    store: EmbeddedStore,
    acme: Arc<dyn TenantSql>,
}

fn database(id: &str) -> SqlDatabase {
    SqlDatabase {
        id: id.into(),
        max_bytes: SqlDatabase::MAX_BYTES,
        max_statement: Duration::from_secs(30),
        max_result_bytes: SqlDatabase::MAX_RESULT_BYTES,
        max_heap_bytes: SqlDatabase::MAX_HEAP_BYTES,
    }
}

impl Place {
    fn new() -> Place {
        Place::of(TempDir::new().unwrap(), u64::MAX)
    }

    fn of(dir: TempDir, max_bytes: u64) -> Place {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_time().build().unwrap();
        let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
        let acme = store.sql(&name("acme"), max_bytes);
        Place { runtime, dir, store, acme }
    }

    fn open(
        &self,
        database: &SqlDatabase,
        access: Access,
    ) -> Result<Box<dyn SqlConnection>, SqlError> {
        self.open_for(database, access, Arc::new(Payer::default()))
    }

    fn open_for(
        &self,
        database: &SqlDatabase,
        access: Access,
        payer: Arc<Payer>,
    ) -> Result<Box<dyn SqlConnection>, SqlError> {
        self.runtime.block_on(self.acme.connect(Arc::new(database.clone()), access, payer))
    }

    /// A connection that writes to the database `shop/default`.
    fn writer(&self) -> Box<dyn SqlConnection> {
        self.open(&database("shop/default"), Access::ReadWrite).unwrap()
    }

    fn try_run(
        &self,
        connection: &mut Box<dyn SqlConnection>,
        text: &str,
        parameters: Vec<SqlValue>,
    ) -> Result<SqlRows, SqlError> {
        let statement = SqlStatement { text: text.to_owned(), parameters };
        self.runtime.block_on(connection.execute(statement))
    }

    fn run(&self, connection: &mut Box<dyn SqlConnection>, text: &str) -> Vec<Vec<SqlValue>> {
        self.try_run(connection, text, Vec::new()).unwrap_or_else(|e| panic!("{text}: {e}")).rows
    }

    fn error(&self, connection: &mut Box<dyn SqlConnection>, text: &str) -> SqlError {
        match self.try_run(connection, text, Vec::new()) {
            Ok(rows) => panic!("{text} gave {} rows", rows.rows.len()),
            Err(error) => error,
        }
    }
}

fn text(text: &str) -> SqlValue {
    SqlValue::Text(text.to_owned())
}

#[test]
fn a_statement_is_there_after_the_store_was_opened_again() {
    let place = Place::new();
    let mut writer = place.writer();
    place.run(&mut writer, "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, rest ANY)");
    let values = [
        text("Ada"),
        SqlValue::Null,
        SqlValue::Integer(i64::MIN),
        SqlValue::Real(0.1),
        SqlValue::Blob(vec![0, 1, 255]),
        text("ü\0x"),
    ];
    for value in &values {
        let sql = "INSERT INTO users (name, rest) VALUES ('a', ?1)";
        place.try_run(&mut writer, sql, vec![value.clone()]).unwrap();
    }
    assert_eq!((writer.last_insert_rowid(), writer.changes()), (6, 1));
    place.run(&mut writer, "UPDATE users SET name = 'b'");
    assert_eq!((writer.last_insert_rowid(), writer.changes()), (6, 6));
    drop(writer);
    let Place { dir, store, acme, runtime } = place;
    drop((store, acme, runtime));
    let place = Place::of(dir, u64::MAX);
    let found = place.try_run(&mut place.writer(), "SELECT name, rest FROM users", Vec::new());
    let found = found.unwrap();
    assert_eq!(found.columns, ["name", "rest"]);
    let expected: Vec<_> = values.iter().map(|value| vec![text("b"), value.clone()]).collect();
    assert_eq!(found.rows, expected);
    assert!(place.dir.path().join("acme/sql/shop/default.db").is_file());
}

#[test]
fn tenants_and_databases_are_apart() {
    let place = Place::new();
    let mut writer = place.writer();
    place.run(&mut writer, "CREATE TABLE users (id)");
    let mut other = place.open(&database("shop/other"), Access::ReadWrite).unwrap();
    let no_table = SqlError::Statement("no such table: users".to_owned());
    assert_eq!(place.error(&mut other, "SELECT * FROM users"), no_table);
    let umbra = place.store.sql(&name("umbra"), u64::MAX);
    let database = Arc::new(database("shop/default"));
    let connecting = umbra.connect(database, Access::ReadWrite, Arc::new(Payer::default()));
    let mut other = place.runtime.block_on(connecting).unwrap();
    assert_eq!(place.error(&mut other, "SELECT * FROM users"), no_table);
}

#[test]
fn a_grant_to_read_reads_only() {
    let place = Place::new();
    let read = || place.open(&database("shop/default"), Access::Read).unwrap();
    // Also where no function has written yet.
    assert_eq!(place.run(&mut read(), "SELECT 1"), [[SqlValue::Integer(1)]]);
    let mut writer = place.writer();
    place.run(&mut writer, "CREATE TABLE users (name UNIQUE)");
    place.run(&mut writer, "INSERT INTO users VALUES ('Ada')");
    let payer = Arc::new(Payer::default());
    let mut reader =
        place.open_for(&database("shop/default"), Access::Read, payer.clone()).unwrap();
    assert_eq!(place.run(&mut reader, "SELECT name FROM users"), [[text("Ada")]]);
    for sql in [
        "INSERT INTO users VALUES ('Bea')",
        "UPDATE users SET name = ''",
        "DELETE FROM users",
        "CREATE TABLE more (id)",
        "DROP TABLE users",
        "ALTER TABLE users ADD COLUMN more",
        "REINDEX",
        "PRAGMA user_version = 7",
        "BEGIN IMMEDIATE",
        "BEGIN EXCLUSIVE",
        "WITH one AS (SELECT 1) DELETE FROM users RETURNING name",
    ] {
        let sentence = "the grant for the database `shop/default` is `read`, and this statement needs `read-write`";
        assert_eq!(place.error(&mut reader, sql), SqlError::Refused(sentence.to_owned()), "{sql}");
    }
    // A transaction that reads is one that reads.
    for sql in ["BEGIN", "SELECT * FROM users", "COMMIT", "PRAGMA user_version"] {
        place.run(&mut reader, sql);
    }
    assert_eq!(payer.writes.load(Relaxed), 0);
    place.run(&mut writer, "INSERT INTO users VALUES ('Bea')");
    assert_eq!(place.run(&mut reader, "SELECT count(*) FROM users"), [[SqlValue::Integer(2)]]);
}

#[test]
fn a_statement_that_may_write_is_noted() {
    let place = Place::new();
    let payer = Arc::new(Payer::default());
    let mut writer =
        place.open_for(&database("shop/default"), Access::ReadWrite, payer.clone()).unwrap();
    place.run(&mut writer, "SELECT 1");
    assert_eq!(payer.writes.load(Relaxed), 0);
    place.error(&mut writer, "DELETE FROM none");
    assert_eq!(payer.writes.load(Relaxed), 0);
    place.run(&mut writer, "CREATE TABLE some (id)");
    assert_eq!(payer.writes.load(Relaxed), 1);
}

#[test]
fn a_transaction_belongs_to_its_connection_and_ends_with_it() {
    let place = Place::new();
    let mut one = place.writer();
    place.run(&mut one, "CREATE TABLE users (name)");
    let mut other = place.writer();
    place.run(&mut one, "BEGIN");
    place.run(&mut one, "INSERT INTO users VALUES ('Ada')");
    assert_eq!(place.run(&mut one, "SELECT count(*) FROM users"), [[SqlValue::Integer(1)]]);
    assert_eq!(place.run(&mut other, "SELECT count(*) FROM users"), [[SqlValue::Integer(0)]]);
    // The other one waits until the first is gone.
    let insert =
        SqlStatement { text: "INSERT INTO users VALUES ('Bea')".into(), ..Default::default() };
    let waiting = place.runtime.spawn(async move {
        let inserted = other.execute(insert).await;
        (other, inserted)
    });
    drop(one);
    let (mut other, inserted) = place.runtime.block_on(waiting).unwrap();
    inserted.unwrap();
    assert_eq!(place.run(&mut other, "SELECT name FROM users"), [[text("Bea")]]);
}

#[test]
fn a_transaction_that_does_not_end_is_waited_for_so_long() {
    let place = Place::new();
    let (mut one, mut other) = (place.writer(), place.writer());
    place.run(&mut one, "BEGIN IMMEDIATE");
    let error = place.error(&mut other, "CREATE TABLE users (name)");
    let sentence = "other connections have been writing to the database for 5 s: one may have begun a transaction that it does not end";
    assert_eq!(error, SqlError::Limit(sentence.to_owned()));
    place.run(&mut one, "COMMIT");
    place.run(&mut other, "CREATE TABLE users (name)");
}

#[test]
fn a_transaction_that_read_what_another_has_changed_begins_anew() {
    let place = Place::new();
    let (mut one, mut other) = (place.writer(), place.writer());
    place.run(&mut one, "CREATE TABLE users (name)");
    place.run(&mut one, "BEGIN");
    place.run(&mut one, "SELECT * FROM users");
    place.run(&mut other, "INSERT INTO users VALUES ('Ada')");
    let sentence = "another connection has written since this transaction began to read: roll back and begin anew, with BEGIN IMMEDIATE";
    let error = place.error(&mut one, "INSERT INTO users VALUES ('Bea')");
    assert_eq!(error, SqlError::Statement(sentence.to_owned()));
    place.run(&mut one, "ROLLBACK");
    place.run(&mut one, "INSERT INTO users VALUES ('Bea')");
}

#[test]
fn a_statement_that_is_given_up_is_rolled_back() {
    let place = Place::new();
    let mut one = place.writer();
    place.run(&mut one, "CREATE TABLE numbers (n)");
    place.run(&mut one, "BEGIN");
    place.run(&mut one, "INSERT INTO numbers VALUES (1)");
    let endless =
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
    let statement = SqlStatement { text: endless.into(), ..Default::default() };
    place.runtime.block_on(async {
        let running = one.execute(statement.clone());
        tokio::time::timeout(Duration::from_millis(10), running).await.unwrap_err();
    });
    assert_eq!(place.error(&mut one, "SELECT 1"), SqlError::Closed);
    // It waits for the turn that the statement gives back.
    let mut other = place.writer();
    place.run(&mut other, "INSERT INTO numbers VALUES (2)");
    assert_eq!(place.run(&mut other, "SELECT n FROM numbers"), [[SqlValue::Integer(2)]]);
}

#[test]
fn wrong_statements_say_what_is_wrong() {
    let place = Place::new();
    let mut writer = place.writer();
    place.run(&mut writer, "CREATE TABLE users (name UNIQUE NOT NULL)");
    place.run(&mut writer, "INSERT INTO users VALUES ('Ada')");
    for (sql, sentence) in [
        ("SELEC 1", "near \"SELEC\": syntax error (at byte 0)"),
        ("INSERT INTO users VALUES ('Ada')", "UNIQUE constraint failed: users.name"),
        ("SELECT 1; SELECT 2", "a second statement follows the first: execute one at a time"),
        ("SELECT ?1, ?2", "the statement has 2 parameters, and 0 values were given"),
        (
            "SELECT CAST(x'ff' AS TEXT) AS broken",
            "column \"broken\" has a text that is not UTF-8: cast it to a blob",
        ),
    ] {
        assert_eq!(place.error(&mut writer, sql), SqlError::Statement(sentence.to_owned()));
    }
    for nothing in ["", " ", "-- a comment", ";", "SELECT 1; -- a comment"] {
        assert!(place.try_run(&mut writer, nothing, Vec::new()).is_ok(), "{nothing:?}");
    }
    let error = place.try_run(&mut writer, "SELECT 1", vec![SqlValue::Null]).unwrap_err();
    let sentence = "the statement has 0 parameters, and 1 value was given";
    assert_eq!(error, SqlError::Statement(sentence.to_owned()));
}

#[test]
fn a_full_database_says_so_and_can_be_emptied() {
    let place = Place::new();
    let small = SqlDatabase { max_bytes: MIB, ..database("shop/small") };
    let mut writer = place.open(&small, Access::ReadWrite).unwrap();
    place.run(&mut writer, "CREATE TABLE files (content)");
    let fill = "INSERT INTO files VALUES (randomblob(100000))";
    let error = loop {
        if let Err(error) = place.try_run(&mut writer, fill, Vec::new()) {
            break error;
        }
    };
    assert!(matches!(&error, SqlError::Full { limit_mib: 1, .. }), "{error}");
    place.run(&mut writer, "DELETE FROM files");
    place.run(&mut writer, fill);
}

#[test]
fn the_databases_of_a_tenant_have_a_bound_together() {
    let place = Place::of(TempDir::new().unwrap(), MIB);
    let fill = "INSERT INTO files VALUES (randomblob(100000))";
    let [mut one, mut other] = ["shop/one", "shop/other"].map(|id| {
        let mut writer = place.open(&database(id), Access::ReadWrite).unwrap();
        place.run(&mut writer, "CREATE TABLE files (content)");
        writer
    });
    (0..6).for_each(|_| drop(place.run(&mut one, fill)));
    let error = loop {
        if let Err(error) = place.try_run(&mut other, fill, Vec::new()) {
            break error;
        }
    };
    assert_eq!(
        error.to_string(),
        "the database `shop/other` is full: it may have 1024 MiB, and all databases of the tenant 1 MiB"
    );
    // Another start knows the sizes.
    let Place { dir, store, acme, runtime } = place;
    drop((one, other, store, acme, runtime));
    let place = Place::of(dir, MIB);
    let mut third = place.open(&database("shop/third"), Access::ReadWrite).unwrap();
    assert!(matches!(
        place.try_run(&mut third, "CREATE TABLE files (content)", Vec::new()).and_then(|_| {
            (0..3).try_for_each(|_| place.try_run(&mut third, fill, Vec::new()).map(drop))
        }),
        Err(SqlError::Full { .. })
    ));
}

#[test]
fn files_that_are_not_in_use_are_closed() {
    let dir = TempDir::new().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let options = EmbeddedOptions { open_databases: 2, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let acme = store.sql(&name("acme"), u64::MAX);
    let place = Place { runtime, dir, store, acme };
    let mut held = place.writer();
    place.run(&mut held, "CREATE TABLE a (b)");
    place.run(&mut held, "BEGIN IMMEDIATE");
    for number in 0..5 {
        let other = database(&format!("shop/n{number}"));
        let mut other = place.open(&other, Access::ReadWrite).unwrap();
        place.run(&mut other, "CREATE TABLE a (b)");
    }
    // The last ones may be in use until their connections are closed.
    assert!(place.store.open_sql_databases() <= 4, "{}", place.store.open_sql_databases());
    place.run(&mut held, "INSERT INTO a VALUES (1)");
    place.run(&mut held, "COMMIT");
}

#[test]
fn a_check_and_a_backup_have_the_sql_databases_of_one_moment() {
    let place = Place::new();
    let mut writer = place.writer();
    place.run(&mut writer, "CREATE TABLE users (name)");
    place.run(&mut writer, "INSERT INTO users VALUES ('Ada')");
    // What is not committed is not copied, and holds nothing up.
    place.run(&mut writer, "BEGIN");
    place.run(&mut writer, "INSERT INTO users VALUES ('Bea')");
    assert_eq!(place.store.tenants().unwrap(), [name("acme")]);
    let stopper = Stopper::default();
    let inspection = place.store.inspect(&name("acme"), &stopper).unwrap();
    let used = StoreUse { id: "sql:shop/default".to_owned(), entries: 1, bytes: 8192 };
    assert_eq!((inspection.stores, inspection.faults), (vec![used], Vec::new()));
    let copy = TempDir::new().unwrap();
    place.store.back_up(&[name("acme")], copy.path(), &stopper).unwrap();
    let copied = Place::of(copy, u64::MAX);
    let mut reader = copied.open(&database("shop/default"), Access::Read).unwrap();
    assert_eq!(copied.run(&mut reader, "SELECT name FROM users"), [[text("Ada")]]);
    stopper.stop();
    assert!(place.store.inspect(&name("acme"), &stopper).is_err());
    let other = TempDir::new().unwrap();
    assert!(place.store.back_up(&[name("acme")], other.path(), &stopper).is_err());
}

#[test]
fn a_damaged_file_is_the_fault_of_no_other() {
    let place = Place::new();
    let mut writer = place.writer();
    place.run(&mut writer, "CREATE TABLE users (name)");
    for _ in 0..20 {
        place.run(&mut writer, "INSERT INTO users VALUES (randomblob(3000))");
    }
    let mut other = place.open(&database("shop/other"), Access::ReadWrite).unwrap();
    place.run(&mut other, "CREATE TABLE users (name)");
    drop((writer, other));
    let Place { dir, store, acme, runtime } = place;
    drop((store, acme, runtime));
    let file = dir.path().join("acme/sql/shop/default.db");
    let mut bytes = fs::read(&file).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page.fill(0xa5);
    }
    fs::write(&file, &bytes).unwrap();
    let place = Place::of(dir, u64::MAX);
    let faults = place.store.inspect(&name("acme"), &Stopper::default()).unwrap().faults;
    assert!(faults.iter().all(|fault| fault.contains("shop/default")), "{faults:?}");
    assert!(!faults.is_empty());
    let error = place.error(&mut place.writer(), "SELECT * FROM users");
    assert!(matches!(error, SqlError::Store(StoreError::Damaged(_))), "{error}");
    let mut other = place.open(&database("shop/other"), Access::ReadWrite).unwrap();
    place.run(&mut other, "INSERT INTO users VALUES (1)");
    // No database at all.
    fs::write(place.dir.path().join("acme/sql/shop/none.db"), [7; 5000]).unwrap();
    let error = place.open(&database("shop/none"), Access::ReadWrite).map(drop).unwrap_err();
    assert!(matches!(error, SqlError::Store(StoreError::Damaged(_))), "{error}");
}
