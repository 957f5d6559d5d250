//! Answers of guests that are no responses: the client gets a whole answer of the host's, or a
//! connection that is cut, and no answer that it could take for the function's.

use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Empty};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    client,
    components::{Core, component_file},
    harness::{Reply, guest},
    tenants::{Ended, SUSPECT, Tenants},
};

const BAD_RESPONSE: &str = "the function answered with something that is not a valid response";
const NO_RESPONSE: &str = "the function ended without an answer";
const TRAP: &str = "the function failed";

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_no_final_one() {
    let lean = Tenants::hostile("").await;
    let portable = Tenants::with(&guest("hostile-02"), "", |_| {}).await;
    for status in ["0", "99", "100", "101", "103", "199", "600", "999", "65535"] {
        let path = format!("/status/{status}");
        let ended = lean.fails(&path, "bad_response", 502, BAD_RESPONSE).await;
        let detail = format!("the response's status is {status}; a final status is 200 to 599");
        assert_eq!(ended.detail(), detail);
        // wasi:http refuses some of them itself, and the guest says so.
        if ["0", "99", "65535"].contains(&status) {
            assert_eq!(portable.survives(&path).await.0.text(), "refused", "{status}");
        } else {
            let ended = portable.fails(&path, "bad_response", 502, BAD_RESPONSE).await;
            assert_eq!(ended.detail(), detail);
        }
    }
    for tenants in [lean, portable] {
        for status in [200, 299, 302, 404, 418, 500, 503, 599] {
            let reply = tenants.get(&format!("/status/{status}")).await;
            assert_eq!((reply.status, reply.outcome(), reply.text()), (status, "ok", "body"));
        }
        tenants.served.assert_idle().await;
    }
}

