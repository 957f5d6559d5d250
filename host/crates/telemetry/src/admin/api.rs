//! The part of the admin listener that a crate above answers: all paths below `/v1/`.
//!
//! ```text
//!   head ──begin──> refused, without a look at the content
//!            │
//!            v
//!         answer ──whole──> content, bounded in bytes and time ──> 408, 413
//!            │   └──next──> its pieces, each bounded in time ────> 408
//!            v
//!         the client waits for the host, and keeps its place; a body that is made as it is read
//!         waits for both
//! ```

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::{
    AdminAnswer,
    deadline::Deadline,
    places::{ClientPlace, Made},
};

/// The paths of the API.
pub(super) const PREFIX: &str = "/v1/";

/// An API below `/v1/`.
pub trait AdminApi: Send + Sync {
    /// Looks at the head of a request, of which only the host and the page were checked. A request
    /// that has no credentials is refused here, before any content is read.
    ///
    /// # Errors
    /// The answer to a request that is refused.
    fn begin(self: Arc<Self>, head: Parts) -> Result<Answering, Box<Response<AdminAnswer>>>;
}

/// The work of a request whose head was accepted. Dropped if the client leaves.
pub type Answering =
    Box<dyn FnOnce(ApiContent) -> BoxFuture<'static, Response<AdminAnswer>> + Send>;

/// Bounds on a request of the API.
#[derive(Clone, Copy, Debug)]
pub(super) struct ApiBounds {
    /// From the head to the end of content that is read whole. 408.
    pub(super) content: Duration,
    /// Of a body in pieces, the time for each. 408, or the connection is closed.
    pub(super) piece: Duration,
    /// From the content to the answer, of which a backup has the longest. The connection is closed.
    pub(super) work: Duration,
    /// From an answer that is whole to its last byte. The connection is closed.
    pub(super) response: Duration,
}

/// The connection of a request: its place, and the moment at which it is closed.
#[derive(Clone)]
pub(super) struct ApiClient {
    pub(super) place: Arc<ClientPlace>,
    pub(super) deadline: Arc<Deadline>,
    pub(super) bounds: ApiBounds,
}

impl ApiClient {
    /// The host waits for the client, which has so long.
    fn is_awaited(&self, within: Duration) {
        self.place.is_answered();
        self.deadline.set(within + self.bounds.response);
    }

    /// The client waits for the host.
    fn waits(&self) {
        self.place.is_served();
        self.deadline.set(self.bounds.work);
    }
}

/// The content of a request, which comes from its client as it is read.
pub struct ApiContent {
    body: AdminAnswer,
    client: ApiClient,
}

/// Why there is no content.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// None is taken.
    #[error("this request takes no content: send it without a body")]
    NoneTaken,
    /// More bytes than are taken.
    #[error("the content has over {most} bytes, which is the most that is taken here")]
    TooLarge {
        /// The bound.
        most: usize,
    },
    /// The client is too slow.
    #[error("{what} was not complete after {} s", .within.as_secs())]
    Slow {
        /// The content, or a piece of it.
        what: &'static str,
        /// The bound.
        within: Duration,
    },
    /// The client has gone, or sends what is no content.
    #[error("{0}")]
    Broken(Box<dyn Error + Send + Sync>),
}

impl ContentError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            ContentError::NoneTaken | ContentError::TooLarge { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            ContentError::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            ContentError::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl ApiContent {
    /// All of the content, of at most so many bytes.
    ///
    /// # Errors
    /// More bytes, and a client that is slow or gone.
    pub async fn whole(self, most: usize) -> Result<Bytes, ContentError> {
        let ApiContent { body, client } = self;
        let too_large = || match most {
            0 => ContentError::NoneTaken,
            most => ContentError::TooLarge { most },
        };
        // A length that is said beforehand saves the transfer.
        if body.size_hint().lower() > most as u64 {
            return Err(too_large());
        }
        let within = client.bounds.content;
        client.is_awaited(within);
        let limited = Limited::new(body, most).boxed_unsync();
        let content = match timeout(within, limited.collect()).await {
            Ok(Ok(content)) => content.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Err(error)) => return Err(ContentError::Broken(error)),
            Err(_) => return Err(ContentError::Slow { what: "the content", within }),
        };
        client.waits();
        Ok(content)
    }

    /// The next bytes of the content; `None` at its end.
    ///
    /// # Errors
    /// A client that is slow or gone.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        let within = self.client.bounds.piece;
        self.client.is_awaited(within);
        loop {
            let frame = timeout(within, self.body.frame()).await;
            let slow = |_| ContentError::Slow { what: "a piece of the content", within };
            let piece = match frame.map_err(slow)? {
                Some(frame) => match frame.map_err(ContentError::Broken)?.into_data() {
                    Ok(data) => Some(data),
                    // Trailers.
                    Err(_) => continue,
                },
                None => None,
            };
            self.client.waits();
            return Ok(piece);
        }
    }
}

/// Answers a request of the API.
pub(super) async fn answer<B>(
    api: Arc<dyn AdminApi>,
    request: Request<B>,
    client: ApiClient,
) -> Response<AdminAnswer>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let (head, body) = request.into_parts();
    let response = match api.begin(head) {
        Ok(answer) => {
            let body = body.map_err(Into::into).boxed_unsync();
            answer(ApiContent { body, client: client.clone() }).await
        }
        Err(refused) => *refused,
    };
    let ApiClient { place, deadline, bounds } = client;
    place.is_answered();
    // Only a body that is made as it is read has a size that is not known.
    let each = match response.body().size_hint().exact() {
        Some(_) => bounds.response,
        None => bounds.piece,
    };
    deadline.set(each);
    response.map(|body| Made::new(body, place).in_time(deadline, each).boxed_unsync())
}
