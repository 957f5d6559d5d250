//! A hello for wasi:http 0.3, as one would write it for any host.

#![cfg(target_os = "wasi")]

use wasip3::{
    exports::http::handler::Guest,
    http::types::{ErrorCode, Fields, Request, Response},
    wit_bindgen, wit_future, wit_stream,
};

struct Hello;

wasip3::http::service::export!(Hello);

impl Guest for Hello {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let headers = Fields::new();
        headers
            .append("content-type", b"text/plain; charset=utf-8")
            .expect("a header that HTTP allows");
        let (mut body, contents) = wit_stream::new();
        let (trailers, end) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(headers, Some(contents), end);
        wit_bindgen::spawn_local(async move {
            body.write_all(b"Hello, world!\n".to_vec()).await;
            drop(body);
            let _ = trailers.write(Ok(None)).await;
        });
        Ok(response)
    }
}
