//! An `async` handler of the SDK's, with handlers of both kinds for its routes.
//!
//! | path | what it does |
//! |---|---|
//! | `/` | answers at once |
//! | `/whole` | answers with the request's body, which it takes whole |
//! | `/echo` | streams the request's body back, with the trailers that came behind it |
//! | `/count` | streams the request's body back, with a trailer `x-bytes` |
//! | `/says` | says something in every way that there is, while its body streams |
//! | `/fetch/URL` | streams what the URL answers |
//! | `/send/METHOD/N/URL` | sends a body of N bytes, and answers with what the URL answers |

#![cfg(target_os = "wasi")]

use lacewing_sdk::{
    AsyncRoutes, Body, HeaderMap, Path, Response, Result, client,
    http::{HeaderValue, Request},
    log, spawn,
};

#[lacewing_sdk::http]
async fn streams(routes: AsyncRoutes) -> Response {
    routes
        .get("/", || "at once")
        .post("/whole", |body: String| body)
        .post("/echo", |body: Body| async move { ([("trailer", "x-sum")], body) })
        .post("/count", count)
        .get("/says", says)
        .get("/fetch/{*url}", fetch)
        .get("/send/{method}/{bytes}/{*url}", send)
        .await
}

async fn count(mut body: Body) -> ([(&'static str, &'static str); 1], Body) {
    let (mut sender, counted) = Body::channel();
    spawn(async move {
        let mut bytes = 0;
        while let Some(Ok(chunk)) = body.chunk().await {
            bytes += chunk.len();
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
        let name = lacewing_sdk::http::HeaderName::from_static("x-bytes");
        sender.finish(HeaderMap::from_iter([(name, HeaderValue::from(bytes))]));
    });
    ([("trailer", "x-bytes")], counted)
}

async fn says() -> Body {
    println!("before the head");
    let (mut sender, body) = Body::channel();
    spawn(async move {
        let _ = sender.send("said it").await;
        log::warn!("while it streams");
        tracing::info!(chunks = 1, "traced");
        print!("and no line feed");
    });
    body
}

async fn send(Path((method, bytes, url)): Path<(String, usize, String)>) -> Result<String> {
    let request = Request::builder().method(method.as_str()).uri(url).body(vec![b'f'; bytes])?;
    let response = client::send(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?;
    Ok(format!("{status} {}", String::from_utf8_lossy(&body)))
}

async fn fetch(Path(url): Path<String>) -> Result<Response> {
    client::send(url).await
}
