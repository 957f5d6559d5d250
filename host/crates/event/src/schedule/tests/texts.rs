//! Texts of schedules, and the errors that name what is wrong with them.

use super::{super::*, instant, schedule};

/// The first tick of a schedule after the first instant of 2026.
fn first(text: &str, zone: &str) -> String {
    schedule(text, zone).next_after(instant("2026-01-01T00:00:00Z")).unwrap().to_string()
}

#[test]
fn every_form_ticks() {
    for (text, zone, expected) in [
        ("30 2 * * *", "UTC", "2026-01-01T02:30:00Z"),
        (" cron( 30 2 * * * ) ", "UTC", "2026-01-01T02:30:00Z"),
        ("15 30 2 * * *", "UTC", "2026-01-01T02:30:15Z"),
        ("30 2 * * *", "europe/berlin", "2026-01-01T01:30:00Z"),
        ("0 0 * feb-mar ?", "UTC", "2026-02-01T00:00:00Z"),
        ("0 0 ? * FRI-SUN", "UTC", "2026-01-02T00:00:00Z"),
        ("0 0 * * 7", "UTC", "2026-01-04T00:00:00Z"),
        ("0 0 L * *", "UTC", "2026-01-31T00:00:00Z"),
        ("0 0 LW * *", "UTC", "2026-01-30T00:00:00Z"),
        ("0 0 17W * *", "UTC", "2026-01-16T00:00:00Z"),
        ("0 0 * * 5L", "UTC", "2026-01-30T00:00:00Z"),
        ("0 0 * * FRIL", "UTC", "2026-01-30T00:00:00Z"),
        ("0 0 * * MON#2", "UTC", "2026-01-12T00:00:00Z"),
        ("0 0 13 * FRI", "UTC", "2026-01-02T00:00:00Z"),
        ("0 0 */1 * FRI", "UTC", "2026-01-02T00:00:00Z"),
        ("0 0 */20 * FRI", "UTC", "2026-01-02T00:00:00Z"),
        ("0 0 13 * +FRI", "UTC", "2026-02-13T00:00:00Z"),
        ("0 0 29 2 *", "UTC", "2028-02-29T00:00:00Z"),
        ("rate(1 second)", "UTC", "2026-01-01T00:00:01Z"),
        ("rate(5 minutes)", "UTC", "2026-01-01T00:05:00Z"),
        ("rate(36 hours)", "Asia/Kolkata", "2026-01-02T12:00:00Z"),
        ("rate(366 days)", "UTC", "2026-02-12T00:00:00Z"),
        ("at(2026-12-24T18:00:00)", "UTC", "2026-12-24T18:00:00Z"),
        ("at(2026-12-24T18:00:00)", "America/New_York", "2026-12-24T23:00:00Z"),
        ("at(2026-03-29T02:30:00)", "Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("at(2026-10-25T02:30:00)", "Europe/Berlin", "2026-10-25T00:30:00Z"),
    ] {
        assert_eq!(first(text, zone), expected, "{text} in {zone}");
    }
}

#[test]
fn a_schedule_keeps_its_text_and_its_zone() {
    let berlin = schedule(" 30 2 * * * ", "europe/berlin");
    assert_eq!(berlin.to_string(), "30 2 * * *");
    assert_eq!(berlin.zone(), "Europe/Berlin");
    assert_eq!(format!("{berlin:?}"), "Schedule(\"30 2 * * *\" in Europe/Berlin)");
    assert_eq!(Schedule::parse("30 2 * * *").unwrap().zone(), "UTC");
}

#[test]
fn ticks_are_whole_seconds_after_the_instant() {
    for text in ["* * * * * *", "rate(1 second)"] {
        let schedule = schedule(text, "UTC");
        for (after, expected) in [
            ("2026-01-01T00:00:00.000000001Z", "2026-01-01T00:00:01Z"),
            ("2026-01-01T00:00:00.999999999Z", "2026-01-01T00:00:01Z"),
            ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"),
            ("1969-12-31T23:59:58.5Z", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(schedule.next_after(instant(after)), Some(instant(expected)), "{text}");
        }
    }
}

#[test]
fn the_end_of_time_has_no_ticks() {
    for text in ["* * * * *", "rate(1 day)", "at(2026-12-24T18:00:00)"] {
        let schedule = schedule(text, "Europe/Berlin");
        assert_eq!(schedule.next_after(Timestamp::MAX), None, "{text}");
        assert!(schedule.next_after(Timestamp::MIN).is_some(), "{text}");
    }
}

#[test]
fn a_time_that_has_passed_is_refused() {
    let schedule = schedule("at(2026-12-24T18:00:00)", "UTC");
    assert_eq!(schedule.check_after(instant("2026-12-24T17:59:59Z")), Ok(()));
    let past = schedule.check_after(instant("2026-12-24T18:00:00Z")).unwrap_err();
    assert_eq!(
        past.to_string(),
        "the schedule \"at(2026-12-24T18:00:00)\" has no tick after 2026-12-24T18:00:00Z; write a \
         time that is still to come"
    );
}

#[test]
fn an_error_says_what_would_be_right() {
    let lists = "* for all, a range a-b, a step */n or a-b/n with n inside the field, or a list of these with commas";
    let rate = "write a whole number and second, minute, hour or day, with an s unless the number \
                is 1, such as \"rate(5 minutes)\": at least 1 second and at most 366 days";
    for (text, expected) in [
        ("60 * * * *", format!("field 1 of 5, the minute, is \"60\"; write a number from 0 to 59, {lists}")),
        ("0 24 * * *", format!("field 2 of 5, the hour, is \"24\"; write a number from 0 to 23, {lists}")),
        (
            "0 0 32 * *",
            format!("field 3 of 5, the day of the month, is \"32\"; write a number from 1 to 31, L, LW, 15W, {lists}"),
        ),
        (
            "0 0 1 MON *",
            format!("field 4 of 5, the month, is \"MON\"; write a number from 1 to 12, a name such as JAN, {lists}"),
        ),
        (
            "0 0 * * MOND",
            format!("field 5 of 5, the weekday, is \"MOND\"; write a number from 0 (Sunday) to 6, a name such as MON, 5L, MON#2, {lists}"),
        ),
        (
            "0 18 ? * MON-FRI *",
            format!("field 3 of 6, the hour, is \"?\"; write a number from 0 to 23, {lists}; six fields begin with the second and have no year"),
        ),
        (
            "@daily",
            "a cron expression has 5 fields (minute, hour, day, month, weekday), or 6 with the second first; \"@daily\" has 1".into(),
        ),
        (
            "0 0 30 2 *",
            "the cron expression \"0 0 30 2 *\" never fires: no year has such a day; write one that has".into(),
        ),
        ("rate(0 seconds)", format!("the rate is \"0 seconds\"; {rate}")),
        ("rate(367 days)", format!("the rate is \"367 days\"; {rate}")),
        ("rate(1 minutes)", format!("the rate is \"1 minutes\"; {rate}")),
        ("rate(5 minute)", format!("the rate is \"5 minute\"; {rate}")),
        (
            "at(2026-12-24T18:00:00Z)",
            "the time is \"2026-12-24T18:00:00Z\"; write a date and a time without an offset, such as \"at(2026-12-24T18:00:00)\", and the zone beside it".into(),
        ),
        (
            "every(5 minutes)",
            "\"every(5 minutes)\" is no schedule; write a cron expression such as \"30 2 * * *\", \"rate(5 minutes)\" or \"at(2026-12-24T18:00:00)\"".into(),
        ),
    ] {
        assert_eq!(Schedule::parse(text).unwrap_err().to_string(), expected, "{text}");
    }
    let zone = Schedule::parse_in("* * * * *", "Europe/Berlim").unwrap_err();
    assert_eq!(
        zone.to_string(),
        "\"Europe/Berlim\" is no time zone; write a name of the IANA time zone database, such as \
         \"Europe/Berlin\" or \"UTC\""
    );
}

#[test]
fn the_longest_text_has_256_bytes() {
    let text = format!("{} * * * *", vec!["0"; 124].join(","));
    assert_eq!(text.len(), 255);
    assert!(Schedule::parse(&text).is_ok());
    let error = Schedule::parse(&format!("{text},,")).unwrap_err();
    assert_eq!(error.to_string(), "the schedule has 257 bytes; write at most 256");
}

#[test]
fn wrong_texts_are_refused() {
    for text in [
        "",
        " ",
        "()",
        "cron()",
        "cron(",
        ")",
        "* * * *",
        "* * * * * * *",
        "1,,2 * * * *",
        ", * * * *",
        "*/ * * * *",
        "/5 * * * *",
        "5/ * * * *",
        "*/0 * * * *",
        "0/5 * * * *",
        "*/60 * * * *",
        "*/90 * * * *",
        "0 0-12/24 * * *",
        "5-1 * * * *",
        "5-1/2 * * * *",
        "1-2-3 * * * *",
        "-5 * * * *",
        "+5 * * * *",
        "0 MON * * *",
        "0 0 0 * *",
        "0 0 1MON * *",
        "0 0 L-3 * *",
        "0 0 W * *",
        "0 0 32W * *",
        "0 0 5L * *",
        "0 0 * 0 *",
        "0 0 * 13 *",
        "0 0 * JANMAR *",
        "0 0 * JANUARY *",
        "0 0 * L *",
        "0 0 * * 8",
        "0 0 * * L",
        "0 0 * * MON#0",
        "0 0 * * MON#6",
        "0 0 * * MON#",
        "0 0 * * JAN",
        "0 0 +1 * *",
        "0 0 31 4,6,9,11 *",
        "0 0 30 2 +MON",
        "٣ * * * *",
        "0 0 * * MON\u{0}",
        "rate()",
        "rate(5)",
        "rate(minutes)",
        "rate(-5 minutes)",
        "rate(+5 minutes)",
        "rate(1.5 hours)",
        "rate(5 weeks)",
        "rate(5 minutess)",
        "rate(99999999999999999999 days)",
        "rate(9223372036854775807 days)",
        "at()",
        "at(2026-12-24)",
        "at(2026-12-24T18:00)",
        "at(2026-12-24T18:00:00.5)",
        "at(2026-02-30T18:00:00)",
        "at(2026-12-24T24:00:00)",
        "at(2026-12-24T18:00:00+01:00)",
        "at(2026-12-24T18:00:00[Europe/Berlin])",
    ] {
        assert!(Schedule::parse(text).is_err(), "{text:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[-0-9*/,?#LW+A-Z ()]{0,40}", zone in "[A-Za-z/_]{0,12}") {
        let _ = Schedule::parse(&text);
        let _ = Schedule::parse_in("* * * * *", &zone);
    }
}
