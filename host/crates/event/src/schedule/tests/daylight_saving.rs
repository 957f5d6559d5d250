//! Both changes of the clock in five zones, tick by tick.

use jiff::{Timestamp, civil::DateTime};

use super::{super::Schedule, schedule};

/// The ticks on one day of the clock, as times on it with their offsets.
fn ticks_on(day: &str, zone: &str, text: &str) -> Vec<String> {
    let schedule = schedule(text, zone);
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
    let midnight: DateTime = format!("{day}T00:00:00").parse().unwrap();
    let start = zone.to_timestamp(midnight).unwrap();
    let before = start.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap();
    let is_same_day = |tick: &Timestamp| zone.to_datetime(*tick).date() == midnight.date();
    let ticks = schedule.after(before).take_while(is_same_day);
    ticks.map(|tick| tick.to_zoned(zone.clone()).strftime("%H:%M%:z").to_string()).collect()
}

#[track_caller]
fn assert_ticks(day: &str, zone: &str, text: &str, expected: &[&str]) {
    assert_eq!(ticks_on(day, zone, text), expected, "{text} on {day} in {zone}");
}

#[test]
fn berlin() {
    let zone = "Europe/Berlin";
    // From 02:00 to 03:00 the clock skips.
    let spring = "2026-03-29";
    assert_ticks(spring, zone, "30 1 * * *", &["01:30+01:00"]);
    assert_ticks(spring, zone, "0 2 * * *", &["03:00+02:00"]);
    assert_ticks(spring, zone, "30 2 * * *", &["03:00+02:00"]);
    assert_ticks(spring, zone, "0 3 * * *", &["03:00+02:00"]);
    assert_ticks(spring, zone, "0,20,40 2 * * *", &["03:00+02:00"]);
    assert_ticks(spring, zone, "30 1-3 * * *", &["01:30+01:00", "03:00+02:00", "03:30+02:00"]);
    assert_ticks(spring, zone, "*/20 2 * * *", &[]);
    assert_ticks(
        spring,
        zone,
        "*/30 1-3 * * *",
        &["01:00+01:00", "01:30+01:00", "03:00+02:00", "03:30+02:00"],
    );
    // From 02:00 to 03:00 the clock goes twice.
    let autumn = "2026-10-25";
    assert_ticks(autumn, zone, "0 2 * * *", &["02:00+02:00"]);
    assert_ticks(autumn, zone, "30 2 * * *", &["02:30+02:00"]);
    assert_ticks(autumn, zone, "0 3 * * *", &["03:00+01:00"]);
    assert_ticks(autumn, zone, "0 2,14 * * *", &["02:00+02:00", "14:00+01:00"]);
    assert_ticks(autumn, zone, "30 1-3 * * *", &["01:30+02:00", "02:30+02:00", "03:30+01:00"]);
    assert_ticks(
        autumn,
        zone,
        "*/30 2 * * *",
        &["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"],
    );
}

#[test]
fn new_york() {
    let zone = "America/New_York";
    assert_ticks("2026-03-08", zone, "30 2 * * *", &["03:00-04:00"]);
    assert_ticks(
        "2026-03-08",
        zone,
        "0 */2 * * SUN",
        &[
            "00:00-05:00",
            "04:00-04:00",
            "06:00-04:00",
            "08:00-04:00",
            "10:00-04:00",
            "12:00-04:00",
            "14:00-04:00",
            "16:00-04:00",
            "18:00-04:00",
            "20:00-04:00",
            "22:00-04:00",
        ],
    );
    assert_ticks("2026-11-01", zone, "30 1 * * *", &["01:30-04:00"]);
    assert_ticks("2026-11-01", zone, "0 2 * * *", &["02:00-05:00"]);
    assert_ticks(
        "2026-11-01",
        zone,
        "*/45 1 * * *",
        &["01:00-04:00", "01:45-04:00", "01:00-05:00", "01:45-05:00"],
    );
}

