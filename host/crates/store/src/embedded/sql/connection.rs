//! A guest's connection: its statements run on threads of the store, and the guest waits.
//!
//! ```text
//!   execute ─> thread: prepare ──reads──────────────> rows
//!                 ^       │ writes, and has no turn
//!                 │       v
//!                 └── wait for the turn of writing, which lasts until the end of the transaction
//! ```
//!
//! A guest that waits for its turn holds no thread.

use std::{ops::Deref, ops::DerefMut, sync::Arc};

use futures_util::future::BoxFuture;
use rusqlite::InterruptHandle;
use tokio::{sync::oneshot, time::timeout};

use super::{
    statement::{Parts, Step},
    tenant::{WAIT, too_many_wait},
    threads::{SqlLane, SqlThreads},
    watch::Watch,
};
use crate::sql::{SqlConnection, SqlError, SqlRows, SqlStatement};

/// The parts of a connection. Wherever they are dropped, a thread of the store closes them: that
/// waits for the disk.
pub(super) struct OpenParts {
    parts: Option<Box<Parts>>,
    threads: Arc<SqlThreads>,
    lane: Arc<SqlLane>,
}

impl OpenParts {
    pub(super) fn new(parts: Parts, threads: Arc<SqlThreads>, lane: Arc<SqlLane>) -> OpenParts {
        OpenParts { parts: Some(Box::new(parts)), threads, lane }
    }
}

impl Deref for OpenParts {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        self.parts.as_ref().expect("only a drop takes them")
    }
}

impl DerefMut for OpenParts {
    fn deref_mut(&mut self) -> &mut Parts {
        self.parts.as_mut().expect("only a drop takes them")
    }
}

impl Drop for OpenParts {
    fn drop(&mut self) {
        let parts = self.parts.take();
        self.threads.push(&self.lane, Box::new(move || drop(parts)));
    }
}

/// A connection of a guest.
pub(super) struct GuestConnection {
    /// `None` while a statement runs, and after one was given up.
    parts: Option<OpenParts>,
    last_insert_rowid: i64,
    changes: u64,
}

impl GuestConnection {
    pub(super) fn new(parts: OpenParts) -> GuestConnection {
        GuestConnection { parts: Some(parts), last_insert_rowid: 0, changes: 0 }
    }

    async fn run(&mut self, statement: SqlStatement) -> Result<SqlRows, SqlError> {
        let mut parts = self.parts.take().ok_or(SqlError::Closed)?;
        let statement = Arc::new(statement);
        loop {
            if let Err(many) = parts.lane.check_room() {
                self.parts = Some(parts);
                return Err(too_many_wait(&many));
            }
            let (returned, step) = on_thread(parts, statement.clone()).await?;
            parts = returned;
            match step {
                Step::Done(result) => {
                    (self.last_insert_rowid, self.changes) = parts.counts();
                    self.parts = Some(parts);
                    return result;
                }
                Step::NeedsTurn => {
                    match timeout(WAIT, parts.database.turn.clone().lock_owned()).await {
                        Ok(turn) => parts.turn = Some(turn),
                        Err(_) => {
                            self.parts = Some(parts);
                            return Err(SqlError::Limit(format!(
                                "other connections have been writing to the database for {} s: one may have begun a transaction that it does not end",
                                WAIT.as_secs()
                            )));
                        }
                    }
                }
            }
        }
    }
}

/// Runs a statement on a thread. Dropping the future interrupts it.
async fn on_thread(
    mut parts: OpenParts,
    statement: Arc<SqlStatement>,
) -> Result<(OpenParts, Step), SqlError> {
    let (answer, ran) = oneshot::channel();
    let abandoning =
        Abandoning { watch: parts.watch.clone(), handle: parts.interrupt_handle(), is_armed: true };
    let (threads, lane) = (parts.threads.clone(), parts.lane.clone());
    let work = move || {
        let step = parts.run(&statement);
        // A guest that has gone leaves a connection that is closed at once.
        drop(answer.send((parts, step)));
    };
    threads.push(&lane, Box::new(work));
    let ran = ran.await;
    abandoning.disarm();
    // The answer is missing only where the statement panicked.
    ran.map_err(|_| SqlError::Closed)
}

/// Interrupts a statement when it is dropped.
struct Abandoning {
    watch: Arc<Watch>,
    handle: InterruptHandle,
    is_armed: bool,
}

impl Abandoning {
    fn disarm(mut self) {
        self.is_armed = false;
    }
}

impl Drop for Abandoning {
    fn drop(&mut self) {
        if self.is_armed {
            self.watch.abandon();
            self.handle.interrupt();
        }
    }
}

impl SqlConnection for GuestConnection {
    fn execute(&mut self, statement: SqlStatement) -> BoxFuture<'_, Result<SqlRows, SqlError>> {
        Box::pin(self.run(statement))
    }

    fn last_insert_rowid(&self) -> i64 {
        self.last_insert_rowid
    }

    fn changes(&self) -> u64 {
        self.changes
    }
}
