//! The bound on requests that are taken back, by a clock of the test.

use std::time::Duration;

use super::*;

/// Sends requests that are taken back, and returns how many a function was asked for.
fn flood(bound: &mut TakenBack, requests: u32, now: Instant) -> u32 {
    let mut invoked = 0;
    for _ in 0..requests {
        if bound.is_flood(|| now) {
            bound.answered(|| now);
        } else {
            bound.taken_back(|| now);
            invoked += 1;
        }
    }
    invoked
}

#[test]
fn an_honest_client_takes_back_requests_for_days() {
    let mut now = Instant::now();
    let mut bound = TakenBack::new(now);
    for minute in 0..3 * 24 * 60 {
        // A page is left while its streams are all in use; little of what came before was answered.
        for _ in 0..128 {
            assert!(!bound.is_flood(|| now), "minute {minute}");
            bound.taken_back(|| now);
        }
        assert!(!bound.is_flood(|| now), "minute {minute}");
        bound.answered(|| now);
        now += Duration::from_secs(60);
    }
    // A search that is asked again with each letter, of which the last one is answered.
    for letter in 0..10_000 {
        assert!(!bound.is_flood(|| now), "letter {letter}");
        bound.taken_back(|| now);
        now += Duration::from_millis(125);
    }
}

#[test]
fn every_other_request_may_be_taken_back_at_any_rate() {
    let now = Instant::now();
    let mut bound = TakenBack::new(now);
    for _ in 0..100_000 {
        bound.taken_back(|| now);
        assert!(!bound.is_flood(|| now));
        bound.answered(|| now);
    }
}

#[test]
fn a_rapid_reset_has_a_burst_and_a_rate() {
    let now = Instant::now();
    let mut bound = TakenBack::new(now);
    assert_eq!(flood(&mut bound, 100_000, now), 200);
    for second in 1..=60 {
        let now = now + Duration::from_secs(second);
        assert_eq!(flood(&mut bound, 100_000, now), 10);
    }
    // A client that stops is served as before after a while.
    let now = now + Duration::from_secs(3600);
    assert_eq!(flood(&mut bound, 100_000, now), 200);
}

/// A flood whose refusals are awaited and counted as answers would pay for itself.
#[test]
fn refusals_earn_nothing() {
    let now = Instant::now();
    let mut bound = TakenBack::new(now);
    flood(&mut bound, 200, now);
    for _ in 0..1000 {
        bound.answered(|| now);
    }
    assert_eq!(flood(&mut bound, 1000, now), 0);
}
