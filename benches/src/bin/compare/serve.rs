//! The servers that are in this tree: as little around the answer as hyper allows.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lacewing::event_loop::EventLoops;
use lacewing_benches::raw::{self, Raw};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

use crate::{
    options::{ServeArgs, Served},
    row::HELLO,
};

/// Serves until killed.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let raw = match (args.what, &args.component) {
        (Served::Native | Served::NativeLoops, _) => None,
        (Served::Raw, Some(component)) => {
            Some(Arc::new(Raw::new(component).map_err(crate::figures::wasm)?))
        }
        (Served::Raw, None) => anyhow::bail!("raw serves a --component"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await.context("cannot listen")?;
        // As the host has it, for all but the server that shows what hyper does by itself.
        let loops = match args.what {
            Served::Native => None,
            Served::NativeLoops | Served::Raw => Some(EventLoops::per_core()?),
        };
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let raw = raw.clone();
            match &loops {
                None => drop(tokio::spawn(serve(stream, raw))),
                Some(loops) => {
                    let stream = stream.into_std()?;
                    loops.handle().spawn(async move {
                        if let Ok(stream) = TcpStream::from_std(stream) {
                            serve(Gathering { stream, gathered: false }, raw).await;
                        }
                    });
                }
            }
        }
    })
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, raw: Option<Arc<Raw>>) {
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
}

/// Writes once the other connections of its thread that are ready have been served, as the host
/// does.
struct Gathering {
    stream: TcpStream,
    gathered: bool,
}

impl AsyncRead for Gathering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Gathering {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !std::mem::replace(&mut self.gathered, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gathered = false;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
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
