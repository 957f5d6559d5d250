//! An operation of the API: one entry of the table from which requests are routed and the OpenAPI
//! document is made.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use lacewing_store::{embedded::Stopper, kv::check_key, object::ObjectReader};
use lacewing_telemetry::admin::{AdminAnswer, ApiContent, problem, whole};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OwnedSemaphorePermit;

use super::ControlApi;

/// The bytes of one piece of a body.
const PIECE_BYTES: usize = 256 << 10;

/// The turn of a request among those of its kind.
pub(super) type Turn = OwnedSemaphorePermit;

/// One method of one path.
pub(super) struct Operation {
    /// The method. HEAD is answered where GET is.
    pub(super) method: Method,
    /// The path, with its parameters in braces.
    pub(super) path: &'static str,
    /// The name of the operation in generated clients.
    pub(super) id: &'static str,
    /// One sentence.
    pub(super) summary: &'static str,
    /// The parameters: those of the path first, in their order.
    pub(super) parameters: &'static [Parameter],
    /// The content that is taken.
    pub(super) content: Content,
    /// The answers that do as asked.
    pub(super) answers: &'static [Success],
    /// The statuses of its own refusals, besides those that every operation has.
    pub(super) refusals: &'static [u16],
    /// The requests that it takes a turn from.
    pub(super) turns: TurnKind,
    /// Answers, on a thread that may wait for the disk.
    pub(super) handler: Handler,
}

/// The code of an operation.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// Runs once the content is whole.
    Whole(fn(&ControlApi, &Call) -> Result<Answer, Refusal>),
    /// Reads the content itself, piece by piece.
    Streamed(fn(&ControlApi, &Call, ApiContent) -> Result<Answer, Refusal>),
}

/// The bound on requests at once that a request counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnKind {
    /// Reads and writes of some entries.
    Entries,
    /// Reads and writes of bodies, which take as long as their clients.
    Bodies,
    /// A read of all that a tenant has.
    Whole,
}

/// A parameter of an operation.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: ParameterPlace,
    pub(super) kind: ParameterKind,
    pub(super) description: &'static str,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParameterPlace {
    Path,
    Query,
    Header,
}

/// The values of a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum ParameterKind {
    /// A name of a tenant, an app or a store.
    Name,
    /// A name of a bucket.
    Bucket,
    /// A key of at most so many bytes.
    Key { max: usize },
    /// A text of at most so many bytes.
    Text { max: usize },
    /// A whole number.
    Number { min: u64, max: u64 },
    /// Entity tags, or `*`.
    Tags,
    /// A range of bytes.
    Range,
}

impl Parameter {
    pub(super) const fn path(
        name: &'static str,
        kind: ParameterKind,
        description: &'static str,
    ) -> Parameter {
        Parameter { name, place: ParameterPlace::Path, kind, description }
    }

    pub(super) const fn query(
        name: &'static str,
        kind: ParameterKind,
        description: &'static str,
    ) -> Parameter {
        Parameter { name, place: ParameterPlace::Query, kind, description }
    }

    pub(super) const fn header(
        name: &'static str,
        kind: ParameterKind,
        description: &'static str,
    ) -> Parameter {
        Parameter { name, place: ParameterPlace::Header, kind, description }
    }

    /// Whether a text is one of its values; otherwise the rule.
    pub(super) fn check(&self, text: &str) -> Result<(), Refusal> {
        let name = self.name;
        let rule = match self.kind {
            ParameterKind::Key { max } => return Ok(check_key(text, max)?),
            ParameterKind::Text { max } if text.len() > max => {
                format!("`{name}` has {} bytes; the limit is {max}", text.len())
            }
            ParameterKind::Number { min, max }
                if !text.parse().is_ok_and(|number: u64| (min..=max).contains(&number)) =>
            {
                format!("`{name}` is {text:?}; it is a whole number from {min} to {max}")
            }
            // A name that is none names nothing; the fields have their own readers.
            ParameterKind::Name
            | ParameterKind::Bucket
            | ParameterKind::Text { .. }
            | ParameterKind::Number { .. }
            | ParameterKind::Tags
            | ParameterKind::Range => return Ok(()),
        };
        Err(Refusal::new(StatusCode::BAD_REQUEST, rule))
    }
}

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of a document.
pub(super) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The content of a request or an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// None.
    Empty,
    /// Bytes, of a request at most so many.
    Bytes { max: usize },
    /// A document, of a request of at most so many bytes.
    Json { max: usize, schema: SchemaOf },
    /// Bytes of any type, which go through in pieces.
    Stream,
}

