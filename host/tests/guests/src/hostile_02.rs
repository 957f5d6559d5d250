//! A component for wasi:http 0.2 that answers on demand with what is no response, or with none.
//!
//! | path | what it does |
//! |---|---|
//! | `/status/N` | answers with the status N |
//! | `/fields/N`, `/field-bytes/N` | answers with so many fields, or such a long one |
//! | `/field/NAME/HEX` | answers with such a field, or says what became of it |
//! | `/length/N/M` | declares a body of N bytes and writes M |
//! | `/no-body` | answers with a head and never touches the body |
//! | `/trailers/N/M` | answers with N trailers of M bytes |
//! | `/unfinished` | writes a piece of the body and drops it |
//! | `/abandoned` | the same, and sleeps afterwards |
//! | `/fails/STATUS/HOW` | sets a head, says why it fails, and drops the body, or keeps it, or writes a piece before, or rests before, or traps |
//! | `/once` | answers the first request of its instance, and no other |
//! | `/maps/N/M` | makes N maps of one field of M bytes each, keeps them and sleeps |
//! | `/methods/N/M`, `/authorities/N/M`, `/paths/N/M` | makes N requests with such a part of M bytes, sends none and sleeps |
//! | `/responses/N/M` | makes N responses with a field of M bytes, sets none and sleeps |
//! | `/fragments/N/M` | for each of N sizes makes M MiB of fields, keeps one of every 64 KiB, and sleeps in the end |
//! | `/timers/N` | makes N timers, keeps them and sleeps |
//! | `/left/N` | writes N bytes of a body, as many as the host takes at once, and ends |
//! | `/bodies/N` | writes all that it may to the bodies of N requests, sends none and sleeps |
//! | `/send/N/URL` | sends N requests whose bodies never end, reads the answer of each to its end, keeps everything and sleeps |
//! | `/spin`, `/sleep`, `/allocate`, `/panic` | before any answer |
//! | anything else | answers |

#![cfg(target_os = "wasi")]

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use wasip2::{
    clocks::monotonic_clock::subscribe_duration,
    exports::http::incoming_handler::Guest,
    http::{
        outgoing_handler,
        types::{
            Fields, IncomingBody, IncomingRequest, IncomingResponse, Method, OutgoingBody,
            OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
        },
    },
    io::streams::{InputStream, OutputStream},
};

struct Hostile;

wasip2::http::proxy::export!(Hostile);

