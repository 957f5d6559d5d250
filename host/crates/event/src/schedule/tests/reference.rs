//! A year of ticks in many zones against an independent implementation.
//!
//! `reference.py` makes `reference.tsv` with cronsim, which Healthchecks uses to follow Debian's
//! cron. Each line has a zone, an expression, the number of its ticks in 2026, and their digest.

use super::{instant, schedule};

#[test]
fn ticks_are_those_of_cronsim() {
    let (start, end) = (instant("2025-12-31T23:59:59Z"), instant("2027-01-01T00:00:00Z"));
    let lines: Vec<&str> = include_str!("reference.tsv").lines().collect();
    assert_eq!(lines.len(), 26 * 19 - 2);
    let mut wrong = Vec::new();
    for line in lines {
        let [zone, text, _, _] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let (mut count, mut digest) = (0, 0_u64);
        for tick in schedule(text, zone).after(start).take_while(|tick| *tick < end) {
            count += 1;
            let second = u64::try_from(tick.as_second()).unwrap();
            // The multiplier is that of Knuth's MMIX.
            digest = digest.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(second);
        }
        let found = format!("{zone}\t{text}\t{count}\t{digest:016x}");
        if found != line {
            wrong.push(format!("{line} is {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} lines:\n{}", wrong.len(), wrong.join("\n"));
}