impl Content {
    /// The most that a request may have at once, in bytes.
    pub(super) fn max_bytes(self) -> usize {
        match self {
            Content::Empty | Content::Stream => 0,
            Content::Bytes { max } | Content::Json { max, .. } => max,
        }
    }
}

/// An answer that does as asked.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) status: u16,
    pub(super) description: &'static str,
    pub(super) content: Content,
    /// Names and descriptions of its fields.
    pub(super) fields: &'static [(&'static str, &'static str)],
}

/// A request whose head was checked against its operation.
pub(super) struct Call {
    /// The parameters of the path, in their order.
    pub(super) path: Vec<String>,
    /// The parameters of the query, each within its bounds.
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// Whether the content of the answer is not sent.
    pub(super) is_head: bool,
    /// The content, unless the operation reads it itself.
    pub(super) content: Bytes,
    /// Ends a long read when the client leaves.
    pub(super) stopper: Stopper,
}

impl Call {
    /// A parameter of the query.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A number of the query, or a default.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// A parameter of the path.
    pub(super) fn part(&self, at: usize) -> &str {
        self.path.get(at).map_or("", String::as_str)
    }

    /// The content as a document.
    pub(super) fn document<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let detail = format!("the content is {essence:?}; it is to be `application/json`");
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        serde_json::from_slice(&self.content).map_err(|error| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                format!("the content is not as described: {error}"),
            )
        })
    }
}

/// An answer that does as asked.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) fields: Vec<(HeaderName, String)>,
    pub(super) content: AnswerContent,
}

/// The content of an answer.
#[derive(Debug)]
pub(super) enum AnswerContent {
    Empty,
    /// Bytes of a media type.
    Bytes(&'static str, Bytes),
    /// The bytes that a reader gives. The fields of the answer have their number and type.
    Object(ObjectReader),
}

impl Answer {
    /// Without content.
    pub(super) fn empty(status: StatusCode) -> Answer {
        Answer { status, fields: Vec::new(), content: AnswerContent::Empty }
    }

    /// With a document.
    pub(super) fn document(status: StatusCode, document: &impl Serialize) -> Answer {
        // Infallible: texts, numbers and lists.
        let text = serde_json::to_vec(document).unwrap_or_default();
        let content = AnswerContent::Bytes("application/json", Bytes::from(text));
        Answer { content, ..Answer::empty(status) }
    }

    /// With one field more.
    pub(super) fn with(mut self, name: HeaderName, value: String) -> Answer {
        self.fields.push((name, value));
        self
    }

    /// The response, which gives the turn back at its end.
    pub(super) fn into_response(self, turn: Option<Turn>) -> Response<AdminAnswer> {
        let (kind, body) = match self.content {
            AnswerContent::Empty => (None, whole(Bytes::new())),
            AnswerContent::Bytes(kind, bytes) => {
                (Some(HeaderValue::from_static(kind)), whole(bytes))
            }
            AnswerContent::Object(reader) => (None, body_of(reader, turn)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
        for (name, value) in self.fields {
            // Infallible: numbers, tags and names of this API.
            headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        }
        response
    }
}

/// The body with the bytes that a reader gives. An error breaks it off.
fn body_of(reader: ObjectReader, turn: Option<Turn>) -> AdminAnswer {
    let pieces = stream::unfold(Some((reader, turn)), async |open| {
        let (mut reader, turn) = open?;
        match reader.next(PIECE_BYTES).await {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some((Ok(Frame::data(bytes)), Some((reader, turn)))),
            Err(error) => {
                tracing::error!(%error, "the body of an object for a client of the API");
                Some((Err(error.into()), None))
            }
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// A request that is not done as asked.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Refusal {
        Refusal { status, detail: detail.into() }
    }

    /// Too many requests are under way.
    pub(super) fn busy(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(super) fn into_response(self) -> Response<AdminAnswer> {
        let mut response = problem(self.status, &self.detail);
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"lacewing\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