/// The clock of Lord Howe Island moves by half an hour.
#[test]
fn lord_howe() {
    let zone = "Australia/Lord_Howe";
    // From 02:00 to 02:30 the clock skips.
    assert_ticks("2026-10-04", zone, "0 2 * * *", &["02:30+11:00"]);
    assert_ticks("2026-10-04", zone, "29 2 * * *", &["02:30+11:00"]);
    assert_ticks("2026-10-04", zone, "15,45 2 * * *", &["02:30+11:00", "02:45+11:00"]);
    assert_ticks("2026-10-04", zone, "*/15 2 * * *", &["02:30+11:00", "02:45+11:00"]);
    // From 01:30 to 02:00 the clock goes twice.
    assert_ticks("2026-04-05", zone, "0 2 * * *", &["02:00+10:30"]);
    assert_ticks("2026-04-05", zone, "15,45 1 * * *", &["01:15+11:00", "01:45+11:00"]);
    assert_ticks(
        "2026-04-05",
        zone,
        "*/15 1 * * *",
        &["01:00+11:00", "01:15+11:00", "01:30+11:00", "01:45+11:00", "01:30+10:30", "01:45+10:30"],
    );
}

/// The clock of Morocco goes back for the month of Ramadan.
#[test]
fn casablanca() {
    let zone = "Africa/Casablanca";
    assert_ticks("2026-02-15", zone, "30 2 * * *", &["02:30+01:00"]);
    assert_ticks(
        "2026-02-15",
        zone,
        "*/30 2 * * *",
        &["02:00+01:00", "02:30+01:00", "02:00+00:00", "02:30+00:00"],
    );
    assert_ticks("2026-03-22", zone, "30 2 * * *", &["03:00+01:00"]);
    assert_ticks("2026-03-22", zone, "*/30 2 * * *", &[]);
}

#[test]
fn kolkata_has_no_changes() {
    for day in ["2026-03-29", "2026-10-25"] {
        assert_ticks(day, "Asia/Kolkata", "30 2 * * *", &["02:30+05:30"]);
        assert_ticks(day, "Asia/Kolkata", "*/30 2 * * *", &["02:00+05:30", "02:30+05:30"]);
    }
}

/// A day without a midnight, a day that does not exist, and a change by two hours.
#[test]
fn unusual_gaps() {
    assert_ticks("2026-04-24", "Africa/Cairo", "0 0 * * *", &["01:00+03:00"]);
    assert_ticks("2011-12-31", "Pacific/Apia", "30 2 * * *", &["00:00+14:00", "02:30+14:00"]);
    assert_ticks("2011-12-31", "Pacific/Apia", "30 2 30 12 *", &["00:00+14:00"]);
    assert_ticks("2026-03-29", "Antarctica/Troll", "30 1,2 * * *", &["03:00+02:00"]);
}

const ZONES: [&str; 6] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "America/St_Johns",
    "Asia/Kolkata",
];

#[test]
fn ten_minutes_of_elapsed_time_go_on_through_the_year() {
    for zone in ZONES {
        for text in ["*/10 * * * *", "rate(10 minutes)"] {
            let start = super::instant("2026-01-01T00:00:00Z");
            for (index, tick) in schedule(text, zone).after(start).take(366 * 24 * 6).enumerate() {
                let expected = start.as_second() + 600 * (i64::try_from(index).unwrap() + 1);
                assert_eq!(tick.as_second(), expected, "{text} in {zone}");
            }
        }
    }
}

/// A fixed time fires once a day in every zone, at each hour that a change may hit.
#[test]
fn a_daily_time_fires_once_a_day_through_the_year() {
    for zone in ZONES {
        for hour in 0..4 {
            let daily: Schedule = schedule(&format!("30 {hour} * * *"), zone);
            let time_zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
            let start = super::instant("2025-12-31T12:00:00Z");
            let dates: Vec<_> = daily
                .after(start)
                .take(365)
                .map(|tick| time_zone.to_datetime(tick).date())
                .collect();
            let expected = jiff::civil::date(2026, 1, 1).series(jiff::Span::new().days(1));
            assert!(dates.into_iter().eq(expected.take(365)), "{hour}:30 in {zone}");
        }
    }
}
