//! A transaction that runs again until its commit finds no conflict.

use std::sync::Arc;

use super::{EffectLimits, Transaction};
use crate::{CommitError, TenantState, kv::Version};

/// Attempts of one transaction. Another transaction may change the same entry each time.
pub const ATTEMPTS: u32 = 16;

/// The failure of [`Transaction::run`]. Nothing was committed.
#[derive(Debug)]
pub enum RunError<E> {
    /// The step refused.
    Step(E),
    /// The commit, or the opening of the state, failed. A conflict is that of the last attempt.
    Commit(CommitError),
}

impl Transaction {
    /// Runs `step` in a transaction of its own and commits its writes. A conflict runs the step
    /// again. Returns the result of the last run, and the version of the commit; no version if the
    /// step wrote nothing.
    ///
    /// # Errors
    /// The error of the step, and those of the commit.
    pub async fn run<T, E>(
        state: &Arc<dyn TenantState>,
        limits: EffectLimits,
        mut step: impl FnMut(&mut Transaction) -> Result<T, E>,
    ) -> Result<(T, Option<Version>), RunError<E>> {
        let mut attempt = 1;
        loop {
            if let Some(opening) = state.open() {
                opening.await.map_err(|error| RunError::Commit(error.into()))?;
            }
            let mut transaction = Transaction::new(state.clone(), limits);
            let done = step(&mut transaction).map_err(RunError::Step)?;
            let Some((state, changes)) = transaction.into_changes() else {
                return Ok((done, None));
            };
            match state.commit(changes).await {
                Ok(version) => return Ok((done, Some(version))),
                Err(CommitError::Conflict { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(RunError::Commit(error)),
            }
        }
    }
}
