//! A component for wasi:http 0.3, as somebody would write it for another host: no SDK, no manifest.
//!
//! | path | what it does |
//! |---|---|
//! | `/echo` | streams the request's body back, with a declared trailer `x-bytes` |
//! | `/generate/N` | streams N bytes |
//! | `/count` | reads the request's body and answers with its length |
//! | `/trailers` | reads the request's body and answers with its trailers, `name: value` |
//! | `/request` | answers with the request's method, URL and headers, one to a line |
//! | `/fetch/URL` | answers with what the URL answers |
//! | `/error` | answers with an error code |
//! | `/trap-after-head` | sends a head and a piece of the body, reads the request's body to its end, then traps |
//! | `/forever` | writes until nobody reads |
//! | `/exit-after-response` | finishes its response, then exits with the code 0 |
//! | `/insist/STATUS/N` | answers with the status, and writes N bytes; traps where one of them is not taken |
//! | `/spin-after-response` | finishes its response, then spins |
//! | `/asked` | answers with every authority that its instance was ever asked as, one to a line |
//! | `/served` | prints and answers how many requests its instance has seen, with this one |
//! | `/trap` | traps before it answers |
//! | anything else | `hello from 0.3` |

#![cfg(target_os = "wasi")]

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use wasip3::{
    exports::http::handler::Guest,
    http::{
        client,
        types::{ErrorCode, Fields, Request, Response, Scheme, Trailers},
    },
    wit_bindgen::{self, StreamWriter},
    wit_future, wit_stream,
};

struct Portable;

wasip3::http::service::export!(Portable);

static SERVED: AtomicU32 = AtomicU32::new(0);
static ASKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

impl Guest for Portable {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let served = SERVED.fetch_add(1, Relaxed) + 1;
        let path = request.get_path_with_query().unwrap_or_default();
        match path.split('/').nth(1).unwrap_or_default() {
            "echo" => Ok(echo(request)),
            "generate" => {
                Ok(generate(path.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0)))
            }
            "count" => Ok(count(request).await),
            "trailers" => Ok(trailers(request).await),
            "request" => Ok(text(&describe(&request))),
            "fetch" => Ok(fetch(path.strip_prefix("/fetch/").unwrap_or_default()).await),
            "forever" => Ok(generate(u64::MAX)),
            "exit-after-response" => Ok(respond_then(
                Fields::new(),
                async |mut body| {
                    body.write_all(b"done".to_vec()).await;
                    None
                },
                async || std::process::exit(0),
            )),
            "insist" => Ok(insist(&path)),
            "spin-after-response" => Ok(respond_then(
                Fields::new(),
                async |mut body| {
                    body.write_all(b"done".to_vec()).await;
                    None
                },
                async || {
                    loop {
                        std::hint::spin_loop();
                    }
                },
            )),
            "asked" => Ok(text(&asked(request.get_authority()))),
            "served" => {
                println!("served {served}");
                Ok(text(&served.to_string()))
            }
            "trap" => panic!("before the head"),
            "error" => Err(ErrorCode::ConfigurationError),
            "trap-after-head" => Ok(trap_after_head(request)),
            _ => Ok(text("hello from 0.3")),
        }
    }
}

fn insist(path: &str) -> Response {
    let numbers: Vec<u64> = path.split('/').filter_map(|part| part.parse().ok()).collect();
    let bytes = vec![b'x'; numbers[1] as usize];
    let response = respond(async move |mut body| {
        let left = body.write_all(bytes).await;
        assert!(left.is_empty(), "every byte is taken");
        None
    });
    response.set_status_code(numbers[0] as u16).expect("a status");
    response
}

/// A response whose body `write` writes, after the head has been returned. Its trailers are what it
/// returns.
fn respond<W, F>(write: W) -> Response
where
    W: FnOnce(StreamWriter<u8>) -> F + 'static,
    F: Future<Output = Option<Trailers>> + 'static,
{
    respond_then(Fields::new(), write, async || {})
}

/// As [`respond`], and goes on with `after` once all of the response was taken.
fn respond_then<W, F, A>(headers: Fields, write: W, after: A) -> Response
where
    W: FnOnce(StreamWriter<u8>) -> F + 'static,
    F: Future<Output = Option<Trailers>> + 'static,
    A: AsyncFnOnce() + 'static,
{
    let (body, contents) = wit_stream::new();
    let (trailers, end) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(contents), end);
    wit_bindgen::spawn_local(async move {
        let last = write(body).await;
        let _ = trailers.write(Ok(last)).await;
        after().await;
    });
    response
}

