//! The body as JSON, in both directions.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::{BodyUse, FromRequest, Incoming};
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
/// - 422 if the body is JSON of another shape; the problem document has the path to it and the line.
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
        from_body(&request.take_body().into_bytes()?).map(Json)
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

fn from_body<T: DeserializeOwned>(body: &Bytes) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| refusal::<T>(body, &error))
}

/// What the client is told about a body that does not fit.
///
/// The path to the place costs bookkeeping on the way down, so it is found by a second reading.
#[cold]
fn refusal<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> Error {
    let said = error.to_string();
    let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
    let (line, column) = (error.line(), error.column());
    let refusal = match error.classify() {
        Category::Data => {
            let mut reader = serde_json::Deserializer::from_slice(body);
            let path = serde_path_to_error::deserialize::<_, T>(&mut reader)
                .err()
                .map(|error| error.path().to_string())
                .filter(|path| path != ".");
            let place = path.as_ref().map_or(String::new(), |path| format!(" at `{path}`"));
            let error = Error::unprocessable(format_args!(
                "the JSON body does not have the expected shape{place}, line {line} column {column}: {what}"
            ));
            match path {
                Some(path) => error.with_member("path", path),
                None => error,
            }
        }
        Category::Syntax | Category::Eof | Category::Io => Error::bad_request(format_args!(
            "the body is not valid JSON, line {line} column {column}: {what}"
        )),
    };
    refusal.with_member("in", "body").with_member("line", line).with_member("column", column)
}
