//! A component for wasi:http 0.3, as somebody would write it for another host: no SDK, no manifest.
//!
//! | path | what it does |
//! |---|---|
//! | `/echo` | streams the request's body back, with a trailer `x-bytes` |
//! | `/generate/N` | streams N bytes |
//! | `/count` | reads the request's body and answers with its length |
//! | `/error` | answers with an error code |
//! | `/trap-after-head` | sends a head and a piece of the body, then traps |
//! | anything else | `hello from 0.3` |

#![cfg(target_os = "wasi")]

use wasip3::{
    exports::http::handler::Guest,
    http::types::{ErrorCode, Fields, Request, Response, Trailers},
    wit_bindgen::{self, StreamWriter},
    wit_future, wit_stream,
};

struct Portable;

wasip3::http::service::export!(Portable);

impl Guest for Portable {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        match path.split('/').nth(1).unwrap_or_default() {
            "echo" => Ok(echo(request)),
            "generate" => {
                Ok(generate(path.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0)))
            }
            "count" => Ok(count(request).await),
            "error" => Err(ErrorCode::ConfigurationError),
            "trap-after-head" => Ok(respond(async |mut body| {
                body.write_all(b"half of ".to_vec()).await;
                panic!("after the head");
            })),
            _ => Ok(text("hello from 0.3")),
        }
    }
}

/// A response whose body `write` writes, after the head has been returned. Its trailers are what it returns.
fn respond<W, F>(write: W) -> Response
where
    W: FnOnce(StreamWriter<u8>) -> F + 'static,
    F: Future<Output = Option<Trailers>> + 'static,
{
    let (body, contents) = wit_stream::new();
    let (trailers, end) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(contents), end);
    wit_bindgen::spawn_local(async move {
        let last = write(body).await;
        let _ = trailers.write(Ok(last)).await;
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
    respond(async move |mut body| {
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
    })
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
