//! A component for wasi:http 0.3 that begins what it never ends.
//!
//! | path | what it does |
//! |---|---|
//! | `/tasks/N` | answers, and leaves N tasks that wait for ever |
//! | `/streams/N`, `/futures/N` | makes so many, keeps them, and waits for ever |
//! | `/methods/N/M` | makes N requests with a method of M bytes, sends none and waits for ever |
//! | `/unread/N` | writes into N streams that nobody reads |
//! | `/lingers/N` | answers, and then computes for N ms and rests for one, without end |
//! | `/trailers/N/M` | answers with N trailers of M bytes |
//! | `/length/N/M` | declares a body of N bytes and writes M at once |
//! | `/bad-end` | writes a body whose trailers are an error |
//! | `/pass/URL` | passes on what the URL answers, without a look at the body |
//! | `/open/N/URL` | sends N requests at once, and reads nothing of what is answered |
//! | anything else | answers |

#![cfg(target_os = "wasi")]

use wasip3::{
    clocks::monotonic_clock::wait_for,
    exports::http::handler::Guest,
    http::{
        client,
        types::{ErrorCode, Fields, Method, Request, Response, Scheme, Trailers},
    },
    wit_bindgen, wit_future, wit_stream,
};

struct Hostile;

wasip3::http::service::export!(Hostile);

/// In nanoseconds, longer than anybody waits.
const NEVER: u64 = 1 << 62;

impl Guest for Hostile {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let mut parts = path[1..].splitn(3, '/');
        let mut next = || parts.next().unwrap_or_default();
        let (what, first, rest) = (next(), next(), next());
        let number: usize = first.parse().unwrap_or(0);
        match what {
            "tasks" => {
                for _ in 0..number {
                    wit_bindgen::spawn_local(wait_for(NEVER));
                }
            }
            "streams" => {
                let held: Vec<_> = (0..number).map(|_| wit_stream::new::<u8>()).collect();
                wait_for(NEVER).await;
                drop(held);
            }
            "futures" => {
                let make = |_| wit_future::new::<Result<Option<Trailers>, ErrorCode>>(|| Ok(None));
                let held: Vec<_> = (0..number).map(make).collect();
                wait_for(NEVER).await;
                drop(held);
            }
            "methods" => {
                let text = "a".repeat(rest.parse().unwrap_or(0));
                let request = |_| {
                    let request = to("http://127.0.0.1/");
                    request.set_method(&Method::Other(text.clone())).expect("a method");
                    request
                };
                let held: Vec<Request> = (0..number).map(request).collect();
                wait_for(NEVER).await;
                drop(held);
            }
            "unread" => {
                let mut readers = Vec::new();
                for _ in 0..number {
                    let (mut writer, reader) = wit_stream::new::<u8>();
                    readers.push(reader);
                    wit_bindgen::spawn_local(async move {
                        writer.write_all(vec![b'x'; 64 << 10]).await;
                    });
                }
                wait_for(NEVER).await;
                drop(readers);
            }
            "lingers" => {
                wit_bindgen::spawn_local(async move {
                    loop {
                        let start = std::time::Instant::now();
                        while start.elapsed().as_millis() < number as u128 {
                            std::hint::black_box(0);
                        }
                        wait_for(1_000_000).await;
                    }
                });
            }
            "trailers" => return Ok(trailers(number, rest.parse().unwrap_or(0))),
            "length" => return Ok(length(first, rest.parse().unwrap_or(0))),
            "bad-end" => {
                let (mut body, contents) = wit_stream::new();
                let (trailers, end) = wit_future::new(|| Ok(None));
                wit_bindgen::spawn_local(async move {
                    body.write_all(b"body".to_vec()).await;
                    drop(body);
                    let _ = trailers.write(Err(ErrorCode::InternalError(None))).await;
                });
                return Ok(Response::new(Fields::new(), Some(contents), end).0);
            }
            "pass" => {
                let url = path.strip_prefix("/pass/").unwrap_or_default();
                let answer = client::send(to(url)).await?;
                let headers = answer.get_headers().copy_all();
                let headers = Fields::from_list(&headers).expect("they were fields before");
                let (_, read) = wit_future::new(|| Ok(()));
                let (contents, end) = Response::consume_body(answer, read);
                return Ok(Response::new(headers, Some(contents), end).0);
            }
            "open" => {
                for _ in 0..number {
                    let request = to(rest);
                    wit_bindgen::spawn_local(async move {
                        let response = client::send(request).await;
                        wait_for(NEVER).await;
                        drop(response);
                    });
                }
                wait_for(NEVER).await;
            }
            _ => {}
        }
        Ok(text("fine\n"))
    }
}

fn to(url: &str) -> Request {
    let (_, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, no_trailers, None);
    request.set_scheme(Some(&Scheme::Http)).expect("a valid scheme");
    request.set_authority(Some(authority)).expect("a valid authority");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a valid path");
    request
}

fn length(declared: &str, written: usize) -> Response {
    let headers = [("content-length".to_owned(), declared.as_bytes().to_vec())];
    let headers = Fields::from_list(&headers).expect("a field");
    let (mut body, contents) = wit_stream::new();
    let (trailers, end) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(contents), end);
    wit_bindgen::spawn_local(async move {
        body.write_all(vec![b'x'; written]).await;
        drop(body);
        let _ = trailers.write(Ok(None)).await;
    });
    response
}

fn text(text: &str) -> Response {
    let bytes = text.as_bytes().to_vec();
    let (mut body, contents) = wit_stream::new();
    let (trailers, end) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(contents), end);
    wit_bindgen::spawn_local(async move {
        body.write_all(bytes).await;
        drop(body);
        let _ = trailers.write(Ok(None)).await;
    });
    response
}

fn trailers(count: usize, bytes: usize) -> Response {
    let (mut body, contents) = wit_stream::new();
    let (trailers, end) = wit_future::new(|| Ok(None));
    let headers = Fields::from_list(&[("trailer".to_owned(), b"x-0".to_vec())]).expect("a field");
    let (response, _sent) = Response::new(headers, Some(contents), end);
    wit_bindgen::spawn_local(async move {
        body.write_all(b"body".to_vec()).await;
        drop(body);
        let fields = Fields::new();
        for n in 0..count {
            fields
                .append(&format!("x-{n}"), &vec![b'v'; bytes])
                .expect("there is room for a trailer");
        }
        let _ = trailers.write(Ok(Some(fields))).await;
    });
    response
}
