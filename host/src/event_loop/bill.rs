//! Whose time it is that those in a line wait for.
//!
//! Where there is less than everybody asks for, each party gets what it asks for up to a *level*, which is the same for all of the same
//! weight and such that all of it is given:
//!
//! ```text
//!        asked for    #####           level
//!                     #####             |
//!               ###########.............v...
//!               ########### ##       what is above it is too much;
//!            ## ########### ## ##    who stays below is not in anybody's way
//!            b       a      c  d
//! ```
//!
//! Nobody is a party, too: for instance of all clients who ask for what there is not.

use std::{collections::HashMap, time::Duration};

use crate::fair::Party;

/// What each party has taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bill(HashMap<Option<u64>, Item>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    time: Duration,
    weight: u32,
}

impl Item {
    fn level(&self) -> f64 {
        level(self.time, self.weight)
    }
}

/// How far it comes up: seconds for each unit of weight.
pub(super) fn level(time: Duration, weight: u32) -> f64 {
    time.as_secs_f64() / f64::from(weight.max(1))
}

impl Bill {
    pub(super) fn charge(&mut self, party: Option<Party>, time: Duration) {
        let weight = party.map_or(1, |party| party.weight);
        let none = Item { time: Duration::ZERO, weight };
        let item = self.0.entry(party.map(|party| party.id)).or_insert(none);
        item.time += time;
    }

    /// What a party has taken.
    pub(super) fn of(&self, party: Party) -> Duration {
        self.0.get(&Some(party.id)).map_or(Duration::ZERO, |item| item.time)
    }

    /// From which level on a party has too much, where `time` is what there is to have. It is no less than half of the level of the one that
    /// has most: who asks by the clock asks for more the longer the others take, and is not the cause of it.
    pub(super) fn too_much(&self, time: Duration) -> f64 {
        let most = self.0.values().map(Item::level).fold(0.0, f64::max);
        self.level(time).max(most / 2.0)
    }

    /// The level at which all of them together have no more than `time`. Where they have less, it is that of the one that has most.
    fn level(&self, time: Duration) -> f64 {
        let mut items: Vec<Item> = self.0.values().copied().collect();
        items.sort_by(|a, b| a.level().total_cmp(&b.level()));
        let mut weights: f64 = items.iter().map(|item| f64::from(item.weight.max(1))).sum();
        let (mut left, mut level) = (time.as_secs_f64(), 0.0);
        for item in items {
            level = item.level();
            if level * weights > left {
                return left / weights;
            }
            left -= item.time.as_secs_f64();
            weights -= f64::from(item.weight.max(1));
        }
        level
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn bill(times: &[(u32, u64)]) -> Bill {
        let mut bill = Bill::default();
        for (id, (weight, ms)) in (0..).zip(times) {
            bill.charge(Some(Party { id, weight: *weight }), Duration::from_millis(*ms));
        }
        bill
    }

    fn over(bill: &Bill, times: &[(u32, u64)], ms: u64) -> Vec<bool> {
        let level = bill.level(Duration::from_millis(ms));
        let parties = (0..).zip(times).map(|(id, (weight, _))| Party { id, weight: *weight });
        parties.map(|party| super::level(bill.of(party), party.weight) >= level).collect()
    }

    #[test]
    fn who_takes_most_is_above_the_level_and_who_takes_little_is_not() {
        let times = [(1, 90), (1, 5), (1, 5)];
        assert_eq!(over(&bill(&times), &times, 30), [true, false, false]);
        // Also where all of it would do.
        assert_eq!(over(&bill(&times), &times, 200), [true, false, false]);
        let alone = [(1, 20)];
        assert_eq!(over(&bill(&alone), &alone, 30), [true]);
    }

    #[test]
    fn what_one_leaves_is_for_the_others() {
        let times = [(1, 60), (1, 16), (1, 2)];
        // 30 - 2, by two: 14.
        assert_eq!(over(&bill(&times), &times, 30), [true, true, false]);
        // 36 - 2, by two: 17.
        assert_eq!(over(&bill(&times), &times, 36), [true, false, false]);
    }

    #[test]
    fn a_weight_is_a_share() {
        let times = [(1, 20), (3, 40)];
        assert_eq!(over(&bill(&times), &times, 60), [true, false]);
        assert_eq!(over(&bill(&times), &times, 40), [true, true]);
    }

    #[test]
    fn who_asks_by_the_clock_is_not_the_cause_of_a_line_that_others_make() {
        let too_much = |times: &[(u32, u64)], nobody_ms: u64| {
            let mut bill = bill(times);
            bill.charge(None, Duration::from_millis(nobody_ms));
            let most = bill.too_much(Duration::from_millis(30));
            let parties = (0..).zip(times).map(|(id, (weight, _))| Party { id, weight: *weight });
            parties.map(|party| level(bill.of(party), party.weight) >= most).collect::<Vec<_>>()
        };
        // A fifth of a line that is made by who asks for what there is not, and more than half of what there is to have.
        assert_eq!(too_much(&[(1, 16)], 64), [false]);
        assert_eq!(too_much(&[(1, 40), (1, 38)], 2), [true, true]);
        assert_eq!(too_much(&[(1, 40), (1, 15)], 2), [true, false]);
        assert_eq!(too_much(&[(1, 20)], 10), [true]);
    }

    #[test]
    fn nobody_is_a_party_too() {
        let mut bill = bill(&[(1, 10)]);
        bill.charge(None, Duration::from_millis(50));
        let party = Party { id: 0, weight: 1 };
        assert!(level(bill.of(party), 1) < bill.level(Duration::from_millis(30)));
        assert_eq!(Bill::default().of(party), Duration::ZERO);
    }

    proptest! {
        /// Somebody is always above it, who has not taken its part of the time is never, and what lies below it is no more than that.
        #[test]
        fn the_level_gives_all_there_is(times in vec((1_u32..9, 1_u64..100), 1..20), ms in 1_u64..500) {
            let bill = bill(&times);
            let over = over(&bill, &times, ms);
            prop_assert!(over.contains(&true));
            let weights: u32 = times.iter().map(|(weight, _)| weight).sum();
            let all: u64 = times.iter().map(|(_, ms)| ms).sum();
            for (is_over, (weight, took)) in over.iter().zip(&times) {
                let part = ms * u64::from(*weight) / u64::from(weights);
                prop_assert!(all <= ms || !is_over || *took >= part, "{took} of {part}");
            }
            let level = bill.level(Duration::from_millis(ms));
            let below: f64 = times
                .iter()
                .map(|(weight, took)| (level * f64::from(*weight)).min(*took as f64 / 1e3))
                .sum();
            let least = ms.min(all) as f64 / 1e3;
            prop_assert!((below - least).abs() < 1e-6, "{below} of {least}");
        }
    }
}
