//! Fields of a cron expression, each checked by itself.

use croner::{Cron, CronComponent, CronPattern};

use super::ScheduleError;

/// One of the six fields.
struct Field {
    name: &'static str,
    values: &'static str,
    /// Whether a part of the field that is no number has a meaning.
    is_word: fn(&str) -> bool,
    component: fn(&CronPattern) -> &CronComponent,
}

const FIELDS: [Field; 6] = [
    Field {
        name: "second",
        values: "a number from 0 to 59",
        is_word: |_| false,
        component: |pattern| &pattern.seconds,
    },
    Field {
        name: "minute",
        values: "a number from 0 to 59",
        is_word: |_| false,
        component: |pattern| &pattern.minutes,
    },
    Field {
        name: "hour",
        values: "a number from 0 to 23",
        is_word: |_| false,
        component: |pattern| &pattern.hours,
    },
    Field {
        name: "day of the month",
        values: "a number from 1 to 31, L, LW, 15W",
        is_word: |word| {
            matches!(word, "?" | "L" | "LW") || word.strip_suffix('W').is_some_and(is_number)
        },
        component: |pattern| &pattern.days,
    },
    Field {
        name: "month",
        values: "a number from 1 to 12, a name such as JAN",
        is_word: |word| MONTHS.contains(&word),
        component: |pattern| &pattern.months,
    },
    Field {
        name: "weekday",
        values: "a number from 0 (Sunday) to 6, a name such as MON, 5L, MON#2",
        is_word: |word| {
            let day = word.strip_suffix('L').unwrap_or(word);
            word == "?" || WEEKDAYS.contains(&day) || is_number(day)
        },
        component: |pattern| &pattern.days_of_week,
    },
];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Refuses the first field that has no meaning.
pub(super) fn check(text: &str) -> Result<(), ScheduleError> {
    let found: Vec<&str> = text.split_whitespace().collect();
    let of = found.len();
    let fields = match of {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        _ => return Err(ScheduleError::Fields { text: text.into(), found: of }),
    };
    for (index, (field, text)) in fields.iter().zip(found).enumerate() {
        if !field.is_meaningful(text, FIELDS.len() - of + index) {
            let (position, found) = (index + 1, text.to_owned());
            let Field { name, values, .. } = *field;
            return Err(ScheduleError::Field { position, of, name, found, values });
        }
    }
    Ok(())
}

impl Field {
    /// Whether the field has values. Croner reads names anywhere and skips empty parts, so the
    /// words are checked first. Croner's errors do not name the field, so it is parsed alone.
    fn is_meaningful(&self, text: &str, index: usize) -> bool {
        let text = text.to_ascii_uppercase();
        let words = text.strip_prefix('+').filter(|_| self.name == "weekday").unwrap_or(&text);
        let is_word = |word: &str| word == "*" || is_number(word) || (self.is_word)(word);
        if !words.split([',', '-', '/', '#']).all(is_word) {
            return false;
        }
        let mut alone = ["*"; FIELDS.len()];
        alone[index] = &text;
        alone.join(" ").parse::<Cron>().is_ok_and(|cron| {
            let component = (self.component)(&cron.pattern);
            let size = component.max - component.min + 1;
            let is_inside = |step: &str| step.parse::<u16>().is_ok_and(|step| step < size);
            let mut steps = text.split(',').filter_map(|item| item.split_once('/'));
            // A step of 90 minutes would be one of an hour.
            steps.all(|(_, step)| is_inside(step))
                && (component.has_modifiers() || !component.values().is_empty())
        })
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}
