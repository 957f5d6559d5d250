//! The part of the admin listener that a crate above answers: all paths below `/v1/`.
//!
//! ```text
//!   head ──begin──> refused, without a look at the content
//!            │
//!            v
//!     content, bounded in bytes and time ──> 408, 413
//!            │
//!            v
//!         answer: the client waits for the host, and keeps its place
//! ```

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{AdminAnswer, deadline::Deadline, places::ClientPlace, problem, whole};

/// The paths of the API.
pub(super) const PREFIX: &str = "/v1/";

/// An API below `/v1/`.
pub trait AdminApi: Send + Sync {
    /// Looks at the head of a request, of which only the host and the page were checked. A request
    /// that has no credentials is refused here, before any content is read.
    ///
    /// # Errors
    /// The answer to a request that is refused.
    fn begin(self: Arc<Self>, head: Parts) -> Result<ApiRequest, Box<Response<Bytes>>>;
}

/// A request whose head was accepted.
pub struct ApiRequest {
    /// The most content that it may have, in bytes. Over it the answer is 413.
    pub max_content_bytes: usize,
    /// Answers, once the content is whole. Dropped if the client leaves.
    pub answer: Answering,
}

/// The work of a request, for its content.
pub type Answering = Box<dyn FnOnce(Bytes) -> BoxFuture<'static, Response<Bytes>> + Send>;

/// Bounds on a request of the API.
#[derive(Clone, Copy, Debug)]
pub(super) struct ApiBounds {
    /// From the head to the end of the content. 408.
    pub(super) content: Duration,
    /// From the content to the answer, of which a backup has the longest. The connection is closed.
    pub(super) work: Duration,
    /// From the answer to its last byte. The connection is closed.
    pub(super) response: Duration,
}

/// Answers a request of the API.
pub(super) async fn answer<B>(
    api: Arc<dyn AdminApi>,
    request: Request<B>,
    (place, deadline, bounds): (&ClientPlace, &Deadline, ApiBounds),
) -> Response<AdminAnswer>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let (head, body) = request.into_parts();
    let response = match api.begin(head) {
        Ok(ApiRequest { max_content_bytes, answer }) => {
            deadline.set(bounds.content + bounds.response);
            match content(body, max_content_bytes, bounds.content).await {
                Ok(content) => {
                    deadline.set(bounds.work);
                    // Until now the host has waited for the client.
                    place.is_served();
                    let response = answer(content).await;
                    place.is_answered();
                    response
                }
                Err(refused) => refused,
            }
        }
        Err(refused) => *refused,
    };
    deadline.set(bounds.response);
    whole(response)
}

/// The content of a request.
async fn content<B>(body: B, most: usize, within: Duration) -> Result<Bytes, Response<Bytes>>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    // A length that is said beforehand saves the transfer.
    if body.size_hint().lower() > most as u64 {
        return Err(too_large(most));
    }
    match tokio::time::timeout(within, Limited::new(body, most).collect()).await {
        Ok(Ok(content)) => Ok(content.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(most)),
        // The client has gone, or sends what is no content.
        Ok(Err(error)) => Err(problem(StatusCode::BAD_REQUEST, &error.to_string())),
        Err(_) => {
            let detail = format!("the content was not complete after {} s", within.as_secs());
            Err(problem(StatusCode::REQUEST_TIMEOUT, &detail))
        }
    }
}

fn too_large(most: usize) -> Response<Bytes> {
    let detail = match most {
        0 => "this request takes no content: send it without a body".to_owned(),
        most => format!("the content has over {most} bytes, which is the most that is taken here"),
    };
    problem(StatusCode::PAYLOAD_TOO_LARGE, &detail)
}
