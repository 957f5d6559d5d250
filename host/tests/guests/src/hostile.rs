//! A component for the lean path that does on demand what a function should not, with the
//! contract's own records: what it answers has been through no SDK.
//!
//! | path | what it does |
//! |---|---|
//! | `/ok` | answers |
//! | `/echo` | answers with what it was asked, as text |
//! | `/body` | answers with the request's body |
//! | `/spin` | computes for ever, without a call |
//! | `/spin-calls` | asks for the time for ever |
//! | `/spin-random` | asks for 64 KiB of random bytes for ever |
//! | `/fill` | fills 16 MiB of memory for ever, in single instructions |
//! | `/work/N` | goes round a loop N times, and answers with the result |
//! | `/sleep` | sleeps for ever |
//! | `/poll` | waits in `wasi:io/poll` for two timers that never fire |
//! | `/timers/N` | waits so for N timers |
//! | `/allocate` | takes memory until the allocator gives up |
//! | `/allocate-then-panic` | is refused memory, goes on, and panics |
//! | `/allocate-then-exit` | is refused memory, and exits with the code 2 |
//! | `/grow` | grows its memory until it may not, and answers with what it got |
//! | `/recurse` | calls itself until the stack ends |
//! | `/recurse-calls` | the same, and prints and asks for memory at each depth |
//! | `/reach` | tries to reach files, sockets and names, and answers with what it got |
//! | `/panic` | panics with a message |
//! | `/exit/N` | exits with the code N |
//! | `/flood/N` | prints N lines of 100 bytes, and answers |
//! | `/line/N` | prints one line of N bytes, and answers |
//! | `/handles/N` | holds N timers at once, and answers |
//! | `/random/N` | asks for N random bytes in one call, and answers with how many it got |
//! | `/status/N` | answers with the status N, and a body |
//! | `/name/TEXT`, `/value/HEX` | answers with such a header's name, or value |
//! | `/fields/N`, `/field-bytes/N`, `/bytes/N` | answers with so many fields, such a long field, or body |
//! | `/length/TEXT` | answers with five bytes and such a content-length |

#![cfg(target_os = "wasi")]

use std::{hint::black_box, time::Duration};

use lacewing_sdk::bindings::http::exports::lacewing::function::http::{
    Field, Guest, Request, Response,
};
use wasip2::{
    clocks::monotonic_clock::subscribe_duration, io::poll, random::random::get_random_bytes,
};

struct Hostile;

lacewing_sdk::bindings::http::__export_http!(Hostile with_types_in lacewing_sdk::bindings::http);

/// In nanoseconds, longer than anybody waits.
const NEVER: u64 = 1 << 62;

impl Guest for Hostile {
    fn handle(request: Request) -> Response {
        let path = request.path_with_query.clone();
        let (what, argument) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let number = argument.parse().unwrap_or(0);
        match what {
            "echo" => text(&echo(&request)),
            "body" => Response { status: 200, headers: Vec::new(), body: request.body },
            "spin" | "spin-calls" | "spin-random" | "fill" | "work" => compute(what, number),
            "sleep" | "poll" | "timers" => wait(what, number),
            "allocate"
            | "allocate-then-panic"
            | "allocate-then-exit"
            | "grow"
            | "recurse"
            | "recurse-calls" => take(what),
            "reach" => text(&reach()),
            "panic" => panic!("this guest panics on demand"),
            "exit" => std::process::exit(i32::try_from(number).unwrap_or(1)),
            "flood" => flood(number),
            "line" => {
                println!("{}", "x".repeat(number as usize));
                text("said it\n")
            }
            "handles" => {
                let timers: Vec<_> = (0..number).map(|_| subscribe_duration(NEVER)).collect();
                text(&format!("{} timers\n", timers.len()))
            }
            "random" => text(&format!("{} random bytes\n", get_random_bytes(number).len())),
            "status" => {
                Response { status: number as u16, headers: Vec::new(), body: b"body".into() }
            }
            "name" | "value" | "fields" | "field-bytes" | "bytes" | "length" => {
                answer(what, argument, number as usize)
            }
            _ => text("fine\n"),
        }
    }
}

fn text(text: &str) -> Response {
    Response { status: 200, headers: vec![field("content-type", "text/plain")], body: text.into() }
}

fn field(name: &str, value: impl Into<Vec<u8>>) -> Field {
    Field { name: name.into(), value: value.into() }
}

fn echo(request: &Request) -> String {
    let Request { method, scheme, authority, path_with_query, route, params, headers, body } =
        request;
    let mut text = format!("{method} {scheme}://{authority}{path_with_query}\nroute {route}\n");
    for param in params {
        text += &format!("param {} = {:?}\n", param.name, param.value);
    }
    for field in headers {
        text += &format!("{}: {}\n", field.name, field.value.escape_ascii());
    }
    text + &format!("body {}\n", body.escape_ascii())
}

