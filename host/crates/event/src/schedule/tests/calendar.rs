//! Random expressions against a walk through each minute of the clock.

use std::collections::BTreeSet;

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, date},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use proptest::{prelude::*, sample::select};

use super::super::Schedule;

/// A field as its text and its values.
#[derive(Clone, Debug)]
struct Field {
    text: String,
    values: BTreeSet<i8>,
}

fn field(low: i8, high: i8) -> impl Strategy<Value = Field> {
    let all = Just(Field { text: "*".into(), values: (low..=high).collect() });
    let step = (1..=high / 2).prop_map(move |step| Field {
        text: format!("*/{step}"),
        values: (low..=high).step_by(step as usize).collect(),
    });
    let range = (low..=high, low..=high, 1..5_usize).prop_map(|(one, other, step)| {
        let (from, to) = (one.min(other), one.max(other));
        let text = if step == 1 { format!("{from}-{to}") } else { format!("{from}-{to}/{step}") };
        Field { text, values: (from..=to).step_by(step).collect() }
    });
    let list = prop::collection::btree_set(low..=high, 1..4).prop_map(|values| Field {
        text: values.iter().map(i8::to_string).collect::<Vec<_>>().join(","),
        values,
    });
    prop_oneof![2 => all, 1 => step, 1 => range, 3 => list]
}

/// Minute, hour, day, month and weekday.
type Fields = (Field, Field, Field, Field, Field);

/// Whether a day or a weekday is not restricted.
fn is_open(field: &Field) -> bool {
    matches!(field.text.as_str(), "*" | "*/1")
}

fn matches((minute, hour, day, month, weekday): &Fields, clock: DateTime) -> bool {
    let day_matches = day.values.contains(&clock.day());
    let weekday_matches = weekday.values.contains(&clock.weekday().to_sunday_zero_offset());
    minute.values.contains(&clock.minute())
        && hour.values.contains(&clock.hour())
        && month.values.contains(&clock.month())
        && match (is_open(day), is_open(weekday)) {
            (false, false) => day_matches || weekday_matches,
            _ => day_matches && weekday_matches,
        }
}

/// Whether some year has a day that matches: each weekday comes in each month.
fn fires((_, _, day, month, weekday): &Fields) -> bool {
    let exists = |month: i8| day.values.iter().any(|day| Date::new(2028, month, *day).is_ok());
    !is_open(weekday) || month.values.iter().any(|month| exists(*month))
}

/// The ticks of a span of the clock, minute by minute.
fn walked(fields: &Fields, zone: &TimeZone, from: DateTime, to: DateTime) -> Vec<Timestamp> {
    let is_fixed = !fields.0.text.contains('*') && !fields.1.text.contains('*');
    let mut ticks = BTreeSet::new();
    let minutes = from.series(1.minute()).take_while(|clock| *clock < to);
    for clock in minutes.filter(|clock| matches(fields, *clock)) {
        let ambiguous = zone.to_ambiguous_timestamp(clock);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                ticks.insert(offset.to_timestamp(clock).unwrap());
            }
            AmbiguousOffset::Fold { before, after } => {
                ticks.insert(before.to_timestamp(clock).unwrap());
                if !is_fixed {
                    ticks.insert(after.to_timestamp(clock).unwrap());
                }
            }
            AmbiguousOffset::Gap { .. } if is_fixed => {
                let mut later = clock.series(1.minute());
                ticks.extend(
                    later.find_map(|clock| zone.to_ambiguous_timestamp(clock).unambiguous().ok()),
                );
            }
            AmbiguousOffset::Gap { .. } => {}
        }
    }
    ticks.into_iter().collect()
}

/// Days around changes of the clock.
const CHANGES: [(&str, i16, i8, i8); 12] = [
    ("Europe/Berlin", 2026, 3, 29),
    ("Europe/Berlin", 2026, 10, 25),
    ("America/New_York", 2026, 3, 8),
    ("America/New_York", 2026, 11, 1),
    ("Australia/Lord_Howe", 2026, 4, 5),
    ("Australia/Lord_Howe", 2026, 10, 4),
    ("America/St_Johns", 2026, 11, 1),
    ("Africa/Casablanca", 2026, 2, 15),
    ("Africa/Cairo", 2026, 4, 24),
    ("America/Havana", 2026, 11, 1),
    ("Antarctica/Troll", 2026, 3, 29),
    ("Pacific/Apia", 2011, 12, 30),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn ticks_are_those_of_a_walk(
        fields in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
        narrow in any::<bool>(),
        hours in prop::collection::btree_set(0..4_i8, 1..3),
        (zone, year, month, day) in select(&CHANGES[..]),
        start in 0..(5 * 24 * 60 * 60_i32),
    ) {
        let mut fields = fields;
        if narrow {
            // Changes of the clock are at night.
            let text = hours.iter().map(i8::to_string).collect::<Vec<_>>().join(",");
            fields.1 = Field { text, values: hours };
            fields.3 = Field { text: "*".into(), values: (1..=12).collect() };
        }
        let (minute, hour, day_field, month_field, weekday) = &fields;
        let text = format!(
            "{} {} {} {} {}",
            minute.text, hour.text, day_field.text, month_field.text, weekday.text
        );
        let time_zone = TimeZoneDatabase::bundled().get(zone).unwrap();
        let change = date(year, month, day).at(0, 0, 0, 0);
        let (from, to) = (change - 4.days(), change + 4.days());
        let start = time_zone.to_timestamp(change - 3.days()).unwrap() + start.seconds();
        let end = time_zone.to_timestamp(change + 3.days()).unwrap();
        let is_inside = |tick: &Timestamp| *tick > start && *tick <= end;
        let mut expected = walked(&fields, &time_zone, from, to);
        expected.retain(is_inside);
        let parsed = Schedule::parse_in(&text, zone);
        prop_assert_eq!(parsed.is_ok(), fires(&fields), "{}", text);
        let ticks = parsed.iter().flat_map(|schedule| schedule.after(start));
        let found: Vec<_> = ticks.take_while(|tick| *tick <= end).collect();
        prop_assert_eq!(found, expected, "{} in {}", text, zone);
    }
}
