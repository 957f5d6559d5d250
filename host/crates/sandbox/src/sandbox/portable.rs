//! The portable path: any component that exports wasi:http 0.2 or 0.3, streaming both ways.
//!
//! The head of the response leaves as soon as the guest has it; the guest runs on while its body is
//! read, and may run on after it, until its deadline. A caller that drives [`Sandbox::serve`]
//! therefore does so in a task of its own.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use lacewing_base::{
    body::{BodyError, CutShort, RequestStream, ResponseStream},
    outcome::Outcome,
};
use tokio::sync::oneshot;
use wasmtime::{Store, component::Accessor};
use wasmtime_wasi_http::{
    Error as WasiHttpError, WasiBody, WasiHttpView,
    p2::bindings::{
        Proxy, ProxyPre,
        http::types::{ErrorCode as ErrorCode02, Scheme},
    },
    p3::{
        self,
        bindings::{Service, ServicePre, http::types::ErrorCode as ErrorCode03},
    },
};

use super::{
    Fault, Sandbox, fault,
    lean::{Start, not_exported},
    provisioned::MadeSandbox,
    state::State,
};

/// How the guest's side of the exchange ended, when it did not trap.
pub(super) enum GuestAnswer {
    Sent,
    Nothing,
    Error(String),
}

impl GuestAnswer {
    pub(super) fn result(self) -> Result<(), Fault> {
        match self {
            GuestAnswer::Sent => Ok(()),
            GuestAnswer::Nothing => Err(Fault::new(
                Outcome::NoResponse,
                "the guest returned without having set a response",
            )),
            GuestAnswer::Error(code) => Err(Fault::new(
                Outcome::BadResponse,
                format!("the guest answered with the error code {code}"),
            )),
        }
    }
}

impl Sandbox {
    /// Hands `request` to the guest, its response to `respond`, and runs the guest to its end.
    ///
    /// The request has an absolute URI. If `respond` was not used when this returns, the result
    /// says why.
    pub async fn serve(
        &mut self,
        request: http::Request<RequestStream>,
        respond: oneshot::Sender<http::Response<ResponseStream>>,
    ) -> Result<(), Fault> {
        let program = self.program.clone();
        let made = self.made.take();
        // Its response leaves before the guest has ended, so its effects cannot wait for that.
        self.store.data_mut().is_transactional = false;
        let mut start = Start::now();
        let request = incoming(request);
        let result = match (&program.wasi_03, &program.wasi_02) {
            (Some(pre), _) => {
                self.run(async |store| {
                    serve_03(store, pre, made, request, respond, &mut start).await
                })
                .await
            }
            (None, Some(pre)) => {
                self.run(async |store| {
                    serve_02(store, pre, made, request, respond, &mut start).await
                })
                .await
            }
            (None, None) => Err(not_exported("wasi:http")),
        };
        self.instantiated = start.took;
        result?.result()
    }
}

async fn serve_02(
    store: &mut Store<State>,
    pre: &ProxyPre<State>,
    made: Option<MadeSandbox>,
    request: http::Request<WasiBody>,
    respond: oneshot::Sender<http::Response<ResponseStream>>,
    start: &mut Start,
) -> wasmtime::Result<GuestAnswer> {
    let proxy = match made {
        Some(made) => Proxy::new(&mut *store, &made.instance)?,
        None => pre.instantiate_async(&mut *store).await?,
    };
    start.done();
    let sent = AtomicBool::new(false);
    match exchange_02(store, &proxy, request, respond, &sent).await {
        // A program that ends by itself once it has answered, as one that was not written for this
        // does.
        Err(error) if fault::is_clean_exit(&error) && sent.load(Relaxed) => Ok(GuestAnswer::Sent),
        ended => ended,
    }
}

/// One request of an instance that is there. `sent` says whether the head of its response was.
pub(super) async fn exchange_02(
    store: &mut Store<State>,
    proxy: &Proxy,
    request: http::Request<WasiBody>,
    respond: oneshot::Sender<http::Response<ResponseStream>>,
    sent: &AtomicBool,
) -> wasmtime::Result<GuestAnswer> {
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let (answered, mut answer) = oneshot::channel::<Result<(), ErrorCode02>>();
    let mut view = store.data_mut().http();
    let request = view.new_incoming_request(scheme, request)?;
    let out = view.new_response_outparam_from_callback(move |result| {
        let sent = result.map(|response| {
            // The caller no longer listens: the guest will be stopped.
            let _ = respond.send(response.map(from_wasi));
        });
        let _ = answered.send(sent);
    })?;
    let ended = proxy.wasi_http_incoming_handler().call_handle(store, request, out).await;
    let answer = answer.try_recv();
    sent.store(matches!(answer, Ok(Ok(()))), Relaxed);
    ended?;
    Ok(match answer {
        Ok(Ok(())) => GuestAnswer::Sent,
        Ok(Err(code)) => GuestAnswer::Error(format!("{code:?}")),
        Err(_) => GuestAnswer::Nothing,
    })
}