/// The next response on the connection begins where the client looks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_has_no_body_gets_none() {
    for suspect in ["hostile", "hostile-02"] {
        let tenants = Tenants::with(&guest(suspect), "", |_| {}).await;
        for status in [204, 304] {
            let requests = format!(
                "GET /status/{status} HTTP/1.1\r\nhost: {SUSPECT}\r\n\r\nGET /ok HTTP/1.1\r\nhost: {SUSPECT}\r\nconnection: close\r\n\r\n"
            );
            let replies = tenants.raw_reply(requests.as_bytes()).await.to_lowercase();
            let (head, rest) = replies.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{replies}");
            assert!(head.contains("\r\nlacewing-outcome: ok"), "{replies}");
            assert!(
                !head.contains("transfer-encoding") && !head.contains("content-length: 4"),
                "{replies}"
            );
            assert!(rest.starts_with("http/1.1 200 ok\r\n"), "{suspect}: {replies}");
        }
        tenants.neighbour_is_served().await;
        tenants.served.assert_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn header_names_that_are_none() {
    let tenants = Tenants::hostile("").await;
    for (path, name) in [
        ("", ""),
        ("a_b", "a b"),
        ("a:b", "a:b"),
        ("a(b)", "a(b)"),
        ("%C3%A9", "%C3%A9"),
        (":status", ":status"),
    ] {
        let reply = format!("/name/{path}");
        if name == "%C3%A9" {
            // Percent signs are letters of names.
            assert_eq!(tenants.survives(&reply).await.0.headers["%c3%a9"], "value");
            continue;
        }
        let ended = tenants.fails(&reply, "bad_response", 502, BAD_RESPONSE).await;
        assert_eq!(
            ended.detail(),
            format!(
                "the response has a header named {name:?}, which is not a field name: letters, digits and !#$%&'*+-.^_`|~"
            )
        );
    }
    let (reply, _) = tenants.survives("/name/X-Upper-Case").await;
    assert_eq!(reply.headers["x-upper-case"], "value");
}

#[tokio::test(flavor = "multi_thread")]
async fn header_values_that_are_none() {
    let tenants = Tenants::hostile("").await;
    for (hex, byte) in [
        ("610d0a7365742d636f6f6b69653a2062", "0d"),
        ("610a62", "0a"),
        ("6100", "00"),
        ("7f", "7f"),
        ("1b5b", "1b"),
    ] {
        let path = format!("/value/{hex}");
        let ended = tenants.fails(&path, "bad_response", 502, BAD_RESPONSE).await;
        assert_eq!(
            ended.detail(),
            format!(
                "the value of the response's header x-value has the byte 0x{byte}, which no field value may have"
            )
        );
    }
    let (reply, _) = tenants.survives("/value/6109ffe9").await;
    assert_eq!(reply.headers["x-value"].as_bytes(), b"a\t\xff\xe9");
    // wasi:http refuses them itself.
    let portable = Tenants::with(&guest("hostile-02"), "", |_| {}).await;
    for path in ["/field/x/610d0a62", "/field/x/00", "/field/a_b/61", "/field/a:b/61"] {
        assert_eq!(portable.survives(path).await.0.text(), "refused: HeaderError::InvalidSyntax");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_the_host_and_of_the_connection_are_no_functions_to_set() {
    let lean = Tenants::hostile("").await;
    for name in ["lacewing-outcome", "connection", "keep-alive", "transfer-encoding", "upgrade"] {
        let (reply, _) = lean.survives(&format!("/name/{name}")).await;
        let values: Vec<_> = reply.headers.get_all(name).iter().collect();
        assert!(!values.iter().any(|value| *value == "value"), "{name}: {values:?}");
    }
    let (reply, _) = lean.survives("/name/x-request-id").await;
    assert_eq!(reply.headers.get_all("x-request-id").iter().count(), 1);
    assert_ne!(reply.headers["x-request-id"], "value");
    lean.served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_not_the_bodys() {
    let lean = Tenants::hostile("").await;
    assert_eq!(lean.survives("/length/5").await.0.headers["content-length"], "5");
    for (declared, shown) in [("4", "4"), ("6", "6"), ("five", "five"), ("-5", "-5"), ("", "")] {
        let path = format!("/length/{declared}");
        let ended = lean.fails(&path, "bad_response", 502, BAD_RESPONSE).await;
        assert_eq!(
            ended.detail(),
            format!("the response says content-length: {shown}, and its body has 5 bytes")
        );
    }
    // To HEAD it may be the length of what GET would get, and has to be one.
    let head =
        async |path: &str| lean.send(SUSPECT, Method::HEAD, path, HeaderMap::new(), "").await;
    assert_eq!(head("/length/70000").await.headers["content-length"], "70000");
    for declared in ["five", "-5", "", "+5", "5,6"] {
        let reply = head(&format!("/length/{declared}")).await;
        assert_eq!((reply.status, reply.outcome()), (502, "bad_response"), "{declared:?}");
    }
    lean.served.assert_idle().await;
}

/// More than the type of a header can hold at all.
#[tokio::test(flavor = "multi_thread")]
async fn fields_without_number() {
    let limits = "headers = 1024\nheader_kib = 1024";
    let lean = Tenants::hostile(limits).await;
    let ended = lean.fails("/fields/40000", "bad_response", 502, BAD_RESPONSE).await;
    assert_eq!(ended.detail(), "the response has 40000 headers; the limit is 1024 (`headers`)");
    let portable = Tenants::with(&guest("hostile-02"), limits, |_| {}).await;
    // Here the hostcall that adds one too many fails.
    let ended = portable.fails("/fields/40000", "trap", 502, TRAP).await;
    assert_eq!(ended.detail().lines().next(), Some("too many fields in the field map"));
}

/// Asks for something whose head is well and whose body is not: returns what came of the body
/// before it was cut.
async fn cut(tenants: &Tenants, path: &str) -> (String, Ended) {
    tenants.served.sink.take();
    let request = Request::builder().method(Method::GET).uri(path).header("host", SUSPECT);
    let response = tenants.served.exchange(request.body(Empty::new()).unwrap()).await;
    let head = (response.status().as_u16(), &response.headers()["lacewing-outcome"]);
    if head != (200, &http::HeaderValue::from_static("ok")) {
        panic!("{path}: {head:?}, {}", tenants.ended().await.record);
    }
    let mut body = response.into_body();
    let mut got = Vec::new();
    let error = loop {
        match body.frame().await {
            Some(Ok(frame)) => got.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    let got = String::from_utf8(got).unwrap();
    assert!(error.is_some(), "{path} ended as if it were whole: {got:?}");
    let ended = tenants.ended().await;
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
    (got, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_differs_from_its_head_is_cut() {
    let tenants = Tenants::with(&guest("hostile-02"), "", |_| {}).await;
    let (got, ended) = cut(&tenants, "/length/10/4").await;
    assert_eq!((got.as_str(), ended.outcome()), ("xxxx", "bad_response"), "{}", ended.record);
    let (got, ended) = cut(&tenants, "/unfinished").await;
    assert_eq!((got.as_str(), ended.outcome()), ("half of ", "bad_response"), "{}", ended.record);
    assert_eq!(ended.record["status"], 200);
    // More than it declared: nobody sees more than that.
    let reply: Reply = tenants.get("/length/4/10").await;
    assert!(reply.body.len() <= 4, "{reply:?}");
    tenants.ended().await;
    tenants.neighbour_is_served().await;
    tenants.served.assert_idle().await;
}

/// Over HTTP/1.1 and HTTP/2, by handlers of wasi:http 0.3.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_another_length_than_its_head_says_is_the_guests_fault() {
    let tenants = Tenants::with(&guest("hostile-03"), "", |_| {}).await;
    assert_eq!(tenants.survives("/length/10/10").await.0.text(), "xxxxxxxxxx");
    for (sent, got, says) in [
        (9, "xxxxxxxxx", "its content-length is 10, and its body has 9 bytes"),
        (0, "", "its content-length is 10, and its body has 0 bytes"),
        (11, "", "its body has 11 bytes, which is not its content-length"),
    ] {
        let path = format!("/length/10/{sent}");
        let (bytes, ended) = cut(&tenants, &path).await;
        assert_eq!((bytes.as_str(), ended.outcome()), (got, "bad_response"), "{}", ended.record);
        assert_eq!(ended.detail(), format!("the function's response was cut short: {says}"));
        assert_eq!(ended.number("bytes_out"), got.len() as u64);
        let mut client = client::http2(tenants.served.address).await;
        let url = format!("http://{SUSPECT}{path}");
        let request = Request::get(url).body(client::upload().1).unwrap();
        // The reset may overtake the head.
        if let Ok(response) = client.send_request(request).await {
            assert_eq!(client::drain(&mut response.into_body()).await, None, "{path}");
        }
        assert_eq!(tenants.ended().await.outcome(), "bad_response", "{path}");
    }
    tenants.served.assert_idle().await;
}

/// The client is there all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_its_guest_gives_up_is_no_clients_fault() {
    let tenants = Tenants::with(&guest("hostile-02"), "", |_| {}).await;
    let (got, ended) = cut(&tenants, "/abandoned").await;
    assert_eq!((got.as_str(), ended.outcome()), ("half of ", "bad_response"), "{}", ended.record);
    let tenants = Tenants::with(&guest("hostile-03"), "", |_| {}).await;
    let (got, ended) = cut(&tenants, "/bad-end").await;
    assert_eq!((got.as_str(), ended.outcome()), ("body", "bad_response"), "{}", ended.record);
    assert!(
        ended.detail().contains("its body ended in the error InternalError"),
        "{}",
        ended.record
    );
}

/// A runtime that catches what its handler throws answers with a status, prints why, and finishes
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_fails_after_a_head_that_says_so_has_a_whole_answer() {
    let tenants = Tenants::with(&guest("hostile-02"), "", |_| {}).await;
    let told = |ended: &Ended, status: u16| {
        assert_eq!(ended.outcome(), "bad_response", "{}", ended.record);
        assert_eq!(ended.record["status"], status);
        assert!(ended.lines.iter().any(|line| line.message == "the handler threw"));
    };
    for how in ["drop", "keep", "rest"] {
        for status in [500, 503] {
            let path = format!("/fails/{status}/{how}");
            let reply = tenants.get(&path).await;
            assert_eq!((reply.status, reply.outcome()), (status, "bad_response"), "{path}");
            assert_eq!((reply.text(), reply.headers["content-length"].as_bytes()), ("", &b"0"[..]));
            told(&tenants.ended().await, status);
            let mut client = client::http2(tenants.served.address).await;
            let url = format!("http://{SUSPECT}{path}");
            let request = Request::get(url).body(client::upload().1).unwrap();
            let reply = Reply::read(client.send_request(request).await.unwrap()).await;
            assert_eq!((reply.status, reply.outcome(), reply.text()), (status, "bad_response", ""));
            told(&tenants.ended().await, status);
        }
        tenants.neighbour_is_served().await;
    }
    let reply = tenants.get("/fails/500/say").await;
    assert_eq!((reply.status, reply.outcome()), (500, "bad_response"));
    assert_eq!(reply.text(), "it failed");
    told(&tenants.ended().await, 500);
    let head = tenants.send(SUSPECT, Method::HEAD, "/fails/500/drop", HeaderMap::new(), "").await;
    assert_eq!((head.status, head.outcome()), (500, "bad_response"));
    told(&tenants.ended().await, 500);
    // A head that says nothing of it was not sent yet.
    for how in ["drop", "keep"] {
        let path = format!("/fails/200/{how}");
        tenants.fails(&path, "bad_response", 502, BAD_RESPONSE).await;
    }
    tenants.fails("/fails/500/trap", "trap", 502, TRAP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_traps_after_its_head_is_cut() {
    for suspect in ["portable-02", "portable-03"] {
        let tenants = Tenants::with(&guest(suspect), "", |_| {}).await;
        let head = "POST /trap-after-head HTTP/1.1\r\nhost: suspect.test\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut socket = tenants.raw(head.as_bytes()).await;
        let mut got = Vec::new();
        while !got.ends_with(b"half of \r\n") {
            assert!(socket.read_buf(&mut got).await.unwrap() > 0, "{got:?}");
        }
        // The guest goes on when it has read the end of the request.
        socket.write_all(b"0\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "a chunked body that is cut has no last chunk: {rest:?}");
        let ended = tenants.ended().await;
        assert_eq!(ended.outcome(), "trap", "{suspect}: {}", ended.record);
        assert_eq!(ended.record["status"], 200);
        assert!(ended.lines.iter().any(|line| line.message == "after the head"));
        tenants.neighbour_is_served().await;
        tenants.served.assert_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_answers_nothing_or_an_error() {
    let tenants = Tenants::with(&guest("portable-02"), "", |_| {}).await;
    let ended = tenants.fails("/nothing", "no_response", 502, NO_RESPONSE).await;
    assert_eq!(ended.detail(), "the guest returned without having set a response");
    for suspect in ["portable-02", "portable-03"] {
        let tenants = Tenants::with(&guest(suspect), "", |_| {}).await;
        let ended = tenants.fails("/error", "bad_response", 502, BAD_RESPONSE).await;
        assert_eq!(
            ended.detail(),
            "the guest answered with the error code ErrorCode::ConfigurationError"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_guest_within_its_limits_and_over_them() {
    let limits = "headers = 10\nheader_kib = 1\nresponse_body_kib = 100";
    let tenants = Tenants::with(&guest("hostile-02"), limits, |_| {}).await;
    assert_eq!(tenants.survives("/fields/10").await.0.headers["x-9"], "v");
    let ended = tenants.fails("/fields/11", "bad_response", 502, BAD_RESPONSE).await;
    assert_eq!(ended.detail(), "the response has 11 headers; the limit is 10 (`headers`)");
    tenants.survives("/field-bytes/1024").await;
    let ended = tenants.fails("/field-bytes/1025", "bad_response", 502, BAD_RESPONSE).await;
    assert_eq!(
        ended.detail(),
        "the response's headers have 1025 bytes; the limit is 1 KiB (`header_kib`)"
    );
    assert_eq!(tenants.survives("/no-body").await.0.text(), "");
    let tenants = Tenants::with(&guest("portable-02"), limits, |_| {}).await;
    tenants.survives("/generate/102400").await;
    let (got, ended) = cut(&tenants, "/generate/1024000").await;
    assert!(got.len() <= 102_400, "{}", got.len());
    assert_eq!(ended.outcome(), "bad_response");
    assert_eq!(
        ended.detail(),
        "the body of the response has more than 102400 bytes (`response_body_kib`)"
    );
}

/// Stores of 32 bits into the response that the guest returns: a status, then pairs of pointer and
/// length.
fn returning(stores: &[(u32, u32)]) -> String {
    let store =
        |(at, value): &(u32, u32)| format!("(i32.store (i32.const {at}) (i32.const {value}))");
    stores.iter().map(store).collect()
}

/// A guest's side of the contract is its own business only as long as it keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_breaks_the_canonical_abi() {
    let headers = |pointer, length| returning(&[(4, pointer), (8, length)]);
    // One field, at 3072, whose name is what these bytes are.
    let name = |pointer: u32, length: u32| {
        headers(3072, 1) + &returning(&[(3072, pointer), (3076, length), (3080, 0), (3084, 0)])
    };
    for (handle, detail) in [
        (headers(0x7fff_0000, 1), "list pointer/length out of bounds of memory"),
        (headers(3072, 0x0fff_ffff), "list pointer/length out of bounds of memory"),
        (headers(3073, 1), "list pointer is not aligned"),
        (returning(&[(12, 1024), (16, 1 << 17)]), "list pointer/length out of bounds of memory"),
        (name(0xffff_0000, 4), "string pointer/length out of bounds of memory"),
        (
            returning(&[(3200, 0xffff)]) + &name(3200, 2),
            "invalid utf-8 sequence of 1 bytes from index 0",
        ),
        ("(return (i32.const 65535))".to_owned(), "return pointer not aligned"),
        ("(return (i32.const 65536))".to_owned(), "pointer out of bounds of memory"),
    ] {
        let core = Core { handle: Box::leak(handle.into_boxed_str()), ..Core::default() };
        let (_dir, path) = component_file(&core.lean());
        let tenants = Tenants::with(&path, "", |_| {}).await;
        let ended = tenants.fails("/", "trap", 502, TRAP).await;
        assert_eq!(ended.detail(), detail, "{}", core.handle);
    }
    let realloc = Core { realloc: "(return (i32.const -8))", ..Core::default() };
    let (_dir, path) = component_file(&realloc.lean());
    let tenants = Tenants::with(&path, "", |_| {}).await;
    let ended = tenants.fails("/", "trap", 502, TRAP).await;
    assert_eq!(ended.detail(), "realloc return: beyond end of memory");
}

/// The host calls the guest before and after its handler, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_spins_or_traps_beside_its_handler() {
    const SPIN: &str = "(loop $for-ever (br $for-ever))";
    let cpu = "the function used up its CPU time before it answered";
    for (realloc, post_return, outcome) in [
        (SPIN, "", "cpu_exceeded"),
        ("", SPIN, "cpu_exceeded"),
        ("unreachable", "", "trap"),
        ("", "unreachable", "trap"),
    ] {
        let core = Core { realloc, post_return, ..Core::default() };
        let (_dir, path) = component_file(&core.lean());
        let tenants = Tenants::with(&path, "cpu_ms = 20", |_| {}).await;
        let (status, sentence) = if outcome == "trap" { (502, TRAP) } else { (504, cpu) };
        tenants.fails("/", outcome, status, sentence).await;
    }
}

/// A list's elements may all be the same bytes: what they become in the host is bounded all the
/// same.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_memory_that_would_be_a_large_response() {
    // 60,000 fields whose name and value are one and the same KiB each.
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
    let (_dir, path) = component_file(&core.lean());
    let tenants = Tenants::with(&path, "", |_| {}).await;
    let ended = tenants.fails("/", "bad_response", 502, BAD_RESPONSE).await;
    assert!(ended.detail().starts_with("the guest returned more than "), "{}", ended.detail());
}

/// On the portable path, before the head: as on the lean one.
#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_guest_that_fails_before_its_head_is_answered_for() {
    let limits = "cpu_ms = 30\ndeadline_ms = 100\nmemory_mib = 8";
    let tenants = Tenants::with(&guest("hostile-02"), limits, |_| {}).await;
    let ended = tenants
        .fails(
            "/sleep",
            "deadline_exceeded",
            504,
            "the function did not answer before its deadline",
        )
        .await;
    assert!(ended.number("duration_us") >= 100_000, "{}", ended.record);
    let memory = "the function ran out of memory";
    let tenants = Tenants::with(&guest("hostile-02"), "cpu_ms = 30\nmemory_mib = 8", |_| {}).await;
    tenants.fails("/allocate", "memory_exceeded", 502, memory).await;
    let ended = tenants
        .fails("/spin", "cpu_exceeded", 504, "the function used up its CPU time before it answered")
        .await;
    assert!(ended.number("cpu_us") >= 30_000, "{}", ended.record);
    let ended = tenants.fails("/panic", "trap", 502, TRAP).await;
    assert!(ended.lines.iter().any(|line| line.message == "this guest panics on demand"));
}
