//! The rows of files: which entries have a file, and the files that none has any more.
//!
//! A file is charged with [`FILE_BYTES`] at least, as [`EntryBody::charged_bytes`] says.

use rusqlite::{Connection, params};

use super::signed;
use crate::{
    embedded::files::ObjectFiles,
    object::{EntryBody, FILE_BYTES, FileId},
};

/// Files that one step removes.
pub(in crate::embedded) const STEP: usize = 256;

/// Notes that an entry has the files of a body. Returns the bytes of those that were unused.
pub(super) fn enter(
    connection: &Connection,
    entry: i64,
    body: &EntryBody,
) -> rusqlite::Result<u64> {
    for staged in &body.staged {
        connection
            .prepare_cached("INSERT OR IGNORE INTO file (id, bytes) VALUES (?1, ?2)")?
            .execute(params![row_id(staged.id()), signed(staged.bytes())])?;
    }
    for file in &body.files {
        connection
            .prepare_cached("INSERT INTO entry_file (entry, file) VALUES (?1, ?2)")?
            .execute(params![entry, row_id(*file)])?;
        // The entry that the file was read from is checked before, so the file is there and in use.
        let changed = connection
            .prepare_cached("UPDATE file SET entries = entries + 1 WHERE id = ?1")?
            .execute([row_id(*file)])?;
        if changed == 0 {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
    }
    revive(connection, entry)
}

/// Files that the same batch left and enters again.
fn revive(connection: &Connection, entry: i64) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "UPDATE file SET unused_since = NULL
         WHERE unused_since IS NOT NULL AND id IN (SELECT file FROM entry_file WHERE entry = ?1)
         RETURNING max(bytes, ?2)",
    )?;
    let bytes =
        statement.query_map(params![entry, signed(FILE_BYTES)], |row| row.get::<_, i64>(0))?;
    bytes.map(|bytes| bytes.map(i64::unsigned_abs)).sum()
}

/// Takes the files from an entry. Returns the bytes of those that no entry has any more.
pub(super) fn leave(connection: &Connection, entry: i64, now_ms: i64) -> rusqlite::Result<u64> {
    let mut files =
        connection.prepare_cached("DELETE FROM entry_file WHERE entry = ?1 RETURNING file")?;
    let files: Vec<i64> =
        files.query_map([entry], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut unused = 0;
    for file in files {
        let (entries, bytes): (i64, i64) = connection
            .prepare_cached(
                "UPDATE file SET entries = entries - 1,
                     unused_since = CASE entries WHEN 1 THEN ?2 END
                 WHERE id = ?1 RETURNING entries, max(bytes, ?3)",
            )?
            .query_row(params![file, now_ms, signed(FILE_BYTES)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        if entries == 0 {
            unused += bytes.unsigned_abs();
        }
    }
    Ok(unused)
}

/// The bytes of files that no entry has any more.
pub(super) fn unused_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let mut sum = connection.prepare_cached(
        "SELECT coalesce(sum(max(bytes, ?1)), 0) FROM file WHERE unused_since IS NOT NULL",
    )?;
    sum.query_row([signed(FILE_BYTES)], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// Removes files that no entry has since a time, and their rows. Returns their number.
pub(in crate::embedded) fn remove_unused(
    connection: &Connection,
    files: &ObjectFiles,
    since_ms: i64,
) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM file WHERE unused_since <= ?1 ORDER BY unused_since LIMIT ?2",
    )?;
    let unused = statement.query_map([since_ms, STEP as i64], |row| row.get::<_, i64>(0))?;
    let unused: Vec<i64> = unused.collect::<rusqlite::Result<_>>()?;
    let ids = unused.into_iter().map(|id| FileId(id.cast_unsigned()));
    // A row stays where the file cannot be removed.
    let gone = files.remove(ids).unwrap_or_else(|error| {
        tracing::warn!(%error, "files of objects that were deleted cannot be removed");
        Vec::new()
    });
    for file in &gone {
        connection.prepare_cached("DELETE FROM file WHERE id = ?1")?.execute([row_id(*file)])?;
    }
    Ok(gone.len())
}

fn row_id(FileId(id): FileId) -> i64 {
    id.cast_signed()
}
