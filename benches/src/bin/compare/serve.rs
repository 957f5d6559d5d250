//! The servers that are in this tree: as little around the answer as hyper allows.

use std::{convert::Infallible, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lacewing_benches::raw::{self, Raw};
use tokio::net::TcpListener;

use crate::{
    options::{ServeArgs, Served},
    row::HELLO,
};

/// Serves until killed.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let raw = match (args.what, &args.component) {
        (Served::Native, _) => None,
        (Served::Raw, Some(component)) => {
            Some(Arc::new(Raw::new(component).map_err(crate::figures::wasm)?))
        }
        (Served::Raw, None) => anyhow::bail!("raw serves a --component"),
    };
    // As the host has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await.context("cannot listen")?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let raw = raw.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    let raw = raw.clone();
                    async move {
                        Ok::<_, Infallible>(match raw {
                            None => native(),
                            Some(raw) => call(&raw, request).await,
                        })
                    }
                });
                // A client that goes away is none of our business.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    })
}

fn native() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(HELLO.as_bytes())));
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

async fn call(raw: &Raw, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return failed() };
    let body = body.to_bytes();
    let headers: Vec<raw::Field<'_>> = head
        .headers
        .iter()
        .map(|(name, value)| raw::Field { name: name.as_str(), value: value.as_bytes() })
        .collect();
    let authority = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let answered = raw.call(raw::Request {
        method: head.method.as_str(),
        scheme: "http",
        authority: authority.unwrap_or("localhost"),
        path_with_query: head.uri.path_and_query().map_or("/", |path| path.as_str()),
        route: "/",
        params: &[],
        headers: &headers,
        body: &body,
    });
    match answered {
        Ok(answer) => response(answer).unwrap_or_else(failed),
        Err(_) => failed(),
    }
}

fn response(answer: raw::Response) -> Option<Response<Full<Bytes>>> {
    let mut response = Response::new(Full::new(answer.body.into()));
    *response.status_mut() = StatusCode::from_u16(answer.status).ok()?;
    for field in answer.headers {
        let name = HeaderName::try_from(field.name).ok()?;
        response.headers_mut().append(name, HeaderValue::try_from(field.value).ok()?);
    }
    Some(response)
}

fn failed() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