impl Guest for Hostile {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let mut parts = path[1..].split('/');
        let mut next = || parts.next().unwrap_or_default();
        let (what, first, second) = (next(), next(), next());
        let number = |text: &str| text.parse().unwrap_or(0);
        match what {
            "status" => answer(out, number(first) as u16, Fields::new(), "body"),
            "fields" => {
                let fields = Fields::new();
                for n in 0..number(first) {
                    let _ = fields.append(&format!("x-{n}"), b"v");
                }
                answer(out, 200, fields, "")
            }
            "field-bytes" => {
                let fields = Fields::new();
                let value = vec![b'v'; number(first) as usize - "x-long".len()];
                match fields.append("x-long", &value) {
                    Ok(()) => answer(out, 200, fields, ""),
                    Err(error) => answer(out, 200, Fields::new(), &format!("refused: {error:?}")),
                }
            }
            "field" => {
                let fields = Fields::new();
                match fields.append(&first.replace('_', " "), &bytes(second)) {
                    Ok(()) => answer(out, 200, fields, "taken"),
                    Err(error) => answer(out, 200, Fields::new(), &format!("refused: {error:?}")),
                }
            }
            "length" => length(out, first, number(second) as usize),
            "no-body" => {
                ResponseOutparam::set(out, Ok(OutgoingResponse::new(Fields::new())));
            }
            "trailers" => trailers(out, number(first), number(second) as usize),
            "unfinished" => {
                let response = OutgoingResponse::new(Fields::new());
                let body = response.body().expect("a fresh response has its body");
                ResponseOutparam::set(out, Ok(response));
                let stream = body.write().expect("a fresh body has its stream");
                stream.blocking_write_and_flush(b"half of ").expect("the reader is there");
            }
            "abandoned" => {
                let (body, stream) = begin(out, 200);
                stream.blocking_write_and_flush(b"half of ").expect("the reader is there");
                drop(stream);
                drop(body);
                std::thread::sleep(Duration::from_secs(1 << 30));
            }
            "fails" => fails(out, number(first) as u16, second),
            "once" => match ANSWERED.swap(true, Relaxed) {
                false => answer(out, 200, Fields::new(), "once"),
                true => drop(out),
            },
            "maps" => {
                let value = vec![b'v'; number(second) as usize];
                let map = |_| {
                    let fields = Fields::new();
                    fields.append("x-long", &value).expect("there is room for the field");
                    fields
                };
                let _kept: Vec<Fields> = (0..number(first)).map(map).collect();
                std::thread::sleep(Duration::from_secs(1 << 30));
            }
            "methods" | "authorities" | "paths" => {
                let text = "a".repeat(number(second) as usize);
                let request = |_| {
                    let request = OutgoingRequest::new(Fields::new());
                    let set = match what {
                        "methods" => request.set_method(&Method::Other(text.clone())),
                        "authorities" => request.set_authority(Some(&text)),
                        _ => request.set_path_with_query(Some(&format!("/{text}"))),
                    };
                    set.expect("it is well formed");
                    request
                };
                let _kept: Vec<OutgoingRequest> = (0..number(first)).map(request).collect();
                std::thread::sleep(Duration::from_secs(1 << 30));
            }
            "responses" => {
                let value = vec![b'v'; number(second) as usize];
                let response = |_| {
                    let fields = Fields::new();
                    fields.append("x-long", &value).expect("there is room for the field");
                    OutgoingResponse::new(fields)
                };
                let _kept: Vec<OutgoingResponse> = (0..number(first)).map(response).collect();
                std::thread::sleep(Duration::from_secs(1 << 30));
            }
            "fragments" => {
                let mut kept = Vec::new();
                let mut size = 500;
                for _ in 0..number(first) {
                    fragment(&mut kept, size, number(second) as usize * MIB);
                    size = size * 6 / 5;
                }
                std::thread::sleep(Duration::from_secs(1 << 30));
            }
            "timers" => {
                let _kept: Vec<_> =
                    (0..number(first)).map(|_| subscribe_duration(1 << 62)).collect();
                std::thread::sleep(Duration::from_secs(1 << 30));
            }
            "left" => {
                let response = OutgoingResponse::new(Fields::new());
                let body = response.body().expect("a fresh response has its body");
                ResponseOutparam::set(out, Ok(response));
                let stream = body.write().expect("a fresh body has its stream");
                let mut left = number(first);
                while let Ok(room @ 1..) = stream.check_write() {
                    let bytes = room.min(left);
                    stream.write(&vec![b'x'; bytes as usize]).expect("there is room");
                    left -= bytes;
                    if left == 0 {
                        break;
                    }
                }
                drop(stream);
                let _ = OutgoingBody::finish(body, None);
            }
            "bodies" => {
                let body = |_| {
                    let request = OutgoingRequest::new(Fields::new());
                    let body = request.body().expect("a fresh request has its body");
                    let stream = body.write().expect("a fresh body has its stream");
                    while let Ok(room @ 1..) = stream.check_write() {
                        stream.write(&vec![b'x'; room as usize]).expect("there is room");
                    }
                    (stream, body, request)
                };
                let _kept: Vec<_> = (0..number(first)).map(body).collect();
                std::thread::sleep(Duration::from_secs(1 << 30));
            }
            "send" => {
                let url = path.splitn(4, '/').nth(3).unwrap_or_default();
                let _kept: Vec<Unended> = (0..number(first)).map(|_| Unended::to(url)).collect();
                std::thread::sleep(Duration::from_secs(1 << 30));
            }
            "spin" => loop {
                black_box(());
            },
            "sleep" => std::thread::sleep(Duration::from_secs(1 << 30)),
            "allocate" => {
                let mut held = Vec::new();
                loop {
                    held.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "panic" => panic!("this guest panics on demand"),
            _ => answer(out, 200, Fields::new(), "fine\n"),
        }
    }
}

const MIB: usize = 1 << 20;

static ANSWERED: AtomicBool = AtomicBool::new(false);

fn begin(out: ResponseOutparam, status: u16) -> (OutgoingBody, OutputStream) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("a fresh response has its body");
    let stream = body.write().expect("a fresh body has its stream");
    ResponseOutparam::set(out, Ok(response));
    (body, stream)
}

