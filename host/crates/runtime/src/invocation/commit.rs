//! The commit of an invocation's effects, and its further runs after a conflict.
//!
//! ```text
//!   run ──answer──> close the sandbox ──> commit ──done──> the answer leaves
//!    ^                                      │ conflict: what it read has changed
//!    │                                      v
//!   fresh sandbox <───────── wait for the turn of what was changed
//! ```
//!
//! Invocations that lose over the same entry run again one after the other, in the order of their
//! losses. So one of them wins with each round, and the others do not compute in vain.
//!
//! The acknowledgement of an event is an effect of its handler. So an event takes effect once: its
//! effects and its acknowledgement are committed together, or neither is.

use std::sync::Arc;

use lacewing_base::outcome::Outcome;
use lacewing_sandbox::{Fault, Sandbox, capability::egress::Propagation};
use lacewing_store::{
    CommitError, EffectLimits, StoreError, TenantState, Transaction, kv::KvError,
};
use tokio::{sync::OwnedMutexGuard, time::timeout_at};

use super::lifecycle::RunningInvocation;

/// Runs of one invocation. After the last one it ends as `conflict`.
const RUNS: u32 = 16;

/// What an answer of the guest means for its effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are committed.
    Commit,
    /// They are dropped: the answer is an error.
    Discard,
}

/// The acknowledgement of the events of a batch, in the transaction of their handler.
pub struct Acknowledgement<'a> {
    /// The state of the function's tenant.
    pub state: &'a Arc<dyn TenantState>,
    /// Writes the acknowledgement. Returns whether the events are still there.
    pub write: &'a (dyn Fn(&mut Transaction) -> Result<bool, KvError> + Send + Sync),
}

/// The effects of an acknowledgement at most. The function is not charged for them.
const ACKNOWLEDGEMENT: EffectLimits = EffectLimits { count: 1000, bytes: 4 << 20 };

/// The runs of one invocation.
pub(super) struct Runs<'a> {
    number: u32,
    acknowledgement: Option<&'a Acknowledgement<'a>>,
    propagation: Propagation,
    /// The turn of the run after a conflict, until the invocation has ended.
    turn: Option<OwnedMutexGuard<()>>,
}

impl<'a> Runs<'a> {
    /// The first run of an invocation. Outbound requests of later runs carry `propagation` on.
    pub(super) fn new(propagation: Propagation) -> Runs<'a> {
        Runs { number: 1, acknowledgement: None, propagation, turn: None }
    }

    /// The same, for an invocation that handles events.
    pub(super) fn acknowledging(
        propagation: Propagation,
        acknowledgement: &'a Acknowledgement<'a>,
    ) -> Runs<'a> {
        Runs { acknowledgement: Some(acknowledgement), ..Runs::new(propagation) }
    }
}

impl RunningInvocation<Sandbox> {
    /// Commits the effects of a run that gave `answer`, before the answer is used. `verdict` is
    /// asked where there are effects.
    ///
    /// `None`: what the run read has changed, and a fresh sandbox waits for another run.
    pub(super) async fn commit<T>(
        &mut self,
        runs: &mut Runs<'_>,
        answer: Result<T, Fault>,
        verdict: impl FnOnce(&mut T) -> Verdict,
    ) -> Option<Result<T, Fault>> {
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(fault) => return Some(Err(fault)),
        };
        let transaction = match self.sandbox().take_transaction() {
            Ok(transaction) => transaction,
            Err(fault) => return Some(Err(fault)),
        };
        let has_effects = transaction.as_ref().is_some_and(|one| !one.is_read_only());
        if !has_effects && runs.acknowledgement.is_none() {
            return Some(Ok(answer));
        }
        if verdict(&mut answer) == Verdict::Discard {
            return Some(Ok(answer));
        }
        let transaction = match runs.acknowledgement {
            Some(acknowledgement) => match acknowledged(transaction, acknowledgement).await {
                Ok(transaction) => Some(transaction),
                Err(fault) => return Some(Err(fault)),
            },
            None => transaction,
        };
        let changes = transaction.and_then(Transaction::into_changes);
        let Some((state, changes)) = changes else { return Some(Ok(answer)) };
        let did_outside = self.sandbox().did_outside();
        self.close_sandbox();
        match timeout_at(self.deadline().into(), state.commit(changes)).await {
            Ok(Ok(_)) => Some(Ok(answer)),
            Ok(Err(error @ CommitError::Conflict { .. })) => {
                self.lost(runs, &error, did_outside).await.err().map(Err)
            }
            Ok(Err(error)) => Some(Err(refused(&error))),
            Err(_) => Some(Err(late("its effects waited for the disk, and may have reached it"))),
        }
    }

    /// Makes a fresh sandbox for another run, once it is the invocation's turn. There is none where
    /// the last one did something outside of its transaction.
    async fn lost(
        &mut self,
        runs: &mut Runs<'_>,
        conflict: &CommitError,
        did_outside: Option<&str>,
    ) -> Result<(), Fault> {
        let end = |why: &str| Err(Fault::new(Outcome::Conflict, format!("{conflict}; {why}")));
        if let Some(did) = did_outside {
            return end(&format!("it does not run again, because it {did}"));
        }
        if runs.number == RUNS {
            return end(&format!("run {RUNS} was the last one"));
        }
        runs.number += 1;
        if runs.turn.is_none() {
            let what = conflict.to_string();
            let turn = self.tenant().reruns().turn(&what);
            let turn = timeout_at(self.deadline().into(), turn).await;
            runs.turn = Some(turn.map_err(|_| late("the invocation waited to run again"))?);
        }
        self.renew(runs.propagation.clone()).await
    }
}

/// The transaction of a handler, with the acknowledgement of its events.
async fn acknowledged(
    transaction: Option<Transaction>,
    acknowledgement: &Acknowledgement<'_>,
) -> Result<Transaction, Fault> {
    let Acknowledgement { state, write } = acknowledgement;
    if let Some(opening) = state.open() {
        opening.await.map_err(|error| refused(&error.into()))?;
    }
    let no_effects = EffectLimits { count: 0, bytes: 0 };
    let mut transaction =
        transaction.unwrap_or_else(|| Transaction::new((*state).clone(), no_effects));
    transaction.allow(ACKNOWLEDGEMENT);
    match write(&mut transaction) {
        Ok(true) => Ok(transaction),
        Ok(false) => {
            let detail = "the event was removed while its handler ran: its effects were dropped";
            Err(Fault::new(Outcome::Canceled, detail))
        }
        Err(KvError::Store(error)) => Err(refused(&error.into())),
        // A function that has read too much cannot write, and an acknowledgement is a write.
        Err(error) => Err(Fault::new(Outcome::StoreUnavailable, error.to_string())),
    }
}

/// Why there was no commit, without the facts that only the operator may know.
fn refused(error: &CommitError) -> Fault {
    match error {
        CommitError::TooManyWaiting { .. } => Fault::new(Outcome::LoadShed, error.to_string()),
        CommitError::OverQuota { .. } => Fault::store_full(error.to_string()),
        CommitError::Store(full @ StoreError::DiskFull) => Fault::store_full(full.for_tenants()),
        CommitError::Store(error) => Fault::new(Outcome::StoreUnavailable, error.for_tenants()),
        CommitError::Conflict { .. } => Fault::new(Outcome::Conflict, error.to_string()),
    }
}

fn late(meanwhile: &str) -> Fault {
    Fault::new(Outcome::DeadlineExceeded, format!("the deadline passed while {meanwhile}"))
}
