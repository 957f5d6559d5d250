//! Guests and clients that would have the host hold memory for them which no limit counts.

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::net::TcpStream;

use super::{Host, Target, http2};
use crate::tenants::SUSPECT;

const MIB: u64 = 1 << 20;

/// An operator who allows what the default caps do not.
const MANY_HANDLES: &str = "[caps]\nhandles = 1_000_000";

/// Asks for each of these paths, which make the host hold more than the 8 MiB of the function's
/// memory.
async fn holds_too_much(guest: &str, paths: &[&str]) {
    Target::guest(guest)
        .settings(MANY_HANDLES)
        .limits("memory_mib = 8\nhandles = 1_000_000\nheader_kib = 1024\ncpu_ms = 10_000")
        .attacked(async |host| {
            for path in paths {
                let ended = host.get(path).await.is(502, "memory_exceeded");
                let detail = ended.detail().to_owned();
                assert!(detail.starts_with("the host's heap holds "), "{path}: {detail}");
                assert!(detail.ends_with(" MiB (`memory_mib`)"), "{path}: {detail}");
                let peak = ended.record["memory_peak_bytes"].as_u64().unwrap();
                assert!(peak > 8 * MIB && peak < 20 * MIB, "{path}: {}", ended.record);
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_requests_that_are_never_sent() {
    holds_too_much(
        "hostile-02",
        &["/methods/700/1000000", "/authorities/700/60000", "/paths/700/60000"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_requests_that_are_never_sent_in_wasi_03() {
    holds_too_much("hostile-03", &["/methods/700/1000000"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_of_a_mib_between_two_looks() {
    holds_too_much("hostile-02", &["/maps/3000/1000000", "/responses/3000/1000000"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_by_the_million() {
    holds_too_much("hostile-02", &["/timers/1000000"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_by_the_million_in_wasi_03() {
    Target::guest("hostile-03")
        .settings(MANY_HANDLES)
        .limits("memory_mib = 64\nhandles = 1_000_000\ncpu_ms = 20_000\ndeadline_ms = 60_000")
        .attacked(async |host| {
            for path in ["/streams/1000000", "/futures/1000000", "/unread/1000000"] {
                let ended = host.get(path).await.is(502, "memory_exceeded");
                let peak = ended.record["memory_peak_bytes"].as_u64().unwrap();
                assert!(peak < 140 * MIB, "{path}: {}", ended.record);
            }
        })
        .await;
}

/// The memory of a host is a promise: its resident memory is a tenth and 64 MiB over it at most.
struct Promise {
    memory_mib: u64,
}

impl Promise {
    fn settings(&self) -> String {
        format!("memory_mib = {}", self.memory_mib)
    }

    fn is_kept(&self, host: &Host) {
        let resident = host.up.memory_bytes("VmHWM:");
        let most = self.memory_mib * MIB / 10 * 11 + 64 * MIB;
        assert!(resident <= most, "{} MiB resident of {}", resident / MIB, self.memory_mib);
    }
}

const PROMISE: Promise = Promise { memory_mib: 512 };

/// Asks for a path on a connection of its own. Gives the whole reply.
async fn asked(host: &Host, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n\r\n");
    host.raw_reply(request).await
}

/// Half a GiB of pages for a few MiB of blocks: one block of every page stays, and no account shows
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn pages_that_one_block_each_keeps() {
    const PROMISE: Promise = Promise { memory_mib: 192 };
    Target::guest("hostile-02")
        .limits("memory_mib = 64\nheader_kib = 1024\ndeadline_ms = 120_000\ncpu_ms = 120_000")
        .settings(&PROMISE.settings())
        .attacked(async |host| {
            let ended = host.get("/fragments/16/30").await.is(503, "load_shed");
            let detail = ended.detail().to_owned();
            assert!(
                detail.starts_with("the host's resident memory was over its limit"),
                "{detail}"
            );
            PROMISE.is_kept(host);
        })
        .await;
}

/// The same in smaller parts, by a dozen guests at once.
#[tokio::test(flavor = "multi_thread")]
async fn pages_that_one_block_each_keeps_by_a_dozen_at_once() {
    const PROMISE: Promise = Promise { memory_mib: 192 };
    Target::guest("hostile-02")
        .limits("memory_mib = 64\nheader_kib = 1024\ndeadline_ms = 120_000\ncpu_ms = 120_000")
        .settings(&PROMISE.settings())
        .attacked(async |host| {
            let mut replies: FuturesUnordered<_> =
                (0..12).map(|_| asked(host, "/fragments/16/12")).collect();
            // The first one is enough: the others may go on until their deadlines.
            let reply = replies.next().await.unwrap();
            assert!(reply.contains("lacewing-outcome: load_shed"), "{reply}");
            PROMISE.is_kept(host);
        })
        .await;
}

/// Each within its own limits, all together far over the host's.
#[tokio::test(flavor = "multi_thread")]
async fn heaps_by_dozens_at_once() {
    Target::guest("hostile-02")
        .limits("deadline_ms = 3000\ncpu_ms = 3000")
        .settings(&PROMISE.settings())
        .attacked(async |host| {
            let replies =
                futures_util::future::join_all((0..25).map(|_| asked(host, "/methods/60/1000000")))
                    .await;
            let shed = replies.iter().filter(|reply| reply.contains("lacewing-outcome: load_shed"));
            assert!(shed.count() > 0, "{replies:?}");
            PROMISE.is_kept(host);
        })
        .await;
}

/// Opens connections that ask for a response on each of 100 streams and read none of them.
async fn unread(host: &Host, connections: usize, path: &str) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..connections {
        sockets.push(host.raw(http2::without_window(SUSPECT, path, 100)).await);
    }
    sockets
}

/// Small responses, which their tenant is not charged for, on streams whose windows are shut.
#[tokio::test(flavor = "multi_thread")]
async fn small_responses_on_streams_that_are_not_read() {
    Target::guest("hostile")
        .settings(&PROMISE.settings())
        .attacked(async |host| {
            let sockets = unread(host, 200, "/bytes/16000").await;
            host.until("lacewing_connections_heap_bytes", |bytes| bytes > 32 * MIB).await;
            PROMISE.is_kept(host);
            assert!(host.figure("lacewing_connections_heap_bytes").await <= 72 * MIB);
            drop(sockets);
        })
        .await;
}

/// The same with what is in the head.
#[tokio::test(flavor = "multi_thread")]
async fn large_heads_on_streams_that_are_not_read() {
    Target::guest("hostile")
        .limits("header_kib = 64")
        .settings(&PROMISE.settings())
        .attacked(async |host| {
            let sockets = unread(host, 200, "/field-bytes/15000").await;
            host.until("lacewing_invocations_in_flight", |count| count == 0).await;
            PROMISE.is_kept(host);
            drop(sockets);
        })
        .await;
}

/// The same with what guests left behind that have ended.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_ended_guests_left_unread() {
    Target::guest("hostile-02")
        .limits("concurrency = 16")
        .settings(&PROMISE.settings())
        .attacked(async |host| {
            let sockets = unread(host, 40, "/left/60000").await;
            host.until("lacewing_invocations_in_flight", |count| count == 0).await;
            PROMISE.is_kept(host);
            drop(sockets);
        })
        .await;
}

/// Requests that are pipelined, and whose responses are not read.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_responses_that_are_not_read() {
    Target::guest("hostile")
        .settings(&PROMISE.settings())
        .attacked(async |host| {
            let request =
                format!("GET /bytes/16000 HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\n").repeat(50);
            let mut sockets = Vec::new();
            for _ in 0..400 {
                sockets.push(host.raw(&request).await);
            }
            host.until("lacewing_invocations_in_flight", |count| count == 0).await;
            PROMISE.is_kept(host);
            drop(sockets);
        })
        .await;
}

/// Bodies that clients send ahead of what is read, to a function that reads none of it.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_not_read() {
    Target::guest("portable-02")
        .limits("deadline_ms = 3000")
        .settings(&PROMISE.settings())
        .attacked(async |host| {
            let mut sockets = Vec::new();
            for _ in 0..100 {
                sockets.push(host.raw(http2::uploads_ahead(SUSPECT, "/sleep", 4)).await);
            }
            host.until("lacewing_invocations_in_flight", |count| count > 0).await;
            host.until("lacewing_invocations_in_flight", |count| count == 0).await;
            PROMISE.is_kept(host);
            drop(sockets);
        })
        .await;
}

/// Calls of the host one behind the other, without a loop or a function between them where a tick
/// could stop the guest.
pub(super) fn straight_line(before: &str, call: &str, times: usize) -> String {
    let calls = format!("{before}{}", call.repeat(times));
    include_str!("../../../fuzz/targets/storm.wat")
        .replacen(
            "(local $at i32) (local $end i32)",
            "(local $h i32) (local $at i32) (local $end i32)",
            1,
        )
        .replacen("(block $over", &format!("{calls}(block $over"), 1)
}

async fn straight_line_holds_too_much(before: &str, call: &str) {
    Target::text(&straight_line(before, call, 300))
        .settings(MANY_HANDLES)
        .limits("memory_mib = 8\nhandles = 1_000_000\nheader_kib = 1024\ncpu_ms = 10_000")
        .attacked(async |host| {
            let ended = host.get("/").await;
            // A MiB of linear memory, the limit, and what two calls hand over.
            let peak = ended.record["memory_peak_bytes"].as_u64().unwrap();
            assert!(peak < 12 * MIB, "{}", ended.record);
            // On a slow machine the limit on one step comes first.
            if ended.record["outcome"] == "cpu_exceeded" {
                ended.is(504, "cpu_exceeded").because("the guest called the host for 20 ms");
            } else {
                assert!(peak > 8 * MIB, "{}", ended.record);
                ended.is(502, "memory_exceeded").because("the host's heap holds ");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_without_a_tick_between_them() {
    let call = "(drop (call $set-authority (call $request (call $fields)) (i32.const 1) (i32.const 0x20000) (i32.const 60000)))";
    straight_line_holds_too_much("", call).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_schemes_without_a_tick_between_them() {
    let call = "(local.set $h (call $request (call $fields)))
        (drop (call $set-method (local.get $h) (i32.const 9) (i32.const 0x20000) (i32.const 250000)))
        (drop (call $set-scheme (local.get $h) (i32.const 1) (i32.const 2) (i32.const 0x20000) (i32.const 250000)))";
    straight_line_holds_too_much("", call).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_without_a_tick_between_them() {
    let call = "(call $from-list (i32.const 0x60000) (i32.const 80) (i32.const 0x8100))";
    straight_line_holds_too_much("(call $describe (i32.const 5000))", call).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_without_a_tick_between_them() {
    let call = "(call $append (call $fields) (i32.const 0x20000) (i32.const 5)
        (i32.const 0x20000) (i32.const 250000) (i32.const 0x8100))";
    straight_line_holds_too_much("", call).await;
}
