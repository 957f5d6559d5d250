//! The body as JSON, in both directions.

use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BodyUse, FromRequest, Incoming};
use crate::codec::{self, Explained};
use crate::respond::{IntoResponse, Reply, Response};
use crate::{Error, Result};

/// JSON: as an argument the request's body, as a result the response's.
///
/// ```
/// use lacewing_sdk::{Json, test};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Add { a: i64, b: i64 }
///
/// #[derive(Serialize)]
/// struct Sum { sum: i64 }
///
/// #[lacewing_sdk::http]
/// fn add(Json(add): Json<Add>) -> Json<Sum> {
///     Json(Sum { sum: add.a + add.b })
/// }
///
/// let response = test::post("/add").json(&serde_json::json!({ "a": 1, "b": 2 })).call(add);
/// assert_eq!(response.text(), r#"{"sum":3}"#);
/// ```
///
/// A request is refused with
/// - 415 if its `content-type` is not JSON,
/// - 400 if its body is not well-formed,
/// - 422 if the body is JSON of another shape; the problem document has the path to it and the
///   line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Json<T> {
    const BODY: BodyUse = BodyUse::Whole;

    fn from_request(request: &mut Incoming) -> Result<Json<T>> {
        if !is_json(request.headers()?) {
            return Err(Error::unsupported_media_type(
                "the body must be JSON: send it with `content-type: application/json`",
            )
            .with_member("in", "header")
            .with_member("name", "content-type"));
        }
        let body = request.take_body().into_bytes()?;
        codec::from_json(&body).map(Json).map_err(refusal)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        self.into_reply().into_response()
    }

    fn into_reply(self) -> Reply {
        match serde_json::to_vec(&self.0) {
            Ok(text) => Reply::Plain { content_type: "application/json", body: text.into() },
            Err(error) => Error::from(error).into_reply(),
        }
    }
}

/// `application/json`, or any type with the suffix `+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json")
        || essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case(b"+json")
}

/// The answer for a body that does not fit.
#[cold]
fn refusal(wrong: Explained) -> Error {
    let sentence = wrong.sentence("the body");
    let refusal =
        if wrong.is_data { Error::unprocessable(sentence) } else { Error::bad_request(sentence) };
    let refusal = match wrong.path {
        Some(path) => refusal.with_member("path", path),
        None => refusal,
    };
    refusal
        .with_member("in", "body")
        .with_member("line", wrong.line)
        .with_member("column", wrong.column)
}
