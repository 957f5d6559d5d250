//! A component for wasi:http 0.2, as somebody would write it for another host: no SDK, no manifest.
//!
//! | path | what it does |
//! |---|---|
//! | `/echo` | streams the request's body back, with a declared trailer `x-bytes` |
//! | `/generate/N` | streams N bytes |
//! | `/count` | reads the request's body and answers with its length |
//! | `/hoard` | reads the request's body with a pollable for each 8 KiB, keeps all of them, and answers with their number |
//! | `/trailers` | reads the request's body and answers with its trailers, `name: value` |
//! | `/request` | answers with the request's method, URL and headers, one to a line |
//! | `/fetch/URL` | answers with what the URL answers |
//! | `/follow/URL` | the same, and what a redirect of it leads to |
//! | `/nothing` | returns without a response |
//! | `/error` | answers with an error code |
//! | `/trap-after-head` | sends a head and a piece of the body, reads the request's body to its end, then traps |
//! | `/forever` | writes until nobody reads |
//! | `/exit-after-response` | finishes its response, then exits with the code 0 |
//! | `/insist/STATUS/N` | answers with the status, and writes N bytes; traps where one of them is not taken |
//! | `/spin-after-response` | finishes its response, then spins |
//! | `/asked` | answers with every authority that its instance was ever asked as, one to a line |
//! | `/served` | prints and answers how many requests its instance has seen, with this one |
//! | `/trap` | traps before it answers |
//! | anything else | `hello from 0.2` |

#![cfg(target_os = "wasi")]

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use wasip2::{
    exports::http::incoming_handler::Guest,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, FutureTrailers, IncomingBody, IncomingRequest, IncomingResponse,
            OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
        },
    },
    io::streams::{InputStream, OutputStream, StreamError},
};

struct Portable;

wasip2::http::proxy::export!(Portable);

static SERVED: AtomicU32 = AtomicU32::new(0);
static ASKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

impl Guest for Portable {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let served = SERVED.fetch_add(1, Relaxed) + 1;
        let path = request.path_with_query().unwrap_or_default();
        match path.split('/').nth(1).unwrap_or_default() {
            "echo" => echo(&request, out),
            "generate" => {
                generate(path.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0), out)
            }
            "count" => count(&request, out),
            "hoard" => hoard(&request, out),
            "trailers" => trailers(&request, out),
            "request" => text(out, &describe(&request)),
            "fetch" => fetch(path.strip_prefix("/fetch/").unwrap_or_default(), out),
            "follow" => follow(path.strip_prefix("/follow/").unwrap_or_default(), out),
            "asked" => text(out, &asked(request.authority())),
            "served" => {
                println!("served {served}");
                text(out, &served.to_string());
            }
            "trap" => panic!("before the head"),
            "nothing" => drop(out),
            "error" => ResponseOutparam::set(out, Err(ErrorCode::ConfigurationError)),
            "trap-after-head" => trap_after_head(&request, out),
            "forever" => generate(u64::MAX, out),
            "exit-after-response" => {
                text(out, "done");
                std::process::exit(0);
            }
            "insist" => insist(&path, out),
            "spin-after-response" => {
                text(out, "done");
                loop {
                    std::hint::spin_loop();
                }
            }
            _ => text(out, "hello from 0.2"),
        }
    }
}

fn begin(out: ResponseOutparam, headers: Fields) -> (OutgoingBody, OutputStream) {
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("a fresh response has its body");
    let stream = body.write().expect("a fresh body has its stream");
    ResponseOutparam::set(out, Ok(response));
    (body, stream)
}

fn text(out: ResponseOutparam, text: &str) {
    let (body, stream) = begin(out, Fields::new());
    stream.blocking_write_and_flush(text.as_bytes()).expect("the reader is there");
    drop(stream);
    OutgoingBody::finish(body, None).expect("nothing was declared");
}

/// Reads to the end; `None` when there is no more.
fn read(stream: &InputStream) -> Option<Vec<u8>> {
    match stream.blocking_read(64 * 1024) {
        Ok(chunk) => Some(chunk),
        Err(StreamError::Closed) => None,
        Err(error) => panic!("the body failed: {error:?}"),
    }
}

/// Writes in the pieces that the stream allows. False when nobody reads any more.
fn write(stream: &OutputStream, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        stream.subscribe().block();
        let Ok(room) = stream.check_write() else { return false };
        let (now, later) = bytes.split_at(bytes.len().min(room as usize));
        if stream.write(now).is_err() {
            return false;
        }
        bytes = later;
    }
    true
}

fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the body is still there");
    let input = incoming.stream().expect("the stream is still there");
    let (body, stream) = begin(out, declared_trailer());
    let mut bytes = 0;
    while let Some(chunk) = read(&input) {
        bytes += chunk.len();
        if !write(&stream, &chunk) {
            return;
        }
    }
    drop(input);
    let _ = IncomingBody::finish(incoming);
    let _ = stream.blocking_flush();
    drop(stream);
    let trailers = Fields::from_list(&[("x-bytes".to_owned(), bytes.to_string().into_bytes())])
        .expect("a valid field");
    OutgoingBody::finish(body, Some(trailers)).expect("nothing was declared");
}

