//! Events of the `tracing` crate.
//!
//! Spans are known by number only, so that `#[instrument]` works; their fields are not part of a
//! record.

use std::fmt::{self, Debug, Display};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

use super::Line;

struct Stderr {
    spans: AtomicU64,
}

pub(super) fn install() {
    // It fails where the user has set another subscriber, which then is what was wanted.
    let _ = dispatcher::set_global_default(Dispatch::new(Stderr { spans: AtomicU64::new(1) }));
}

impl Subscriber for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        line(event).write();
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn line(event: &Event<'_>) -> Line {
    let metadata = event.metadata();
    let level = match *metadata.level() {
        Level::ERROR => super::ERROR,
        Level::WARN => super::WARN,
        Level::INFO => super::INFO,
        _ => super::DEBUG,
    };
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut line = Line::new(level, metadata.target(), &fields.message);
    for (name, value) in fields.pairs {
        line.pair(name, &value);
    }
    line
}

/// The message of an event and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    pairs: Vec<(&'static str, String)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &dyn Display) {
        match field.name() {
            "message" => self.message = value.to_string(),
            name => self.pairs.push((name, value.to_string())),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, &AsDebug(value));
    }
}

struct AsDebug<'a>(&'a dyn Debug);

impl Display for AsDebug<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps the lines instead of writing them.
    struct Kept(Stderr, Arc<Mutex<Vec<String>>>);

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            self.0.enabled(metadata)
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            self.0.new_span(span)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            self.1.lock().unwrap().push(line(event).0);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn an_event_has_level_target_message_and_fields() {
        let lines = Arc::default();
        let kept = Kept(Stderr { spans: AtomicU64::new(1) }, Arc::clone(&lines));
        tracing::subscriber::with_default(kept, || {
            let _span = tracing::info_span!("handling", order = 7).entered();
            tracing::error!(target: "shop", order = 7, by = "Ada L.", late = ?Some(1), "no answer");
            tracing::trace!("not for the host");
        });
        let lines = lines.lock().unwrap();
        assert_eq!(*lines, [r#"<3>shop: no answer order=7 by="Ada L." late=Some(1)"#]);
    }
}
