//! Every limit that a running function can meet: what its client is told, what is recorded, and
//! that nobody else notices.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use lacewing::telemetry::Stream;

use crate::{
    client::upload,
    components::{Core, component_file},
    harness::{Reply, Served, component, guest},
    tenants::{SUSPECT, Tenants, assert_problem},
};

const CPU: &str = "the function used up its CPU time before it answered";
const FUEL: &str = "the function used up its fuel before it answered";
const DEADLINE: &str = "the function did not answer before its deadline";
const MEMORY: &str = "the function ran out of memory";
const TRAP: &str = "the function failed";
const BAD_RESPONSE: &str = "the function answered with something that is not a valid response";

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_computes_is_stopped_when_its_cpu_budget_is_spent() {
    let tenants = Tenants::hostile("cpu_ms = 30").await;
    for path in ["/spin", "/spin-calls", "/fill"] {
        let ended = tenants.fails(path, "cpu_exceeded", 504, CPU).await;
        assert_eq!(ended.detail(), "the CPU budget is spent", "{path}");
        assert!(ended.number("cpu_us") >= 30_000, "{path}: {}", ended.record);
        assert!(ended.number("duration_us") >= 30_000, "{path}: {}", ended.record);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_pays_no_cpu_time_and_is_stopped_at_its_deadline() {
    let tenants = Tenants::hostile("cpu_ms = 2000\ndeadline_ms = 60").await;
    for path in ["/sleep", "/poll"] {
        let ended = tenants.fails(path, "deadline_exceeded", 504, DEADLINE).await;
        assert_eq!(ended.detail(), "the deadline has passed", "{path}");
        assert!(ended.number("duration_us") >= 60_000, "{path}: {}", ended.record);
        assert!(ended.number("cpu_us") < ended.number("duration_us"), "{path}: {}", ended.record);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_computes_past_its_deadline_is_stopped_too() {
    let tenants = Tenants::hostile("cpu_ms = 60000\ndeadline_ms = 40").await;
    let ended = tenants.fails("/spin", "deadline_exceeded", 504, DEADLINE).await;
    assert_eq!(ended.detail(), "the deadline has passed");
    assert!(ended.number("duration_us") >= 40_000, "{}", ended.record);
}

#[tokio::test(flavor = "multi_thread")]
async fn fuel_is_the_same_number_each_time() {
    let tenants = Tenants::hostile("fuel = 2_000_000").await;
    let mut spent = Vec::new();
    for path in ["/work/1000", "/work/1000", "/work/2000", "/work/1000"] {
        let (_, ended) = tenants.survives(path).await;
        spent.push(ended.number("fuel"));
    }
    assert!(spent[0] == spent[1] && spent[0] == spent[3], "{spent:?}");
    assert!(spent[2] > spent[0] + 1000, "{spent:?}");
    let ended = tenants.fails("/work/100000000", "fuel_exhausted", 504, FUEL).await;
    assert_eq!(ended.detail(), "the fuel is spent");
    assert_eq!(ended.number("fuel"), 2_000_000, "all of it, and no more");
    tenants.fails("/spin", "fuel_exhausted", 504, FUEL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_refused_over_the_limit() {
    let tenants = Tenants::hostile("memory_mib = 8").await;
    let ended = tenants.fails("/allocate", "memory_exceeded", 502, MEMORY).await;
    let detail = ended.detail();
    assert!(
        detail.ends_with(
            " KiB of linear memory were asked for, and the limit is 8 MiB (`memory_mib`)"
        ),
        "{detail}"
    );
    let peak = ended.number("memory_peak_bytes");
    assert!(peak > 4 << 20 && peak <= 8 << 20, "{}", ended.record);
}

/// A refusal is not the reason of everything that comes after it.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_guest_that_gives_up_over_a_refusal_ran_out_of_memory() {
    let tenants = Tenants::hostile("memory_mib = 8").await;
    let ended = tenants.fails("/allocate-then-panic", "trap", 502, TRAP).await;
    let detail = ended.detail();
    assert!(detail.starts_with("wasm trap: wasm `unreachable` instruction executed"), "{detail}");
    let refused = detail.lines().nth(1).unwrap();
    assert!(refused.starts_with("  after a growth was refused: "), "{detail}");
    assert!(refused.ends_with("the limit is 8 MiB (`memory_mib`)"), "{detail}");
    let ended = tenants.fails("/allocate-then-exit", "memory_exceeded", 502, MEMORY).await;
    assert!(ended.detail().contains("the limit is 8 MiB"), "{}", ended.detail());
    // Without names there is only what happened since: nothing, or a growth that was granted.
    let refused = "(drop (memory.grow (i32.const 1000)))";
    let granted = "(drop (memory.grow (i32.const 1)))";
    for (handle, outcome, sentence) in [
        (format!("{refused} (unreachable)"), "memory_exceeded", MEMORY),
        (format!("{refused} {granted} (unreachable)"), "trap", TRAP),
        (format!("{refused} (drop (i32.load (i32.const -1)))"), "trap", TRAP),
    ] {
        let core = Core { handle: Box::leak(handle.into_boxed_str()), ..Core::default() };
        let (_dir, path) = component_file(&core.lean());
        let tenants = Tenants::with(&path, "memory_mib = 8", |_| {}).await;
        tenants.fails("/", outcome, 502, sentence).await;
    }
}

/// A guest names its functions, and a detail has at most 4 KiB.
#[tokio::test(flavor = "multi_thread")]
async fn the_detail_of_a_trap_is_bounded() {
    let fields = format!("(func ${} (unreachable))", "n".repeat(100_000));
    let handle = Box::leak(format!("(call ${})", "n".repeat(100_000)).into_boxed_str());
    let (_dir, path) = component_file(&Core { fields, handle, ..Core::default() }.lean());
    let tenants = Tenants::with(&path, "", |_| {}).await;
    let ended = tenants.fails("/", "trap", 502, TRAP).await;
    let detail = ended.detail();
    assert!(detail.contains("\n  at nnnn") && detail.len() < 1024, "{} bytes", detail.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_takes_no_for_an_answer_goes_on() {
    let tenants = Tenants::hostile("memory_mib = 8").await;
    let (reply, ended) = tenants.survives("/grow").await;
    let pages: u64 = reply.text().trim().trim_end_matches(" pages").parse().unwrap();
    assert!(pages <= 128, "8 MiB are 128 pages, and it has {pages}");
    assert_eq!(ended.number("memory_peak_bytes"), pages << 16);
    let says = "the guest went on after a growth was refused: ";
    assert!(ended.detail().starts_with(says), "{}", ended.record);
    assert!(ended.detail().ends_with("the limit is 8 MiB (`memory_mib`)"), "{}", ended.record);
}

/// A growth that a module refuses itself is nothing that the limit refused, and nothing that the
/// module was given.
#[tokio::test(flavor = "multi_thread")]
async fn growth_over_a_modules_own_maximum_costs_nothing_of_its_limit() {
    let core = Core {
        memory: "1 2",
        handle: "(local $n i32) (loop $again
            (drop (memory.grow (i32.const 100)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const 50))))
            (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))",
        ..Core::default()
    };
    let (_dir, path) = component_file(&core.lean());
    let tenants = Tenants::with(&path, "memory_mib = 8", |_| {}).await;
    let (_, ended) = tenants.survives("/").await;
    assert_eq!(ended.number("memory_peak_bytes"), 2 << 16, "{}", ended.record);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_refused_over_the_limit() {
    let grow = |elements: u32, then: &str| {
        Core {
        fields: "(table $t 10 funcref)".to_owned(),
        handle: Box::leak(
            format!(
                "(if (i32.eq (table.grow $t (ref.null func) (i32.const {elements})) (i32.const -1)) (then ({then})))"
            )
            .into_boxed_str(),
        ),
        ..Core::default()
    }
    };
    let (_dir, path) = component_file(&grow(91, "unreachable").lean());
    let tenants = Tenants::with(&path, "table_elements = 100", |_| {}).await;
    let ended = tenants.fails("/", "memory_exceeded", 502, MEMORY).await;
    assert_eq!(
        ended.detail(),
        "a table of 101 elements was asked for, and the limit is 100 (`table_elements`)"
    );
    for survivor in [grow(90, "unreachable"), grow(91, "nop")] {
        let (_dir, path) = component_file(&survivor.lean());
        let tenants = Tenants::with(&path, "table_elements = 100", |_| {}).await;
        tenants.survives("/").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recursion_ends_at_the_stacks_end() {
    let tenants = Tenants::hostile("").await;
    let ended = tenants.fails("/recurse", "trap", 502, TRAP).await;
    let detail = ended.detail();
    assert!(detail.starts_with("wasm trap: call stack exhausted\n  at "), "{detail}");
    assert!(detail.contains("hostile::recurse"), "{detail}");
    // A guest whose frames are in its own memory has another stack, which may end first.
    let manifest = format!(
        "app = \"a\"\n[functions.f]\ncomponent = {:?}\nroutes = [\"/{{what}}\"]",
        component("misbehave")
    );
    let served = Served::manifest(&manifest).await;
    assert_problem(&served.get("/recurse").await, "trap", 502, TRAP);
    let (record, _) = served.record().await;
    let detail = record["detail"].as_str().unwrap();
    let text = "wasm trap: out of bounds memory access, at the end of a recursion: the stack in the guest's memory is used up\n  at ";
    assert!(detail.starts_with(text), "{detail}");
    served.assert_idle().await;
}

/// The stack that is left for the host's own code is enough, however deep the guest is when it
/// calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_that_calls_the_host_ends_the_same() {
    let tenants = Tenants::hostile("").await;
    let ended = tenants.fails("/recurse-calls", "trap", 502, TRAP).await;
    assert!(ended.detail().starts_with("wasm trap: "), "{}", ended.detail());
    assert!(ended.lines.len() > 10, "it got deep: {}", ended.lines.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reaches_nothing_that_it_was_not_granted() {
    let tenants = Tenants::hostile("[functions.suspect.env]\nGREETING = \"hello\"").await;
    let (reply, _) = tenants.survives("/reach").await;
    let nothing = "read a file: false\nlist a folder: false\nwrite a file: false\nconnect: false\nlisten: false\nsend: false\nresolve: false\narguments: false\n";
    let (tried, env) = reply.text().split_at(nothing.len());
    assert_eq!(tried, nothing);
    // The host's facts about the invocation, the manifest's variables, and nothing of the host's
    // own.
    let names = env.lines().map(|line| line.split('=').next().unwrap());
    let (own, granted): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with("LACEWING_"));
    assert_eq!(granted, ["GREETING"]);
    assert_eq!(
        own.iter().map(|name| &name["LACEWING_".len()..]).collect::<Vec<_>>(),
        ["INVOCATION", "TENANT", "APP", "FUNCTION", "REVISION", "DEADLINE_MS"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_in_the_log_and_not_in_the_answer() {
    let tenants = Tenants::hostile("").await;
    let ended = tenants.fails("/panic", "trap", 502, TRAP).await;
    assert!(ended.detail().starts_with("wasm trap: wasm `unreachable` instruction executed"));
    let line = ended
        .lines
        .iter()
        .find(|line| line.message == "this guest panics on demand")
        .expect("the panic's message is in the log");
    assert_eq!(line.stream, Stream::Stderr);
    assert_eq!(line.context.origin.function.as_str(), "suspect");
    assert_eq!(line.context.invocation.to_string(), ended.record["invocation"]);
    assert_eq!(&*line.context.origin.revision, ended.record["revision"].as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_is_a_trap_with_its_code() {
    let tenants = Tenants::hostile("").await;
    for code in [0, 1, 3] {
        let ended = tenants.fails(&format!("/exit/{code}"), "trap", 502, TRAP).await;
        // wasi:cli's exit knows success and failure only.
        let code = code.min(1);
        assert_eq!(ended.detail(), format!("the guest called exit with the code {code}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_without_a_line_feed_arrives() {
    let tenants = Tenants::with(&guest("unended"), "", |_| {}).await;
    let (_, ended) = tenants.survives("/").await;
    let said: Vec<&str> = ended.lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(said, ["one line", "and the beginning of another"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_lines_is_cut_and_the_last_line_says_so() {
    let tenants = Tenants::hostile("log_kib = 2").await;
    let (reply, ended) = tenants.survives("/flood/100").await;
    assert_eq!(reply.text(), "said it\n");
    let (last, lines) = ended.lines.split_last().unwrap();
    assert_eq!(lines.len(), 20, "2 KiB are 20 lines of 100 bytes");
    assert_eq!(last.message, "log limit of 2048 bytes reached, 8000 bytes dropped");
    assert_eq!(last.stream, Stream::Host);
    // The next invocation has a limit of its own.
    let (_, ended) = tenants.survives("/flood/20").await;
    assert_eq!(ended.lines.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_are_bounded() {
    let tenants = Tenants::hostile("handles = 64").await;
    let (reply, _) = tenants.survives("/handles/20").await;
    assert_eq!(reply.text(), "20 timers\n");
    let ended = tenants.fails("/handles/65", "trap", 502, TRAP).await;
    let says = "more than 64 handles were held at once, and 64 is the limit (`handles`)";
    assert_eq!(ended.detail().lines().next(), Some(says));
    // By default a guest may keep as many as it has memory for.
    let tenants = Tenants::hostile("").await;
    assert_eq!(tenants.survives("/handles/2000").await.0.text(), "2000 timers\n");
}

/// As runtimes of JavaScript do.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_read_with_a_handle_for_each_piece_passes() {
    let limits = "cpu_ms = 60_000\ndeadline_ms = 120_000";
    let tenants = Tenants::with(&guest("portable-02"), limits, |_| {}).await;
    let (sender, body) = upload();
    let request = Request::post("/hoard").header("host", SUSPECT).body(body).unwrap();
    let answer = tenants.served.exchange(request);
    let (response, ()) = tokio::join!(answer, sender.mebibytes(64));
    let reply = Reply::read(response).await;
    let pieces: u32 = reply.text().parse().unwrap_or_else(|_| panic!("{reply:?}"));
    assert!(pieces >= 64 << 7, "{pieces}");
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_are_bounded_in_one_call() {
    let tenants = Tenants::hostile("random_kib = 1").await;
    let (reply, _) = tenants.survives("/random/1024").await;
    assert_eq!(reply.text(), "1024 random bytes\n");
    let ended = tenants.fails("/random/1025", "trap", 502, TRAP).await;
    assert_eq!(ended.detail().lines().next(), Some("requested len 1025 exceeds limit 1024"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_as_large_as_its_limit_and_no_larger() {
    let tenants = Tenants::hostile("response_body_kib = 1").await;
    let (reply, ended) = tenants.survives("/bytes/1024").await;
    assert_eq!((reply.body.len(), ended.number("bytes_out")), (1024, 1024));
    let ended = tenants.fails("/bytes/1025", "bad_response", 502, BAD_RESPONSE).await;
    assert_eq!(
        ended.detail(),
        "the response's body has 1025 bytes; the limit is 1 KiB (`response_body_kib`)"
    );
    let tenants = Tenants::hostile("").await;
    let ended = tenants.fails("/bytes/20000000", "bad_response", 502, BAD_RESPONSE).await;
    assert_eq!(
        ended.detail(),
        "the guest returned more than 10272 KiB, and its response may have less (`response_body_kib`, `header_kib`)"
    );
}

/// The size of one call's arguments is bounded as well, and that bound is no other limit of bodies.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_above_the_default_counts() {
    let limits = "response_body_kib = 20480\nrequest_body_kib = 20480\nmemory_mib = 128";
    let tenants = Tenants::hostile(limits).await;
    let (reply, _) = tenants.survives(&format!("/bytes/{}", 20 << 20)).await;
    assert_eq!(reply.body.len(), 20 << 20);
    let body = Bytes::from(vec![b'y'; 20 << 20]);
    let reply = tenants.send(SUSPECT, Method::POST, "/body", HeaderMap::new(), body.clone()).await;
    assert_eq!((reply.status, reply.outcome()), (200, "ok"));
    assert!(reply.body == body);
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_responses_header_is_bounded_in_fields_and_in_bytes() {
    let tenants = Tenants::hostile("headers = 10\nheader_kib = 1").await;
    let (reply, _) = tenants.survives("/fields/10").await;
    assert_eq!(reply.headers["x-9"], "v");
    let ended = tenants.fails("/fields/11", "bad_response", 502, BAD_RESPONSE).await;
    assert_eq!(ended.detail(), "the response has 11 headers; the limit is 10 (`headers`)");
    tenants.survives("/field-bytes/1024").await;
    let ended = tenants.fails("/field-bytes/1025", "bad_response", 502, BAD_RESPONSE).await;
    assert_eq!(
        ended.detail(),
        "the response's headers have 1025 bytes; the limit is 1 KiB (`header_kib`)"
    );
}

/// Sends so many fields of a name's and a value's bytes, `host` counted in.
fn fields(count: usize, bytes: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let host = "host".len() + SUSPECT.len();
    let mut left = bytes - host;
    for n in 1..count {
        let name = HeaderName::try_from(format!("x-{n:03}")).unwrap();
        let value = if n + 1 == count { left - 5 } else { 1 };
        left -= 5 + value;
        headers.insert(name, HeaderValue::try_from("v".repeat(value)).unwrap());
    }
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requests_header_is_bounded_in_fields_and_in_bytes() {
    let tenants = Tenants::hostile("headers = 20\nheader_kib = 1").await;
    let send = async |headers| {
        tenants.served.sink.take();
        let reply = tenants.send(SUSPECT, Method::GET, "/ok", headers, "").await;
        (reply, tenants.ended().await)
    };
    for (count, bytes) in [(20, 500), (10, 1024)] {
        let (reply, _) = send(fields(count, bytes)).await;
        assert_eq!(reply.status, 200, "{count} fields, {bytes} bytes: {}", reply.text());
    }
    let sentences = [
        (21, 500, "the request has more than 20 header fields"),
        (10, 1025, "the names and values of the request's header fields are more than 1024 bytes"),
    ];
    for (count, bytes, sentence) in sentences {
        let (reply, ended) = send(fields(count, bytes)).await;
        assert_problem(&reply, "bad_request", 431, sentence);
        assert_eq!((ended.outcome(), ended.detail()), ("bad_request", sentence));
        tenants.neighbour_is_served().await;
    }
    tenants.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requests_body_is_bounded_announced_or_not() {
    for suspect in ["hostile", "portable-02", "portable-03"] {
        let tenants = Tenants::with(&guest(suspect), "request_body_kib = 1", |_| {}).await;
        let path = if suspect == "hostile" { "/body" } else { "/echo" };
        let body = Bytes::from(vec![b'z'; 1025]);
        let post = async |body: Bytes| {
            tenants.served.sink.take();
            let reply = tenants.send(SUSPECT, Method::POST, path, HeaderMap::new(), body).await;
            (reply, tenants.ended().await)
        };
        let (reply, _) = post(body.slice(..1024)).await;
        assert_eq!((reply.status, reply.body.len()), (200, 1024), "{suspect} {reply:?}");
        let (reply, ended) = post(body.clone()).await;
        let sentence = "the request's body is larger than 1024 bytes (`request_body_kib`)";
        assert_problem(&reply, "bad_request", 413, sentence);
        assert_eq!((ended.outcome(), ended.detail()), ("bad_request", sentence), "{suspect}");
        tenants.neighbour_is_served().await;
        tenants.served.assert_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_refused_when_it_is_over_the_limit() {
    let tenants = Tenants::hostile("request_body_kib = 1").await;
    let chunk = format!("200\r\n{}\r\n", "z".repeat(512));
    let head = format!(
        "POST /body HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let reply = tenants.raw_reply(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    tenants.served.sink.take();
    // The third chunk is over it, and the end never comes.
    let reply = tenants.raw_reply(format!("{head}{chunk}{chunk}{chunk}").as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{reply}");
    assert!(reply.contains("\r\nlacewing-outcome: bad_request\r\n"), "{reply}");
    assert!(
        reply.contains("\"the request's body is larger than 1024 bytes (`request_body_kib`)\""),
        "{reply}"
    );
    assert_eq!(tenants.ended().await.outcome(), "bad_request");
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}
