//! Guests that would never end.

use super::{Host, Target};
use crate::components::Core;

const CPU: &str = "the CPU budget is spent";
const DEADLINE: &str = "the deadline has passed";

/// One request that ends as it has to.
async fn ends(target: Target, path: &str, outcome: &str, detail: &str) {
    let status = if outcome == "trap" { 502 } else { 504 };
    target.attacked(async |host| host.get(path).await.is(status, outcome).because(detail)).await;
}

/// As [`ends`], for a guest that has sent its head before.
async fn ends_late(target: Target, path: &str, outcome: &str, detail: &str) {
    target
        .attacked(async |host: &Host| {
            let request = format!("GET {path} HTTP/1.1\r\nhost: suspect.test\r\n\r\n");
            let socket = host.raw(request).await;
            let record = host.record(0).await;
            assert_eq!(record["outcome"], outcome, "{record}");
            assert!(record["detail"].as_str().unwrap().starts_with(detail), "{record}");
            drop(socket);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tight_loop() {
    ends(Target::guest("hostile").limits("cpu_ms = 30"), "/spin", "cpu_exceeded", CPU).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tight_loop_with_a_budget_without_end() {
    let target = Target::guest("hostile").limits("cpu_ms = 900_000\ndeadline_ms = 50");
    ends(target, "/spin", "deadline_exceeded", DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tight_loop_that_is_counted_in_fuel() {
    let target = Target::guest("hostile").limits("fuel = 2_000_000");
    ends(target, "/spin", "fuel_exhausted", "the fuel is spent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tight_loop_on_the_portable_path() {
    ends(Target::guest("hostile-02").limits("cpu_ms = 30"), "/spin", "cpu_exceeded", CPU).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_tight_loops_at_once() {
    let target = Target::guest("hostile").limits("cpu_ms = 20\nconcurrency = 32");
    target
        .attacked(async |host| {
            let all = (0..100).map(|_| host.raw_reply(GET_SPIN));
            for reply in futures_util::future::join_all(all).await {
                let outcome =
                    reply.lines().find_map(|line| line.strip_prefix("lacewing-outcome: "));
                assert!(
                    matches!(outcome, Some("cpu_exceeded" | "throttled" | "load_shed")),
                    "{reply}"
                );
            }
        })
        .await;
}

const GET_SPIN: &str = "GET /spin HTTP/1.1\r\nhost: suspect.test\r\nconnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_in_the_allocator_that_the_host_calls() {
    for core in [
        Core { realloc: "(loop $for-ever (br $for-ever))", ..Core::default() },
        Core { post_return: "(loop $for-ever (br $for-ever))", ..Core::default() },
    ] {
        ends(Target::core(&core).limits("cpu_ms = 30"), "/", "cpu_exceeded", CPU).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_without_end() {
    ends(Target::guest("hostile"), "/recurse", "trap", "wasm trap: call stack exhausted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_through_the_host() {
    ends(Target::guest("hostile"), "/recurse-calls", "trap", "wasm trap: ").await;
}

/// A loop around one instruction, beside a memory of 64 MiB and two large tables.
fn bulk(instruction: &str) -> Target {
    let core = Core {
        memory: "1000",
        fields: "(table $t 100000 funcref) (table $u 100000 funcref)".to_owned(),
        handle: Box::leak(format!("(loop $again {instruction} (br $again))").into_boxed_str()),
        ..Core::default()
    };
    Target::core(&core).limits("cpu_ms = 30\ntable_elements = 100_000\nmemory_mib = 64")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_fill() {
    let fill = "(memory.fill (i32.const 4096) (i32.const 1) (i32.const 65000000))";
    ends(bulk(fill), "/", "cpu_exceeded", CPU).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_copy() {
    let copy = "(memory.copy (i32.const 4096) (i32.const 32000000) (i32.const 32000000))";
    ends(bulk(copy), "/", "cpu_exceeded", CPU).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_fill_and_copy_of_tables() {
    let fill = "(table.fill $t (i32.const 0) (ref.null func) (i32.const 100000))";
    ends(bulk(fill), "/", "cpu_exceeded", CPU).await;
    let copy = "(table.copy $t $u (i32.const 0) (i32.const 0) (i32.const 100000))";
    ends(bulk(copy), "/", "cpu_exceeded", CPU).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_calls_without_end() {
    let target = || Target::guest("hostile").limits("cpu_ms = 30");
    ends(target(), "/spin-calls", "cpu_exceeded", CPU).await;
    ends(target(), "/spin-random", "cpu_exceeded", CPU).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_without_end() {
    let target = Target::guest("hostile").limits("cpu_ms = 50\nlog_kib = 4");
    target
        .attacked(async |host| {
            host.get("/flood/1000000000000").await.is(504, "cpu_exceeded").because(CPU);
            let lines = host.lines();
            assert!((40..=42).contains(&lines.len()), "4 KiB are 40 lines: {}", lines.len());
            assert!(lines.last().unwrap().starts_with("log limit of 4096 bytes reached, "));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_call_that_blocks() {
    let target = || Target::guest("hostile").limits("deadline_ms = 50");
    ends(target(), "/sleep", "deadline_exceeded", DEADLINE).await;
    ends(target(), "/poll", "deadline_exceeded", DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_timers_in_one_poll() {
    let target = Target::guest("hostile").limits("deadline_ms = 100");
    ends(target, "/timers/400", "deadline_exceeded", DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_to_a_client_that_does_not_read() {
    for guest in ["portable-02", "portable-03"] {
        let target = Target::guest(guest).limits("deadline_ms = 200\ncpu_ms = 60_000");
        ends_late(target, "/forever", "deadline_exceeded", DEADLINE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_after_the_response() {
    for guest in ["portable-02", "portable-03"] {
        let target = Target::guest(guest).limits("cpu_ms = 50");
        ends_late(target, "/spin-after-response", "cpu_exceeded", CPU).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_never_end() {
    let target = Target::guest("hostile-03").limits("deadline_ms = 100");
    ends_late(target, "/tasks/500", "deadline_exceeded", DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_futures_that_never_end() {
    for path in ["/streams/400", "/futures/400", "/unread/200"] {
        let target = Target::guest("hostile-03").limits("deadline_ms = 100");
        ends(target, path, "deadline_exceeded", DEADLINE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_its_guest_running() {
    let target = Target::guest("hostile").limits("cpu_ms = 900_000\ndeadline_ms = 600_000");
    target
        .attacked(async |host| {
            for (nth, path) in ["/spin", "/sleep", "/fill"].into_iter().enumerate() {
                let request = format!("GET {path} HTTP/1.1\r\nhost: suspect.test\r\n\r\n");
                let socket = host.raw(request).await;
                host.until("lacewing_pool_stacks", |stacks| stacks > 0).await;
                drop(socket);
                assert_eq!(host.record(nth).await["outcome"], "canceled", "{path}");
            }
        })
        .await;
}

/// An instance that serves several invocations has the CPU budget of one for all that it does after
/// its last answer, however often it rests meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_reused_instance_that_computes_on_after_its_answer() {
    Target::guest("hostile-03")
        .limits("reuse = 128\ncpu_ms = 200\ndeadline_ms = 86_400_000")
        .attacked(async |host| {
            host.get("/lingers/50").await.is(200, "ok");
        })
        .await;
}
