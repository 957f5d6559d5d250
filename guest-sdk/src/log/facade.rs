//! The `log` crate's records.

use ::log::kv::{self, Key, Value, VisitSource};
use ::log::{Level, LevelFilter, Log, Metadata, Record};

use super::Line;

struct Stderr;

/// Everything down to `debug` is on: the host decides what it keeps.
pub(super) fn install() {
    // It fails where the user has set another logger, which then is what was wanted.
    if ::log::set_logger(&Stderr).is_ok() {
        ::log::set_max_level(LevelFilter::Debug);
    }
}

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        line(record).write();
    }

    fn flush(&self) {}
}

fn line(record: &Record<'_>) -> Line {
    let level = match record.level() {
        Level::Error => super::ERROR,
        Level::Warn => super::WARN,
        Level::Info => super::INFO,
        Level::Debug | Level::Trace => super::DEBUG,
    };
    let mut line = Line::new(level, record.target(), record.args());
    // A pair that cannot be written is left out; ours always can.
    let _ = record.key_values().visit(&mut Pairs(&mut line));
    line
}

struct Pairs<'a>(&'a mut Line);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.pair(key.as_str(), &value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_level_target_message_and_pairs() {
        let pairs: &[(&str, Value<'_>)] =
            &[("order", Value::from(7)), ("by", Value::from("Ada L."))];
        let mut record = Record::builder();
        record.level(Level::Warn).target("shop::orders").key_values(&pairs);
        let record = record.args(format_args!("late\nagain")).build();
        assert_eq!(line(&record).0, "<4>shop::orders: late\\nagain order=7 by=\"Ada L.\"");
    }
}
