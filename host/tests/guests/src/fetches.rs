//! A handler of the SDK's that sends a request and waits for all of the answer.
//!
//! | path | what it does |
//! |---|---|
//! | `/send/METHOD/N/URL` | sends a body of N bytes, and answers with what the URL answers |

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Path, Result, Routes, client, http::Request};

#[lacewing_sdk::http]
fn fetches(routes: Routes) -> Routes {
    routes.get("/send/{method}/{bytes}/{*url}", send)
}

fn send(Path((method, bytes, url)): Path<(String, usize, String)>) -> Result<String> {
    let request = Request::builder().method(method.as_str()).uri(url).body(vec![b'f'; bytes])?;
    let response = client::fetch(request)?;
    let status = response.status().as_u16();
    let body = response.into_body().into_bytes()?;
    Ok(format!("{status} {}", String::from_utf8_lossy(&body)))
}
