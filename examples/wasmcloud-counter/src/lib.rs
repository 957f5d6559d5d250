//! A counter for each path: a component of wasmCloud, with wasmCloud's own crate.

use wasmcloud_component::{
    http::{self, ErrorCode, IncomingRequest, OutgoingBody, Response, StatusCode},
    wasi::{
        config,
        keyvalue::{atomics, store},
    },
};

struct Counter;

http::export!(Counter);

impl http::Server for Counter {
    fn handle(request: IncomingRequest) -> http::Result<Response<impl OutgoingBody>> {
        let path = request.uri().path().to_owned();
        let bucket = store::open("default").map_err(internal)?;
        let count = atomics::increment(&bucket, &path, 1).map_err(internal)?;
        let greeting = config::store::get("greeting").map_err(internal)?.unwrap_or_default();
        Response::builder()
            .status(StatusCode::OK)
            .body(format!("{greeting}! {path} was asked for {count} times\n"))
            .map_err(internal)
    }
}

fn internal(error: impl std::fmt::Debug) -> ErrorCode {
    ErrorCode::InternalError(Some(format!("{error:?}")))
}
