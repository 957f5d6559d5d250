//! The division of an instance's CPU time between the invocations that it serves at once.
//!
//! The host cannot tell for which of its invocations a guest's code runs, so all that are open pay
//! equal parts: the shares add up to the time that was spent. An invocation that is alone pays for
//! itself, exactly.

use std::time::Duration;

/// The clock of one instance. Its time is the CPU time that the instance has spent so far.
#[derive(Debug, Default)]
pub(super) struct Meter {
    // The charge of an invocation that was open all the time.
    share: Duration,
    // Spent when `share` was brought up to date.
    settled: Duration,
    // Spent when the instance last looked for something to do.
    turned: Duration,
    // Spent since the last invocation ended.
    unowned: Duration,
    // Shares at which the open invocations began.
    open: Vec<Duration>,
}

impl Meter {
    fn settle(&mut self, spent: Duration) {
        let open = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        let time = spent.saturating_sub(self.settled);
        match time.checked_div(open) {
            Some(share) => self.share += share,
            // Between invocations none pays.
            None => self.unowned += time,
        }
        self.settled = spent;
    }

    /// An invocation begins. Returns what [`Meter::end`] wants to know.
    pub(super) fn begin(&mut self, spent: Duration) -> Duration {
        self.settle(spent);
        self.turned = spent;
        self.unowned = Duration::ZERO;
        self.open.push(self.share);
        self.share
    }

    /// One that began at `start` ends. Returns what it is charged.
    pub(super) fn end(&mut self, start: Duration, spent: Duration) -> Duration {
        self.settle(spent);
        self.turned = spent;
        if let Some(at) = self.open.iter().position(|other| *other == start) {
            self.open.swap_remove(at);
        }
        self.share - start
    }

    /// The charge of an invocation that began at `start`, if it ended when the meter was last
    /// brought up to date.
    pub(super) fn charged(&self, start: Duration) -> Duration {
        self.share.saturating_sub(start)
    }

    /// The guest has come to rest, and the instance looks for something to do.
    pub(super) fn turn(&mut self, spent: Duration) {
        self.settle(spent);
        self.turned = spent;
    }

    /// Whether the guest has spent more than `budget`: for one of the invocations by its shares,
    /// since the last one ended, or at one go, which is one invocation's doing.
    pub(super) fn is_over(&mut self, spent: Duration, budget: Duration) -> bool {
        self.settle(spent);
        let longest = self.open.iter().map(|start| self.share - *start).max();
        longest.unwrap_or_default() >= budget
            || self.unowned >= budget
            || spent.saturating_sub(self.turned) >= budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn shares_add_up_to_the_time_spent() {
        let mut meter = Meter::default();
        let one = meter.begin(ms(10));
        let other = meter.begin(ms(20));
        assert_eq!(meter.end(one, ms(40)), ms(10 + 10));
        assert_eq!(meter.charged(other), ms(10));
        assert_eq!(meter.end(other, ms(45)), ms(10 + 5));
        // No invocation pays.
        let third = meter.begin(ms(100));
        assert_eq!(meter.end(third, ms(101)), ms(1));
    }

    #[test]
    fn a_budget_is_that_of_each_and_of_one_go() {
        let mut meter = Meter::default();
        let one = meter.begin(ms(0));
        meter.begin(ms(0));
        for turn in 1..10 {
            meter.turn(ms(turn * 10));
            assert!(!meter.is_over(ms(turn * 10), ms(50)), "{turn}");
        }
        assert!(meter.is_over(ms(100), ms(50)), "both have had 50 ms");
        meter.end(one, ms(100));
        let mut meter = Meter::default();
        meter.begin(ms(0));
        meter.begin(ms(0));
        assert!(!meter.is_over(ms(49), ms(50)));
        assert!(meter.is_over(ms(50), ms(50)), "at one go");
    }

    #[test]
    fn work_after_the_last_answer_has_one_budget_however_often_it_rests() {
        let mut meter = Meter::default();
        let one = meter.begin(ms(0));
        meter.end(one, ms(10));
        for rest in 2..6 {
            meter.turn(ms(rest * 10));
            assert!(!meter.is_over(ms(rest * 10), ms(50)), "{rest}");
        }
        meter.turn(ms(60));
        assert!(meter.is_over(ms(60), ms(50)));
        let next = meter.begin(ms(60));
        assert!(!meter.is_over(ms(60), ms(50)), "the next invocation begins anew");
        meter.end(next, ms(61));
    }
}
