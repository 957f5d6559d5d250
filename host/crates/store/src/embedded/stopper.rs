//! The end of a long read of a database, which another thread asks for.

use parking_lot::Mutex;
use rusqlite::{Connection, InterruptHandle};

/// Ends a check or a backup early.
#[derive(Default)]
pub struct Stopper(Mutex<Reading>);

#[derive(Default)]
struct Reading {
    is_stopped: bool,
    /// Interrupts the statement that runs.
    running: Option<InterruptHandle>,
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").field("is_stopped", &self.0.lock().is_stopped).finish()
    }
}

impl Stopper {
    /// Ends the read that is under way with an error, and each one after it.
    pub fn stop(&self) {
        let mut reading = self.0.lock();
        reading.is_stopped = true;
        if let Some(running) = &reading.running {
            running.interrupt();
        }
    }

    /// The error of a read that was stopped.
    pub(super) fn check(&self) -> rusqlite::Result<()> {
        self.0.lock().check()
    }

    /// Reads, unless the end was asked for. An end that comes between two statements of a read
    /// interrupts none of them; the next read does not begin.
    pub(super) fn read<T>(
        &self,
        connection: &Connection,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        {
            let mut reading = self.0.lock();
            reading.check()?;
            reading.running = Some(connection.get_interrupt_handle());
        }
        let read = read(connection);
        self.0.lock().running = None;
        read
    }
}

impl Reading {
    fn check(&self) -> rusqlite::Result<()> {
        if !self.is_stopped {
            return Ok(());
        }
        let stopped = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT);
        Err(rusqlite::Error::SqliteFailure(stopped, None))
    }
}
