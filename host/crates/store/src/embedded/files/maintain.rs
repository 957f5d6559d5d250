//! The check and the copy of a tenant's files.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use rusqlite::Connection;

use super::{OBJECTS, ObjectFiles, name, parse};
use crate::{
    embedded::{Stopper, directory},
    object::FileId,
};

impl ObjectFiles {
    /// Reads all files that the database knows, and says what is wrong with them. A file that the
    /// database does not know is no fault of an object, and wastes room. Commits go on meanwhile,
    /// and no file is removed.
    pub(in crate::embedded) fn inspect(
        &self,
        connection: &Connection,
        stopper: &Stopper,
    ) -> rusqlite::Result<Vec<String>> {
        let mut faults = Vec::new();
        // Before the database is asked: it knows each file that is in the folder now.
        let entries = fs::read_dir(self.folder.join(OBJECTS)).into_iter().flatten().flatten();
        let entries: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        let known = known(connection)?;
        for (id, bytes) in &known {
            stopper.check()?;
            let name = name(*id);
            match self.check(*id) {
                Ok(found) if found == *bytes => {}
                Ok(found) => faults.push(format!(
                    "the file objects/{name} has {found} bytes, and the database says {bytes}"
                )),
                Err(error) => faults.push(format!("the file objects/{name}: {error}")),
            }
        }
        for entry in entries {
            let id = entry.to_str().and_then(parse);
            if id.is_none_or(|id| known.binary_search_by_key(&id, |(id, _)| *id).is_err()) {
                let name = entry.display().to_string();
                faults.push(format!("the file objects/{name} belongs to no object"));
            }
        }
        Ok(faults)
    }

    /// Copies the files that a copy of the database knows into its folder.
    pub(in crate::embedded) fn copy(
        &self,
        connection: &Connection,
        to: &Path,
        stopper: &Stopper,
    ) -> io::Result<()> {
        let known = known(connection).map_err(io::Error::other)?;
        if known.is_empty() {
            return Ok(());
        }
        let folder = to.join(OBJECTS);
        directory::make(&folder)?;
        for (id, _) in known {
            stopper.check().map_err(io::Error::other)?;
            let mut copy = File::create_new(folder.join(name(id)))?;
            io::copy(&mut self.find(id)?, &mut copy)?;
            copy.sync_all()?;
        }
        directory::sync_folder(&folder)
    }
}

/// The files of a database with their sizes, in the order of their numbers.
fn known(connection: &Connection) -> rusqlite::Result<Vec<(FileId, u64)>> {
    let mut files = connection.prepare("SELECT id, bytes FROM file ORDER BY id")?;
    let files = files.query_map([], |row| {
        Ok((FileId(row.get::<_, i64>(0)?.cast_unsigned()), row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    files.collect()
}