/// As runtimes do whose handler has thrown.
fn fails(out: ResponseOutparam, status: u16, how: &str) {
    let kept = begin(out, status);
    eprintln!("the handler threw");
    match how {
        "keep" => std::mem::forget(kept),
        "say" => {
            kept.1.blocking_write_and_flush(b"it failed").expect("the reader is there");
            std::mem::forget(kept);
        }
        "rest" => {
            std::thread::sleep(Duration::from_millis(5));
            drop((kept.1, kept.0));
        }
        "trap" => panic!("after the head"),
        _ => drop((kept.1, kept.0)),
    }
}

/// Makes `total` bytes of fields of a size, and keeps one of every 64 KiB.
fn fragment(kept: &mut Vec<Fields>, size: usize, total: usize) {
    let value = vec![b'v'; size];
    let one_of = (64 << 10) / size;
    let mut dropped = Vec::new();
    for n in 0..total / size {
        // A map of more than 2 MiB is too large.
        let in_map = n % (2 * MIB / size);
        if in_map == 0 {
            dropped.push(Fields::new());
            kept.push(Fields::new());
        }
        let maps = if n % one_of == 0 { &*kept } else { &dropped };
        let map = maps.last().expect("a map was just made");
        map.append("x", &value).expect("there is room for the field");
    }
}

/// An exchange of which the answer has ended, and the request has not.
struct Unended {
    _request: (OutputStream, OutgoingBody),
    _answer: (InputStream, IncomingBody, IncomingResponse),
}

impl Unended {
    fn to(url: &str) -> Unended {
        let (authority, path) =
            url.trim_start_matches("http://").split_once('/').unwrap_or((url, ""));
        let request = OutgoingRequest::new(Fields::new());
        request.set_method(&Method::Post).expect("a method");
        request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
        request.set_authority(Some(authority)).expect("an authority");
        request.set_path_with_query(Some(&format!("/{path}"))).expect("a path");
        let body = request.body().expect("a fresh request has its body");
        let stream = body.write().expect("a fresh body has its stream");
        let answer = outgoing_handler::handle(request, None).expect("it may be sent");
        answer.subscribe().block();
        let answer = answer.get().expect("it is there").expect("for the first time");
        let answer = answer.expect("the server answers");
        let incoming = answer.consume().expect("the body is still there");
        let input = incoming.stream().expect("the stream is still there");
        while input.blocking_read(1024).is_ok() {}
        Unended { _request: (stream, body), _answer: (input, incoming, answer) }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.as_bytes().chunks(2).filter_map(byte).collect()
}

fn answer(out: ResponseOutparam, status: u16, headers: Fields, text: &str) {
    let response = OutgoingResponse::new(headers);
    if response.set_status_code(status).is_err() {
        return answer(out, 200, Fields::new(), "refused");
    }
    let body = response.body().expect("a fresh response has its body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a fresh body has its stream");
    let _ = stream.blocking_write_and_flush(text.as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn trailers(out: ResponseOutparam, count: u64, bytes: usize) {
    let names: Vec<String> = (0..count).map(|n| format!("x-{n}")).collect();
    let fields = Fields::from_list(&[("trailer".to_owned(), b"x-0".to_vec())]).expect("a field");
    let response = OutgoingResponse::new(fields);
    let body = response.body().expect("a fresh response has its body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a fresh body has its stream");
    stream.blocking_write_and_flush(b"body").expect("the reader is there");
    drop(stream);
    let trailers = Fields::new();
    for name in names {
        trailers.append(&name, &vec![b'v'; bytes]).expect("there is room for a trailer");
    }
    let _ = OutgoingBody::finish(body, Some(trailers));
}

fn length(out: ResponseOutparam, declared: &str, written: usize) {
    let fields = Fields::new();
    fields.append("content-length", declared.as_bytes()).expect("a valid field");
    let response = OutgoingResponse::new(fields);
    let Ok(body) = response.body() else {
        return answer(out, 200, Fields::new(), "refused");
    };
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a fresh body has its stream");
    let _ = stream.blocking_write_and_flush(&vec![b'x'; written]);
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
