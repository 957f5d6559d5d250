//! Answers and syncs of the disk, in the order in which a real host asks the system for them.

use std::{collections::HashMap, fs, process::Command};

use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty};

use crate::{
    client::exchange,
    harness::{eventually, guest},
    process::Up,
    up::arg,
};

/// What a host did, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// Bytes are in the write-ahead log.
    Logged(String),
    /// A sync of the log begins, in a thread.
    SyncBegins(String),
    /// A sync of the log has succeeded.
    Synced(String),
    /// Bytes go to a client.
    Answers(String),
}

/// The events of a trace by `strace -f -y`.
fn events(trace: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut begun: HashMap<&str, String> = HashMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        // A call in which another thread's came between stands in two lines.
        let (text, is_begin, is_end) = match call.strip_prefix("<... ") {
            Some(rest) => (begun.remove(thread).unwrap_or_default() + rest, false, true),
            None => (call.to_owned(), true, !call.contains("<unfinished ...>")),
        };
        let is_sync = text.starts_with("fdatasync(") || text.starts_with("fsync(");
        let is_log = text.contains("state.db-wal>");
        if is_begin && text.contains("\"HTTP/1.1 ") {
            events.push(Event::Answers(text.clone()));
        }
        if is_begin && is_sync && is_log {
            events.push(Event::SyncBegins(thread.to_owned()));
        }
        if is_end && is_sync && is_log && text.trim_end().ends_with("= 0") {
            events.push(Event::Synced(thread.to_owned()));
        }
        if is_end && !is_sync && is_log && !text.contains("= -1") {
            events.push(Event::Logged(text.clone()));
        }
        if !is_end {
            begun.insert(thread, text);
        }
    }
    events
}

/// The tokens whose answer left before a sync that covers their write was done.
fn too_early<'a>(events: &[Event], tokens: &'a [String]) -> Vec<&'a String> {
    let place = |from: usize, wanted: &dyn Fn(&Event) -> bool| {
        events[from..].iter().position(wanted).map(|at| from + at)
    };
    let is_in_order = |token: &str| {
        let logged =
            place(0, &|event| matches!(event, Event::Logged(text) if text.contains(token)))?;
        let sync = place(logged, &|event| matches!(event, Event::SyncBegins(_)))?;
        let Event::SyncBegins(thread) = &events[sync] else { return None };
        let synced = place(sync, &|event| *event == Event::Synced(thread.clone()))?;
        let answers = |event: &Event| matches!(event, Event::Answers(text) if text.contains(token));
        let answered = place(0, &answers)?;
        (answered > synced).then_some(())
    };
    tokens.iter().filter(|token| is_in_order(token).is_none()).collect()
}

#[test]
fn a_trace_without_a_sync_in_time_is_found_out() {
    let trace = |lines: [&str; 4]| events(&lines.join("\n"));
    let log = "7 write(5</s/state.db-wal>, \"token\", 4096) = 4096";
    let begins = "7 fdatasync(5</s/state.db-wal> <unfinished ...>";
    let synced = "7 <... fdatasync resumed>) = 0";
    let answer = "8 sendto(9<socket:[1]>, \"HTTP/1.1 204\\r\\nx: token\", 9, 0, NULL, 0) = 9";
    let tokens = ["token".to_owned()];
    assert_eq!(too_early(&trace([log, begins, synced, answer]), &tokens), [&"token"; 0]);
    for wrong in [
        [log, begins, answer, synced],
        [begins, log, synced, answer],
        [log, begins, "7 <... fdatasync resumed>) = -1 EIO", answer],
        [log, answer, begins, synced],
    ] {
        assert_eq!(too_early(&trace(wrong), &tokens), [&tokens[0]], "{wrong:?}");
    }
}

/// Why the system calls of a host cannot be watched here.
fn cannot_trace() -> Option<String> {
    match Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_leaves_before_the_sync_that_covers_it() {
    if let Some(reason) = cannot_trace() {
        eprintln!("skipped: strace cannot run: {reason}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let manifest = format!(
        "app = \"shop\"\n[kv.things]\n[functions.writer]\ncomponent = {:?}\nroutes = [\"/{{*rest}}\"]\ngrants.kv = {{ things = \"read-write\" }}\n",
        guest("state")
    );
    fs::write(dir.path().join("lacewing.toml"), manifest).unwrap();
    let trace = dir.path().join("trace");
    let calls = "trace=write,writev,pwrite64,pwritev,sendto,sendmsg,fsync,fdatasync";
    // `-D`: the host is the child of this test, and strace one of the host.
    let strace =
        ["strace", "-D", "-f", "-qq", "-y", "-s", "100000", "-e", calls, "-o", arg(&trace)];
    let up = Up::within(&strace, &[arg(dir.path())]).serving();
    let clients = (0..8).map(|client| {
        let address = up.address;
        async move {
            let mut tokens = Vec::new();
            for n in 0..20 {
                let token = format!("token-{client}-{n}-end");
                let request = Request::get(format!("/put/{token}/1"))
                    .header("host", "localhost")
                    .header("x-request-id", &token);
                let answer = exchange(address, request.body(Empty::new().boxed_unsync()).unwrap());
                let answer = answer.await;
                assert_eq!(answer.status(), 204);
                assert_eq!(answer.headers()["x-request-id"], *token);
                tokens.push(token);
            }
            tokens
        }
    });
    let tokens = join_all(clients).await.concat();
    drop(up);
    // strace writes its last lines after the host has gone.
    let last = tokens.last().unwrap();
    let traced = || fs::read_to_string(&trace).unwrap();
    eventually("the trace has all answers", || {
        traced().lines().any(|line| line.contains("HTTP/1.1") && line.contains(last))
    })
    .await;
    let events = events(&traced());
    assert_eq!(too_early(&events, &tokens), [&""; 0]);
    // Had the host not synced, it would show.
    let is_sync = |event: &Event| matches!(event, Event::Synced(_));
    let unsynced: Vec<Event> = events.into_iter().filter(|event| !is_sync(event)).collect();
    assert_eq!(too_early(&unsynced, &tokens).len(), tokens.len());
}
