use lacewing_sdk::{Method, Request};

#[lacewing_sdk::http]
fn borrowed(request: &Request) -> String {
    let _ = request;
    String::new()
}

#[lacewing_sdk::http]
fn generic<T>(request: Request) -> String {
    let _ = request;
    String::new()
}

#[lacewing_sdk::http]
fn some_trait(request: impl Into<String>) -> String {
    request.into()
}

#[lacewing_sdk::http("/users")]
fn with_a_route() -> String {
    String::new()
}

#[lacewing_sdk::http]
unsafe fn not_safe() -> String {
    String::new()
}

#[lacewing_sdk::http]
extern "C" fn with_an_abi() -> u8 {
    7
}

#[lacewing_sdk::http]
#[rustfmt::skip]
fn nine(
    _: Method, _: Method, _: Method, _: Method, _: Method, _: Method, _: Method, _: Method,
    _: Method,
) -> String {
    String::new()
}

#[lacewing_sdk::http]
struct NotAFunction;

fn main() {}
