//! The service of a connection: S3, and what S3's own library leaves open.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, Request, Response, header};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::Service};
use s3s::{Body, HttpError, S3Error, StdError, s3_error, service::S3Service};

use super::{
    caller::Rights,
    cors::{PageRequest, preflight},
    figures::S3Figures,
    form::Forms,
    pace::{BodyWatch, PacedBody},
    places::{Requests, UnderWay},
    text::with_text,
};

/// The service of all connections.
pub(super) struct Door {
    pub(super) service: S3Service,
    pub(super) rights: Arc<Rights>,
    pub(super) figures: S3Figures,
    pub(super) forms: Arc<Forms>,
    /// The longest pause of a client within a body.
    pub(super) pause: Duration,
}

/// The service of one connection.
pub(super) struct ConnectionDoor {
    pub(super) door: Arc<Door>,
    pub(super) requests: Requests,
    pub(super) client: IpAddr,
}

impl Service<Request<Incoming>> for ConnectionDoor {
    type Response = Response<Answer>;
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<Response<Answer>, HttpError>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (door, under_way) = (self.door.clone(), self.requests.begin());
        let client = self.client;
        Box::pin(async move {
            let response = door.rights.looking_up(door.answer(request, client)).await?;
            door.figures.count(response.status());
            Ok(response.map(|body| Answer { body, _under_way: under_way }))
        })
    }
}

impl Door {
    async fn answer(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> Result<Response<Body>, HttpError> {
        if let Some(field) = ambiguous(&request) {
            let text = "a request has the field once, in ASCII";
            return told(s3_error!(InvalidRequest, "`{field}`: {text}"));
        }
        let form = match self.forms.place(&request, client) {
            Ok(form) => form,
            Err(refused) => return told(refused),
        };
        if is_version_2(&request) {
            let text = "a signature in fields has version 4 (AWS4-HMAC-SHA256)";
            return told(s3_error!(InvalidRequest, "{text}"));
        }
        let watch = Arc::new(BodyWatch::default());
        if form.is_some() {
            watch.begin_whole();
        }
        self.answer_page(request, watch).await
    }

    /// The answer, with the fields that a page of another origin needs.
    async fn answer_page(
        &self,
        request: Request<Incoming>,
        watch: Arc<BodyWatch>,
    ) -> Result<Response<Body>, HttpError> {
        let Some(page) = PageRequest::of(&request) else {
            return self.serve(request, watch).await;
        };
        let fields = page.allowed(&self.rights).await;
        if page.is_preflight() {
            return Ok(preflight(fields));
        }
        let mut response = self.serve(request, watch).await?;
        response.headers_mut().extend(fields.unwrap_or_default());
        Ok(response)
    }

    async fn serve(
        &self,
        request: Request<Incoming>,
        watch: Arc<BodyWatch>,
    ) -> Result<Response<Body>, HttpError> {
        let (mut head, body) = request.into_parts();
        head.extensions.insert(watch.clone());
        let body = PacedBody::new(body, self.pause, watch.clone());
        let request = Request::from_parts(head, Body::http_body_unsync(body));
        let response = self.service.call(request).await?;
        if watch.is_late() {
            return told(s3_error!(RequestTimeout, "the body did not come in time"));
        }
        Ok(with_text(response))
    }
}

/// A field that s3s may read in another way than this door: s3s passes over values that are not
/// UTF-8, and takes those that are and not ASCII.
fn ambiguous<B>(request: &Request<B>) -> Option<HeaderName> {
    let is_plain = |name: &HeaderName| {
        let mut values = request.headers().get_all(name).iter();
        values.next().is_none_or(|value| value.to_str().is_ok()) && values.next().is_none()
    };
    [header::CONTENT_TYPE, header::AUTHORIZATION].into_iter().find(|name| !is_plain(name))
}

/// Whether a request has a signature of version 2 in its fields. Such a one has no bound in time,
/// so that a request which was overheard could be sent again for ever.
fn is_version_2<B>(request: &Request<B>) -> bool {
    let signed = request.headers().get(header::AUTHORIZATION);
    signed.is_some_and(|value| value.as_bytes().trim_ascii_start().starts_with(b"AWS "))
}

fn told(error: S3Error) -> Result<Response<Body>, HttpError> {
    error.to_http_response().map_err(|error| HttpError::new(Box::new(error)))
}

/// The body of a response. Its request is under way until it was sent.
pub(super) struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