async fn serve_03(
    store: &mut Store<State>,
    pre: &ServicePre<State>,
    made: Option<MadeSandbox>,
    request: http::Request<WasiBody>,
    respond: oneshot::Sender<http::Response<ResponseStream>>,
    start: &mut Start,
) -> wasmtime::Result<GuestAnswer> {
    let service = match made {
        Some(made) => Service::new(&mut *store, &made.instance)?,
        None => pre.instantiate_async(&mut *store).await?,
    };
    start.done();
    let sent = Arc::new(AtomicBool::new(false));
    let noted = sent.clone();
    let ended = store
        .run_concurrent(async move |accessor: &Accessor<State>| {
            let answer = exchange_03(accessor, &service, request, respond, &noted).await?;
            if let GuestAnswer::Sent = answer {
                poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            }
            Ok(answer)
        })
        .await;
    match ended {
        Err(error) if fault::is_clean_exit(&error) && sent.load(Relaxed) => Ok(GuestAnswer::Sent),
        ended => ended?,
    }
}

/// One request of an instance that is there, until its response was read. `sent` says whether the
/// head of that was sent.
pub(super) async fn exchange_03(
    accessor: &Accessor<State>,
    service: &Service,
    request: http::Request<WasiBody>,
    respond: oneshot::Sender<http::Response<ResponseStream>>,
    sent: &AtomicBool,
) -> wasmtime::Result<GuestAnswer> {
    let (request, io) = accessor.with(|mut access| {
        let (request, io) = p3::Request::from_http(access.get().http().hooks, request);
        let io: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(io);
        (request, io)
    });
    let response = match service.handle(accessor, request).await? {
        Ok(response) => response,
        Err(code) => return Ok(GuestAnswer::Error(error_03(&code))),
    };
    let response = accessor.with(|access| response.into_http(access, io))?;
    let (body_done, read) = oneshot::channel();
    let response = response.map(|body| from_wasi(WatchedBody { body, _done: body_done }));
    let _ = respond.send(response);
    sent.store(true, Relaxed);
    // The guest's tasks write the body, and the store's event loop moves it: both until the reader
    // is done.
    let _ = read.await;
    Ok(GuestAnswer::Sent)
}

/// A request as wasi:http takes it.
pub(super) fn incoming(request: http::Request<RequestStream>) -> http::Request<WasiBody> {
    request.map(|body| body.map_err(to_wasi).boxed_unsync())
}

fn error_03(code: &ErrorCode03) -> String {
    format!("{code:?}")
}

fn to_wasi(error: BodyError) -> WasiHttpError {
    match error {
        BodyError::TooLarge { limit_bytes } => {
            WasiHttpError::HttpRequestBodySize(Some(limit_bytes))
        }
        BodyError::Idle { .. } | BodyError::Slow { .. } => WasiHttpError::ConnectionReadTimeout,
        BodyError::Malformed => WasiHttpError::HttpProtocolError,
        BodyError::NoRoom | BodyError::Gone => WasiHttpError::ConnectionTerminated,
    }
}

fn from_wasi<B>(body: B) -> ResponseStream
where
    B: http_body::Body<Data = Bytes, Error = WasiHttpError> + Send + 'static,
{
    body.map_err(cut_short).boxed_unsync()
}

fn cut_short(error: WasiHttpError) -> CutShort {
    CutShort(match error {
        WasiHttpError::HttpResponseBodySize(Some(bytes)) => {
            format!("its body has {bytes} bytes, which is not its content-length")
        }
        error => format!("its body ended in the error {error:?}"),
    })
}

/// A body whose end, or whose reader's, is seen by the other half of `_done`.
struct WatchedBody {
    body: WasiBody,
    _done: oneshot::Sender<()>,
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = WasiHttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WasiHttpError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
