//! The checks and copies of SQL databases that an operator asks for, while guests use them too.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, backup::Backup};

use super::{
    super::{
        Stopper,
        database::{failure, system},
        directory,
        maintain::Inspection,
    },
    file::{connect_to_read, files, path},
    functions, harden,
    memory::{self, HeapUse},
};
use crate::{StoreError, kv::StoreUse};

/// Bytes of the heap of a check.
const HEAP_BYTES: u64 = 256 << 20;

/// Pages that a copy takes between two looks at whether it is to end: 4 MiB.
const PAGES: i32 = 1024;

/// Checks the SQL databases of a tenant, and adds what it finds. A database that cannot be read is
/// a fault.
pub(in super::super) fn inspect(
    folder: &Path,
    stopper: &Stopper,
    found: &mut Inspection,
) -> Result<(), StoreError> {
    for (id, file) in list(folder)? {
        let inspected = connect_to_read(&file).and_then(|connection| {
            let inspected = stopper
                .read(&connection, |connection| inspect_file(connection, &id, &mut found.faults));
            inspected.map_err(|error| failure(&error))
        });
        stopper.check().map_err(|error| failure(&error))?;
        match inspected {
            Ok((tables, bytes)) => {
                found.stores.push(StoreUse { id: format!("sql:{id}"), entries: tables, bytes });
            }
            Err(error) => found.faults.push(format!("the SQL database `{id}`: {error}")),
        }
    }
    Ok(())
}

/// The tables and the bytes of a database.
fn inspect_file(
    connection: &Connection,
    id: &str,
    faults: &mut Vec<String>,
) -> rusqlite::Result<(u64, u64)> {
    // The schema is a stranger's: what a check evaluates of it has a bound.
    memory::bounded(&mut HeapUse::default(), HEAP_BYTES, || {
        functions::add(connection)?;
        harden::limit(connection)?;
        let mut pages = connection.prepare("PRAGMA integrity_check(100)")?;
        for fault in pages.query_map([], |row| row.get::<_, String>(0))? {
            let fault = Some(fault?).filter(|fault| fault != "ok");
            faults.extend(fault.map(|fault| format!("the SQL database `{id}`: {fault}")));
        }
        let number = |sql: &str| -> rusqlite::Result<u64> {
            connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
        };
        let tables = number("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")?;
        Ok((tables, number("PRAGMA page_count")?.saturating_mul(number("PRAGMA page_size")?)))
    })
}

/// Copies the SQL databases of a tenant to another folder, page by page and each of one moment:
/// nothing of a stranger's schema is evaluated. The copies are on the disk then.
pub(in super::super) fn copy(
    folder: &Path,
    to: &Path,
    stopper: &Stopper,
) -> Result<(), StoreError> {
    for (id, file) in list(folder)? {
        let copy = path(to, &id);
        let parent = copy.parent().unwrap_or(to);
        directory::make(parent).map_err(|error| system(&error))?;
        copy_file(&connect_to_read(&file)?, &copy, stopper).map_err(|error| failure(&error))?;
        let synced = File::open(&copy).and_then(|copy| copy.sync_all());
        synced.and_then(|()| directory::sync_folder(parent)).map_err(|error| system(&error))?;
    }
    Ok(())
}

fn copy_file(from: &Connection, to: &Path, stopper: &Stopper) -> rusqlite::Result<()> {
    // Without a transaction of its own the copy would begin anew with each write of a guest.
    from.execute_batch("BEGIN")?;
    from.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mut to = Connection::open(to)?;
    let backup = Backup::new(from, &mut to)?;
    loop {
        stopper.check()?;
        if backup.step(PAGES)? == rusqlite::backup::StepResult::Done {
            return Ok(());
        }
    }
}

fn list(folder: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    files(folder).map_err(|error| system(&error))
}