/// HTTP/1.1 carries only trailers that the head has named.
fn declared_trailer() -> Fields {
    Fields::from_list(&[("trailer".to_owned(), b"x-bytes".to_vec())]).expect("a valid field")
}

fn generate(mut bytes: u64, out: ResponseOutparam) {
    let (body, stream) = begin(out, Fields::new());
    let chunk = [b'x'; 64 * 1024];
    while bytes > 0 {
        let now = bytes.min(chunk.len() as u64);
        if !write(&stream, &chunk[..now as usize]) {
            return;
        }
        bytes -= now;
    }
    let _ = stream.blocking_flush();
    drop(stream);
    OutgoingBody::finish(body, None).expect("nothing was declared");
}

fn insist(path: &str, out: ResponseOutparam) {
    let numbers: Vec<u64> = path.split('/').filter_map(|part| part.parse().ok()).collect();
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(numbers[0] as u16).expect("a status");
    let body = response.body().expect("a fresh response has its body");
    let stream = body.write().expect("a fresh body has its stream");
    ResponseOutparam::set(out, Ok(response));
    let bytes = vec![b'x'; numbers[1] as usize];
    for chunk in bytes.chunks(4096) {
        stream.blocking_write_and_flush(chunk).expect("every byte is taken");
    }
    drop(stream);
    OutgoingBody::finish(body, None).expect("nothing was declared");
}

fn count(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the body is still there");
    let input = incoming.stream().expect("the stream is still there");
    let mut bytes = 0;
    while let Some(chunk) = read(&input) {
        bytes += chunk.len();
    }
    text(out, &bytes.to_string());
}

fn hoard(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the body is still there");
    let input = incoming.stream().expect("the stream is still there");
    let mut kept = Vec::new();
    loop {
        let ready = input.subscribe();
        ready.block();
        kept.push(ready);
        match input.read(8 * 1024) {
            Ok(_) => {}
            Err(StreamError::Closed) => break,
            Err(error) => panic!("the body failed: {error:?}"),
        }
    }
    text(out, &kept.len().to_string());
    // Pollables are children of their stream.
    drop(kept);
}

fn trailers(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the body is still there");
    let input = incoming.stream().expect("the stream is still there");
    while read(&input).is_some() {}
    drop(input);
    let trailers: FutureTrailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    match trailers.get() {
        Some(Ok(Ok(Some(fields)))) => text(out, &lines(fields.entries())),
        other => text(out, &format!("no trailers: {other:?}")),
    }
}

fn describe(request: &IncomingRequest) -> String {
    format!(
        "{:?} {:?} {} {}\n{}",
        request.method(),
        request.scheme(),
        request.authority().unwrap_or_default(),
        request.path_with_query().unwrap_or_default(),
        lines(request.headers().entries())
    )
}

fn lines(fields: Vec<(String, Vec<u8>)>) -> String {
    let line =
        |(name, value): &(String, Vec<u8>)| format!("{name}: {}\n", String::from_utf8_lossy(value));
    fields.iter().map(line).collect()
}

fn follow(url: &str, out: ResponseOutparam) {
    let location = send(url).ok().and_then(|response| {
        response
            .headers()
            .get("location")
            .into_iter()
            .next()
            .and_then(|to| String::from_utf8(to).ok())
    });
    match location {
        Some(location) => fetch(&location, out),
        None => text(out, "no redirect"),
    }
}

fn fetch(url: &str, out: ResponseOutparam) {
    let response = match send(url) {
        Ok(response) => response,
        Err(error) => return text(out, &error),
    };
    let incoming = response.consume().expect("the body is still there");
    let input = incoming.stream().expect("the stream is still there");
    let mut answer = format!("{} ", response.status()).into_bytes();
    while let Some(chunk) = read(&input) {
        answer.extend(chunk);
    }
    text(out, &String::from_utf8_lossy(&answer));
}

fn send(url: &str) -> Result<IncomingResponse, String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).map_err(|()| "no scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "no authority")?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(|()| "no path")?;
    let pending =
        outgoing_handler::handle(request, None).map_err(|error| format!("refused: {error:?}"))?;
    pending.subscribe().block();
    match pending.get() {
        Some(Ok(Ok(response))) => Ok(response),
        other => Err(format!("failed: {other:?}")),
    }
}

fn trap_after_head(request: &IncomingRequest, out: ResponseOutparam) {
    let (_body, stream) = begin(out, Fields::new());
    stream.blocking_write_and_flush(b"half of ").expect("the reader is there");
    let incoming = request.consume().expect("the body is still there");
    let input = incoming.stream().expect("the stream is still there");
    while read(&input).is_some() {}
    panic!("after the head");
}

fn asked(authority: Option<String>) -> String {
    let mut asked = ASKED.lock().expect("nobody panics with it");
    asked.extend(authority);
    asked.iter().map(|one| format!("{one}\n")).collect()
}
