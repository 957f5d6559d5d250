//! The queue of the log when standard error is slow.

use std::sync::{Mutex, mpsc};

use super::*;

/// Lets one write through per permit; goes on without when there will be no more.
struct Gated {
    permits: mpsc::Receiver<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.permits.recv();
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_tenant_that_fills_the_queue_takes_no_line_from_others() {
    let (open, permits) = mpsc::channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let (writer, guard) = LogWriter::start(Gated { permits, written: written.clone() }).unwrap();
    let [noisy, quiet] = [(); 2].map(|()| writer.budgets().shares(&Weight::new(1)));
    let long = [&[b'x'; 256 * 1024 - 1][..], b"\n"].concat();
    for _ in 0..100 {
        writer.line(LineOwner::Guest(&noisy), &long);
    }
    for _ in 0..30_000 {
        writer.line(LineOwner::Record(&noisy), b"a record\n");
    }
    let dropped = writer.dropped_lines();
    assert!(dropped > 50 + 15_000, "{dropped}");
    for _ in 0..100 {
        writer.line(LineOwner::Guest(&quiet), b"quiet\n");
        writer.line(LineOwner::Record(&quiet), b"quiet too\n");
        writer.line(LineOwner::Host, b"the host\n");
    }
    assert_eq!(writer.dropped_lines(), dropped);
    drop(open);
    drop(guard);
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    for line in ["quiet", "quiet too", "the host"] {
        assert_eq!(text.lines().filter(|have| *have == line).count(), 100, "{line}");
    }
    assert_eq!(text.lines().count() as u64 + dropped, 100 + 30_000 + 300);
    let budgets = writer.budgets();
    assert_eq!((budgets.guests.used(), budgets.records.used()), (0, 0));
}

#[test]
fn lines_after_the_end_are_dropped_and_counted() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let (open, permits) = mpsc::channel();
    drop(open);
    let (writer, guard) = LogWriter::start(Gated { permits, written: written.clone() }).unwrap();
    writer.line(LineOwner::Host, b"first\n");
    drop(guard);
    writer.line(LineOwner::Host, b"second\n");
    assert_eq!(written.lock().unwrap().as_slice(), b"first\n");
    assert_eq!(writer.dropped_lines(), 1);
}

#[test]
fn requests_without_a_route_take_no_line_from_the_host() {
    let (open, permits) = mpsc::channel();
    let (writer, guard) = LogWriter::start(Gated { permits, written: Arc::default() }).unwrap();
    for _ in 0..60_000 {
        writer.line(LineOwner::Unrouted, b"404\n");
    }
    let dropped = writer.dropped_lines();
    assert!(dropped > 15_000, "{dropped}");
    let tenant = writer.budgets().shares(&Weight::new(1));
    for _ in 0..100 {
        writer.line(LineOwner::Host, b"the host\n");
        writer.line(LineOwner::Record(&tenant), b"a record\n");
    }
    assert_eq!(writer.dropped_lines(), dropped);
    drop((open, guard));
}
