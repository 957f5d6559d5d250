//! A hello for wasi:http 0.2, as one would write it for any host.

#![cfg(target_os = "wasi")]

use wasip2::{
    exports::http::incoming_handler::Guest,
    http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam},
};

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::new();
        headers
            .append("content-type", b"text/plain; charset=utf-8")
            .expect("a header that HTTP allows");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("nobody has taken it");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("nobody has taken it");
        stream.blocking_write_and_flush(b"Hello, world!\n").expect("the reader is there");
        drop(stream);
        OutgoingBody::finish(body, None).expect("no length was declared");
    }
}