fn text(text: &str) -> Response {
    let bytes = text.as_bytes().to_vec();
    respond(async move |mut body| {
        body.write_all(bytes).await;
        None
    })
}

fn echo(request: Request) -> Response {
    let (_, read) = wit_future::new(|| Ok(()));
    let (mut input, _trailers) = Request::consume_body(request, read);
    // HTTP/1.1 carries only trailers that the head has named.
    let headers =
        Fields::from_list(&[("trailer".to_owned(), b"x-bytes".to_vec())]).expect("a valid field");
    let write = async move |mut body: StreamWriter<u8>| {
        let mut bytes = 0;
        loop {
            let (status, chunk) = input.read(Vec::with_capacity(64 * 1024)).await;
            bytes += chunk.len();
            if !chunk.is_empty() && !body.write_all(chunk).await.is_empty() {
                return None;
            }
            if let wit_bindgen::StreamResult::Dropped = status {
                break;
            }
        }
        Some(
            Fields::from_list(&[("x-bytes".to_owned(), bytes.to_string().into_bytes())])
                .expect("a valid field"),
        )
    };
    respond_then(headers, write, async || {})
}

fn generate(bytes: u64) -> Response {
    respond(async move |mut body| {
        let mut left = bytes;
        while left > 0 {
            let now = left.min(64 * 1024);
            if !body.write_all(vec![b'x'; now as usize]).await.is_empty() {
                return None;
            }
            left -= now;
        }
        None
    })
}

fn trap_after_head(request: Request) -> Response {
    let (_, read) = wit_future::new(|| Ok(()));
    let (input, _trailers) = Request::consume_body(request, read);
    respond(async move |mut body| {
        body.write_all(b"half of ".to_vec()).await;
        input.collect().await;
        panic!("after the head");
    })
}

async fn trailers(request: Request) -> Response {
    let (_, read) = wit_future::new(|| Ok(()));
    let (mut input, trailers) = Request::consume_body(request, read);
    while let (wit_bindgen::StreamResult::Complete(_), _) =
        input.read(Vec::with_capacity(64 * 1024)).await
    {}
    match trailers.await {
        Ok(Some(fields)) => text(&lines(fields.copy_all())),
        other => text(&format!("no trailers: {other:?}")),
    }
}

fn describe(request: &Request) -> String {
    format!(
        "{:?} {:?} {} {}\n{}",
        request.get_method(),
        request.get_scheme(),
        request.get_authority().unwrap_or_default(),
        request.get_path_with_query().unwrap_or_default(),
        lines(request.get_headers().copy_all())
    )
}

fn lines(fields: Vec<(String, Vec<u8>)>) -> String {
    let line =
        |(name, value): &(String, Vec<u8>)| format!("{name}: {}\n", String::from_utf8_lossy(value));
    fields.iter().map(line).collect()
}

async fn fetch(url: &str) -> Response {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, no_trailers, None);
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).expect("a valid scheme");
    request.set_authority(Some(authority)).expect("a valid authority");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a valid path");
    let response = match client::send(request).await {
        Ok(response) => response,
        Err(error) => return text(&format!("failed: {error:?}")),
    };
    let status = response.get_status_code();
    let (_, read) = wit_future::new(|| Ok(()));
    let (input, _trailers) = Response::consume_body(response, read);
    let body = input.collect().await;
    text(&format!("{status} {}", String::from_utf8_lossy(&body)))
}

async fn count(request: Request) -> Response {
    let (_, read) = wit_future::new(|| Ok(()));
    let (mut input, _trailers) = Request::consume_body(request, read);
    let mut bytes = 0;
    loop {
        let (status, chunk) = input.read(Vec::with_capacity(64 * 1024)).await;
        bytes += chunk.len();
        if let wit_bindgen::StreamResult::Dropped = status {
            return text(&bytes.to_string());
        }
    }
}

fn asked(authority: Option<String>) -> String {
    let mut asked = ASKED.lock().expect("nobody panics with it");
    asked.extend(authority);
    asked.iter().map(|one| format!("{one}\n")).collect()
}
