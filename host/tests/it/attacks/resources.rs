//! Guests that would have the host hold without end.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Host, Target};
use crate::components::Core;

#[tokio::test(flavor = "multi_thread")]
async fn memory_without_end() {
    let target = Target::guest("hostile").limits("memory_mib = 8");
    target
        .attacked(async |host| {
            let ended = host.get("/allocate").await.is(502, "memory_exceeded");
            assert!(ended.detail().ends_with("and the limit is 8 MiB (`memory_mib`)"));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_up_to_the_limit_by_dozens_at_once() {
    // 24 times 30 MiB, touched, are more than may stay.
    let core = Core {
        memory: "480",
        handle: "(memory.fill (i32.const 4096) (i32.const 1) (i32.const 30000000))",
        ..Core::default()
    };
    let target = Target::core(&core).limits("cpu_ms = 60_000");
    target
        .attacked(async |host| {
            let all = (0..24).map(|_| host.raw_reply(GET));
            let replies = futures_util::future::join_all(all).await;
            let count = |what: &str| replies.iter().filter(|reply| reply.contains(what)).count();
            let (fine, shed) =
                (count("lacewing-outcome: ok"), count("lacewing-outcome: load_shed"));
            assert!(fine > 0 && fine + shed == 24, "{fine} answered, {shed} shed: {replies:?}");
        })
        .await;
}

const GET: &str = "GET / HTTP/1.1\r\nhost: suspect.test\r\nconnection: close\r\n\r\n";

/// A component that needs so many of something besides its own, and spins.
fn greedy(count: usize, module: &str) -> Target {
    let core = Core {
        outer: format!("(core module $more {module})")
            + &"(core instance (instantiate $more))".repeat(count),
        handle: "(loop $for-ever (br $for-ever))",
        ..Core::default()
    };
    Target::core(&core).limits("cpu_ms = 60_000\ndeadline_ms = 200")
}

/// Dozens of such sandboxes at once: some run, the others are shed, and the neighbour's are no
/// fewer.
async fn grabs(target: Target) {
    target
        .attacked(async |host| {
            let all = (0..40).map(|_| host.raw_reply(GET));
            let replies = futures_util::future::join_all(all).await;
            let shed = replies.iter().filter(|reply| reply.contains("lacewing-outcome: load_shed"));
            let late = replies
                .iter()
                .filter(|reply| reply.contains("lacewing-outcome: deadline_exceeded"));
            let (shed, late) = (shed.count(), late.count());
            assert!(shed > 0 && late > 0 && shed + late == 40, "{shed} shed, {late} stopped");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_memories_in_each_sandbox() {
    grabs(greedy(7, "(memory (export \"m\") 1)")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tables_in_each_sandbox() {
    grabs(greedy(60, "(table (export \"t\") 1000 funcref)")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_end() {
    let core = Core {
        fields: "(table $t 10 funcref)".to_owned(),
        handle: "(loop $again
            (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))
            (unreachable))",
        ..Core::default()
    };
    let target = Target::core(&core).limits("table_elements = 20_000");
    target
        .attacked(async |host| {
            let detail = "a table of 20010 elements was asked for, and the limit is 20000 (`table_elements`)";
            host.get("/").await.is(502, "memory_exceeded").because(detail);
        })
        .await;
}

/// A request that ends in a trap with this detail.
async fn traps(target: Target, path: &str, detail: &str) {
    target.attacked(async |host| host.get(path).await.is(502, "trap").because(detail)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_of_the_hosts_resources() {
    let target = Target::guest("hostile").limits("handles = 64");
    traps(target, "/handles/100000", "more than 64 handles were held at once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_of_fields_without_number() {
    let target = Target::guest("hostile-02").limits("memory_mib = 8");
    target
        .attacked(async |host| {
            let ended = host.get("/maps/1000/60000").await.is(502, "memory_exceeded");
            let detail = "for the guest, and the limit is 8 MiB (`memory_mib`)";
            assert!(ended.because("the host's heap holds ").detail().ends_with(detail));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_on_their_way_out_without_number() {
    let target = Target::guest("hostile-02").limits("memory_mib = 8");
    target
        .attacked(async |host| {
            let ended = host.get("/bodies/300").await.is(502, "memory_exceeded");
            let detail = "for the guest, and the limit is 8 MiB (`memory_mib`)";
            assert!(ended.because("the host's heap holds ").detail().ends_with(detail));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_of_fields_by_dozens_at_once() {
    // 24 times 24 MB, each within its limits, on a host that has room for two of them.
    let target =
        Target::guest("hostile-02").limits("deadline_ms = 1000").settings("memory_mib = 200");
    target
        .attacked(async |host| {
            let before = host.up.memory_bytes("VmHWM:");
            let request =
                "GET /maps/400/60000 HTTP/1.1\r\nhost: suspect.test\r\nconnection: close\r\n\r\n";
            let replies =
                futures_util::future::join_all((0..24).map(|_| host.raw_reply(request))).await;
            let count = |what: &str| replies.iter().filter(|reply| reply.contains(what)).count();
            let (late, shed) = (
                count("lacewing-outcome: deadline_exceeded"),
                count("lacewing-outcome: load_shed"),
            );
            assert!(late > 0 && shed > 0 && late + shed == 24, "{late} late, {shed} shed");
            let grown = host.up.memory_bytes("VmHWM:").saturating_sub(before);
            assert!(grown < 256 << 20, "{} MiB", grown >> 20);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_provisioned() {
    // 30 MiB each, of 123 for sandboxes. A fourth would leave the neighbour too little.
    let core = Core { memory: "480", ..Core::default() };
    let target = Target::core(&core).limits("provisioned = 8").settings("memory_mib = 384");
    let host = Host::start(&target);
    for _ in 0..4 {
        host.until("lacewing_guest_memory_bytes", |bytes| bytes >= 88 << 20).await;
        host.neighbour_is_served().await;
        host.get("/").await.is(200, "ok");
        assert!(host.figure("lacewing_guest_memory_bytes").await <= 90 << 20);
    }
    assert!(host.figure("lacewing_pool_memories").await <= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_of_resources_of_its_own() {
    let core = Core {
        outer: "(type $r (resource (rep i32))) (core func $new (canon resource.new $r))".to_owned(),
        imports: "(import \"\" \"new\" (func $new (param i32) (result i32)))",
        with: "(with \"\" (instance (export \"new\" (func $new))))",
        handle: "(loop $again (drop (call $new (i32.const 1))) (br $again))",
        ..Core::default()
    };
    let says = "more than 64 handles were held at once";
    traps(Target::core(&core).limits("handles = 64"), "/", says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_futures_and_tasks_without_number() {
    // The number of handles bounds them, or else what they hold.
    for (limit, outcome) in [("handles = 1000", "trap"), ("memory_mib = 8", "memory_exceeded")] {
        for path in ["/streams/100000", "/futures/100000", "/tasks/100000"] {
            let limits = format!("cpu_ms = 5000\n{limit}");
            let target = Target::guest("hostile-03").limits(&limits);
            target
                .attacked(async |host| {
                    let before = host.records().len();
                    let reply = host.raw_reply(GET.replace(" / ", &format!(" {path} "))).await;
                    let record = host.record(before).await;
                    assert_eq!(record["outcome"], outcome, "{path}: {record} {reply}");
                })
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_without_number() {
    let target = Target::guest("hostile-02").limits("headers = 1024\nheader_kib = 1024");
    traps(target, "/fields/100000", "too many fields in the field map").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_without_end() {
    let target = Target::guest("hostile-02").limits("header_kib = 1");
    traps(target, "/field-bytes/10000000", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_without_number() {
    for guest in ["hostile-02", "hostile-03"] {
        let target = Target::guest(guest).limits("headers = 16\nheader_kib = 8");
        target
            .attacked(async |host| {
                let get = |path: &str| GET.replace(" / ", &format!(" {path} "));
                let fine = host.raw_reply(get("/trailers/1/10")).await;
                assert!(fine.starts_with("HTTP/1.1 200 OK\r\n"), "{fine}");
                assert_eq!(host.record(0).await["outcome"], "ok");
                for (nth, path) in ["/trailers/100/2", "/trailers/10/900"].into_iter().enumerate() {
                    let reply = host.raw_reply(get(path)).await;
                    let record = host.record(nth + 1).await;
                    assert_eq!(record["outcome"], "bad_response", "{guest}{path}: {record}");
                    assert!(record["detail"].as_str().unwrap().contains(" trailers"), "{record}");
                    assert!(!reply.ends_with("\r\n0\r\n\r\n"), "{reply}");
                }
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_without_number() {
    let target = Target::guest("hostile").limits("log_kib = 2");
    target
        .attacked(async |host| {
            host.get("/flood/10000").await.is(200, "ok");
            let lines = host.lines();
            assert_eq!(lines.len(), 21, "2 KiB are 20 lines of 100 bytes, and one says so");
            assert!(lines[20].starts_with("log limit of 2048 bytes reached"), "{}", lines[20]);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_line_without_end() {
    let target = Target::guest("hostile").limits("log_kib = 8");
    target
        .attacked(async |host| {
            host.get("/line/20000000").await.is(200, "ok");
            let bytes: usize = host.lines().iter().map(String::len).sum();
            assert!(bytes < 9 << 10, "{bytes}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_in_one_call() {
    let target = Target::guest("hostile").limits("random_kib = 1");
    traps(target, "/random/1000000000", "requested len 1000000000 exceeds limit 1024").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_larger_than_it_may_be() {
    for (limits, path) in [("response_body_kib = 1", "/bytes/1025"), ("", "/bytes/30000000")] {
        let target = Target::guest("hostile").limits(limits);
        target.attacked(async |host| host.get(path).await.is(502, "bad_response")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_larger_than_it_may_be() {
    for guest in ["portable-02", "portable-03"] {
        let target = Target::guest(guest).limits("response_body_kib = 64");
        target
            .attacked(async |host| {
                let reply = host.raw_reply(GET.replace(" / ", " /forever ")).await;
                assert!(reply.len() < 72 << 10, "{}", reply.len());
                assert!(!reply.ends_with("\r\n0\r\n\r\n"), "nobody takes it for whole");
                assert_eq!(host.record(0).await["outcome"], "bad_response");
            })
            .await;
    }
}

/// 60,000 fields that all are the same KiB of the guest's memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_larger_than_the_memory_it_is_in() {
    let core = Core {
        memory: "20",
        handle: "(local $n i32)
            (memory.fill (i32.const 8192) (i32.const 97) (i32.const 1024))
            (loop $again
                (i32.store offset=16384 (i32.shl (local.get $n) (i32.const 4)) (i32.const 8192))
                (i32.store offset=16388 (i32.shl (local.get $n) (i32.const 4)) (i32.const 1024))
                (i32.store offset=16392 (i32.shl (local.get $n) (i32.const 4)) (i32.const 8192))
                (i32.store offset=16396 (i32.shl (local.get $n) (i32.const 4)) (i32.const 1024))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $n) (i32.const 60000))))
            (i32.store (i32.const 4) (i32.const 16384))
            (i32.store (i32.const 8) (i32.const 60000))",
        ..Core::default()
    };
    let detail = "the guest returned more than ";
    let target = Target::core(&core);
    target.attacked(async |host| host.get("/").await.is(502, "bad_response").because(detail)).await;
}

/// Strings of other encodings are transcoded, and may become larger by it.
#[tokio::test(flavor = "multi_thread")]
async fn strings_that_have_to_be_transcoded() {
    // The highest bit of a length says which of its two encodings a string has.
    for (encoding, length) in [("utf16", "12000000"), ("latin1+utf16", "0x80b71b00")] {
        // One field whose name has 12 million code units, each three bytes in UTF-8.
        let handle = format!(
            "(memory.fill (i32.const 65536) (i32.const 0x21) (i32.const 24000000))
                (i32.store (i32.const 3072) (i32.const 65536))
                (i32.store (i32.const 3076) (i32.const {length}))
                (i32.store (i32.const 3080) (i32.const 0))
                (i32.store (i32.const 3084) (i32.const 0))
                (i32.store (i32.const 4) (i32.const 3072))
                (i32.store (i32.const 8) (i32.const 1))"
        );
        let handle = Box::leak(handle.into_boxed_str());
        let core = Core { memory: "500", encoding, handle, ..Core::default() };
        let target = Target::core(&core);
        target
            .attacked(async |host| {
                host.get("/")
                    .await
                    .is(502, "bad_response")
                    .because("the guest returned more than ");
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_larger_than_their_limits() {
    let target =
        Target::guest("hostile").limits("request_body_kib = 1\nheaders = 20\nheader_kib = 1");
    target
        .attacked(async |host: &Host| {
            let body = vec![b'x'; 1 << 20];
            let post = async |headers, body| host.send(Method::POST, "/body", headers, body).await;
            post(HeaderMap::new(), body).await.is(413, "bad_request");
            let name = |n| HeaderName::try_from(format!("x-{n}")).unwrap();
            let many = (0..30).map(|n| (name(n), HeaderValue::from_static("v"))).collect();
            post(many, Vec::new()).await.is(431, "bad_request");
            let long = HeaderValue::try_from("v".repeat(2000)).unwrap();
            post([(name(0), long)].into_iter().collect(), Vec::new()).await.is(431, "bad_request");
        })
        .await;
}
