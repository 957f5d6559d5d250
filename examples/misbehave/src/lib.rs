//! A function that does what it should not, to show how the host answers: `/spin`, `/panic`, ...

use std::hint::black_box;
use std::time::Duration;

use lacewing_sdk::http::{HeaderValue, StatusCode, header};
use lacewing_sdk::{IntoResponse, Path, Response};
use serde::Deserialize;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    /// Behaves.
    Ok,
    /// Computes for ever.
    Spin,
    /// Takes memory until there is none left.
    Allocate,
    /// Calls itself until the stack ends.
    Recurse,
    /// Panics with a message.
    Panic,
    /// Waits for ever, without using CPU time.
    Sleep,
    /// Writes logs until it is cut off, and then answers.
    Flood,
    /// Answers with a status that is not one.
    BadStatus,
    /// Answers with a header whose value HTTP forbids.
    BadHeader,
    /// Answers with a body of 8 MiB.
    HugeBody,
}

#[lacewing_sdk::http]
fn misbehave(Path(what): Path<What>) -> Response {
    match what {
        What::Ok => "fine\n".into_response(),
        What::Spin => spin(),
        What::Allocate => allocate(),
        What::Recurse => recurse(0).to_string().into_response(),
        What::Panic => panic!("this function panics on demand"),
        What::Sleep => {
            std::thread::sleep(Duration::MAX);
            "awake\n".into_response()
        }
        What::Flood => flood(),
        What::BadStatus => bad_status(),
        What::BadHeader => bad_header(),
        What::HugeBody => vec![b'x'; 8 << 20].into_response(),
    }
}

fn spin() -> Response {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn allocate() -> Response {
    let mut held = Vec::new();
    loop {
        // Written to, so that it is memory and not only address space.
        held.push(black_box(vec![1u8; 1 << 20]));
    }
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame[0]
}

fn flood() -> Response {
    let line = "what a function says is kept, up to a limit ".repeat(20);
    for number in 0..1_000 {
        println!("{number}: {line}");
    }
    "said it\n".into_response()
}

fn bad_status() -> Response {
    let mut response = "no such status\n".into_response();
    // The `http` crate has statuses up to 999; HTTP ends at 599.
    *response.status_mut() = StatusCode::from_u16(999).unwrap_or_default();
    response
}

fn bad_header() -> Response {
    let mut response = "split\n".into_response();
    // SAFETY: the value breaks the type's rule on purpose; nothing in the guest relies on it, and
    // the host checks.
    #[allow(unsafe_code)]
    let value = unsafe { HeaderValue::from_maybe_shared_unchecked("x\r\nset-cookie: stolen=1") };
    response.headers_mut().insert(header::SERVER, value);
    response
}

#[cfg(test)]
mod tests {
    use super::misbehave;
    use lacewing_sdk::test;

    #[test]
    fn it_can_behave() {
        assert_eq!(test::get("/ok").param("what", "ok").call(misbehave).text(), "fine\n");
    }

    #[test]
    fn it_lists_its_paths() {
        let problem = test::get("/dance").param("what", "dance").call(misbehave);
        assert_eq!(problem.status(), 400);
        assert!(problem.text().contains("expected one of `ok`, `spin`"), "{}", problem.text());
    }
}
