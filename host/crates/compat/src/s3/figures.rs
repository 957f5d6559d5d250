//! The figures of a listener.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use http::StatusCode;

use super::places::Places;

/// The figures of an S3 listener.
#[derive(Clone)]
pub struct S3Figures {
    places: Arc<Places>,
    answers: Arc<Answers>,
}

/// Answers by the class of their status.
#[derive(Default)]
struct Answers {
    done: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl std::fmt::Debug for S3Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Figures").finish_non_exhaustive()
    }
}

impl S3Figures {
    pub(super) fn new(places: Arc<Places>) -> S3Figures {
        S3Figures { places, answers: Arc::default() }
    }

    pub(super) fn count(&self, status: StatusCode) {
        let answers = match status.as_u16() {
            ..400 => &self.answers.done,
            400..500 => &self.answers.refused,
            500.. => &self.answers.failed,
        };
        answers.fetch_add(1, Relaxed);
    }

    /// Open connections.
    pub fn connections(&self) -> u64 {
        self.places.taken() as u64
    }

    /// Answers with a status below 400.
    pub fn done(&self) -> u64 {
        self.answers.done.load(Relaxed)
    }

    /// Answers with a status of 400 to 499.
    pub fn refused(&self) -> u64 {
        self.answers.refused.load(Relaxed)
    }

    /// Answers with a status from 500 on.
    pub fn failed(&self) -> u64 {
        self.answers.failed.load(Relaxed)
    }
}