fn compute(how: &str, turns: u64) -> Response {
    if how == "work" {
        let mix = |sum: u64, turn| black_box(sum.wrapping_mul(31) ^ turn);
        return text(&format!("{}\n", (0..turns).fold(0, mix)));
    }
    let mut memory = vec![0_u8; 16 << 20];
    for turn in 0_u64.. {
        match how {
            "fill" => black_box(&mut memory).fill(turn as u8),
            "spin-random" => drop(black_box(get_random_bytes(64 << 10))),
            "spin-calls" => drop(black_box(std::time::Instant::now())),
            _ => drop(black_box(turn)),
        }
    }
    text("the numbers came to an end\n")
}

fn wait(how: &str, number: u64) -> Response {
    if how == "timers" {
        let timers: Vec<_> = (0..number).map(|_| subscribe_duration(NEVER)).collect();
        poll::poll(&timers.iter().collect::<Vec<_>>());
    }
    if how == "poll" {
        let timers = [subscribe_duration(NEVER), subscribe_duration(NEVER)];
        poll::poll(&[&timers[0], &timers[1]]);
    }
    std::thread::sleep(Duration::from_nanos(NEVER));
    text("awake\n")
}

fn take(what: &str) -> Response {
    match what {
        "allocate" => {
            let mut held = Vec::new();
            loop {
                held.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "allocate-then-panic" => {
            assert!(Vec::<u8>::new().try_reserve(1 << 30).is_err());
            panic!("over something else");
        }
        "allocate-then-exit" => {
            assert!(Vec::<u8>::new().try_reserve(1 << 30).is_err());
            std::process::exit(2);
        }
        "grow" => {
            // No allocation between the refusal and the answer: what it has is enough for both.
            while core::arch::wasm32::memory_grow(0, 16) != usize::MAX {}
            text(&format!("{} pages\n", core::arch::wasm32::memory_size(0)))
        }
        "recurse" => text(&recurse(black_box(1)).to_string()),
        _ => text(&recurse_calling(black_box(1)).to_string()),
    }
}

/// Ends in the host's code about as often as in its own.
fn recurse_calling(depth: u64) -> u64 {
    if depth % 16 == 0 {
        println!("{depth}");
        black_box(get_random_bytes(16));
    }
    if depth == 0 { 0 } else { recurse_calling(depth.wrapping_add(1)).wrapping_mul(31) ^ depth }
}

/// The world outside the sandbox, as far as a guest can see it.
fn reach() -> String {
    use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
    let mut text = String::new();
    let mut tried = |what: &str, got: bool| text += &format!("{what}: {got}\n");
    tried("read a file", std::fs::read("/etc/passwd").is_ok());
    tried("list a folder", std::fs::read_dir("/").is_ok() || std::fs::read_dir(".").is_ok());
    tried("write a file", std::fs::write("/tmp/lacewing-test-guest", "x").is_ok());
    tried("connect", TcpStream::connect("127.0.0.1:22").is_ok());
    tried("listen", TcpListener::bind("127.0.0.1:0").is_ok());
    tried("send", UdpSocket::bind("127.0.0.1:0").is_ok());
    tried("resolve", ("localhost", 80).to_socket_addrs().is_ok());
    tried("arguments", std::env::args().next().is_some());
    for (name, value) in std::env::vars() {
        text += &format!("{name}={value}\n");
    }
    text
}

/// Takes nothing of linear memory, so that the stack that ends is the host's and not the guest's
/// own.
fn recurse(depth: u64) -> u64 {
    if depth == 0 { 0 } else { recurse(depth.wrapping_add(1)).wrapping_mul(31) ^ depth }
}

fn flood(lines: u64) -> Response {
    for line in 0..lines {
        println!("{line:0>99}");
    }
    text("said it\n")
}

fn answer(what: &str, argument: &str, number: usize) -> Response {
    let mut body = b"12345".to_vec();
    let headers = match what {
        "name" => vec![field(&argument.replace('_', " "), "value")],
        "value" => {
            let digits = argument.as_bytes().chunks(2);
            let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            vec![field("x-value", digits.filter_map(byte).collect::<Vec<_>>())]
        }
        "fields" => (0..number).map(|n| field(&format!("x-{n}"), "v")).collect(),
        "field-bytes" => vec![field("x-long", vec![b'v'; number - "x-long".len()])],
        "bytes" => {
            body = vec![b'x'; number];
            Vec::new()
        }
        _ => vec![field("content-length", argument)],
    };
    Response { status: 200, headers, body }
}
