//! Answers with the request's body, on the lean path: what lifting and lowering cost by its size.

#![cfg(target_os = "wasi")]

use lacewing_sdk::bindings::http::exports::lacewing::function::http::{Guest, Request, Response};

struct Echo;

lacewing_sdk::bindings::http::__export_http!(Echo with_types_in lacewing_sdk::bindings::http);

impl Guest for Echo {
    fn handle(request: Request) -> Response {
        Response { status: 200, headers: Vec::new(), body: request.body }
    }
}
