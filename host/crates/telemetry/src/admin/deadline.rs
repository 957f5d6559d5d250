//! The moment at which a connection is closed, which its request moves on.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

/// Moves the moment.
#[derive(Debug)]
pub(super) struct Deadline(watch::Sender<Instant>);

/// Waits for the moment.
#[derive(Debug)]
pub(super) struct Passing(watch::Receiver<Instant>);

impl Deadline {
    /// A moment that comes after so long.
    pub(super) fn after(wait: Duration) -> (Deadline, Passing) {
        let (deadline, passing) = watch::channel(Instant::now() + wait);
        (Deadline(deadline), Passing(passing))
    }

    /// Has it come after so long from now.
    pub(super) fn set(&self, wait: Duration) {
        self.0.send_replace(Instant::now() + wait);
    }
}

impl Passing {
    /// Comes with the moment.
    pub(super) async fn passed(mut self) {
        loop {
            let until = *self.0.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                moved = self.0.changed() => {
                    if moved.is_err() {
                        // No request moves it any more.
                        tokio::time::sleep_until(until).await;
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_moment_that_was_moved_comes_when_it_was_moved_to() {
        let begun = Instant::now();
        let (deadline, passing) = Deadline::after(Duration::from_secs(15));
        let mut passed = Box::pin(passing.passed());
        assert!(passed.as_mut().now_or_never().is_none());
        deadline.set(Duration::from_secs(60));
        passed.as_mut().await;
        assert_eq!(begun.elapsed().as_secs(), 60);
        let (deadline, passing) = Deadline::after(Duration::from_secs(15));
        deadline.set(Duration::from_secs(3));
        drop(deadline);
        passing.passed().await;
        assert_eq!(begun.elapsed().as_secs(), 63);
    }
}
