//! The responses that results become.

use lacewing_sdk::http::{HeaderMap, HeaderValue, StatusCode, header};
use lacewing_sdk::test::{self, TestResponse};
use lacewing_sdk::{Body, Bytes, Error, Html, IntoResponse, Json, Response};
use serde::Serialize;

fn answer<T: IntoResponse>(result: impl Fn() -> T) -> TestResponse {
    test::get("/").call(result)
}

/// Status, content type and body.
fn seen(response: &TestResponse) -> (u16, Option<&str>, &[u8]) {
    (response.status().as_u16(), response.header("content-type"), response.bytes())
}

#[test]
fn texts_bytes_and_pages_have_their_types() {
    let text = Some("text/plain; charset=utf-8");
    let bytes = Some("application/octet-stream");
    assert_eq!(seen(&answer(|| "a")), (200, text, &b"a"[..]));
    assert_eq!(seen(&answer(|| String::from("a"))), (200, text, &b"a"[..]));
    assert_eq!(seen(&answer(|| b"a".to_vec())), (200, bytes, &b"a"[..]));
    assert_eq!(seen(&answer(|| Bytes::from_static(b"a"))), (200, bytes, &b"a"[..]));
    assert_eq!(seen(&answer(|| Body::from("a"))), (200, bytes, &b"a"[..]));
    assert_eq!(seen(&answer(|| Html("a"))), (200, Some("text/html; charset=utf-8"), &b"a"[..]));
    assert_eq!(seen(&answer(|| Json(["a"]))), (200, Some("application/json"), &b"[\"a\"]"[..]));
}

#[test]
fn nothing_is_a_204_and_a_status_is_itself() {
    assert_eq!(seen(&answer(|| ())), (204, None, &b""[..]));
    assert_eq!(seen(&answer(|| StatusCode::IM_A_TEAPOT)), (418, None, &b""[..]));
    assert_eq!(answer(|| None::<String>).status(), 404);
    assert_eq!(answer(|| Some("here")).text(), "here");
}

#[test]
fn tuples_add_status_and_headers() {
    assert_eq!(seen(&answer(|| (StatusCode::CREATED, "a"))).0, 201);
    let response = answer(|| ([(header::CONTENT_TYPE, "image/png")], "a"));
    assert_eq!(seen(&response), (200, Some("image/png"), &b"a"[..]));
    let response = answer(|| (StatusCode::ACCEPTED, [("x-a", "1"), ("x-b", "2")], "a"));
    assert_eq!((response.status().as_u16(), response.header("x-b")), (202, Some("2")));
    let response = answer(|| {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        (headers, "a")
    });
    assert_eq!(response.headers().get_all("x-a").iter().count(), 2);
}

#[test]
fn a_header_that_cannot_be_is_a_500() {
    let response = answer(|| ([("x-a", "line\nfeed")], "a"));
    assert_eq!(response.status(), 500);
    let response = answer(|| (StatusCode::OK, [("not a name", "a")], "a"));
    assert_eq!(response.status(), 500);
}

#[test]
fn json_that_cannot_be_written_is_a_500() {
    struct Never;

    impl Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }

    let response = answer(|| Json(Never));
    assert_eq!(response.text(), r#"{"title":"Internal Server Error","status":500}"#);
}

#[test]
fn a_response_of_ones_own_is_sent_as_it_is() {
    let response = answer(|| {
        let mut response = Response::new("body".into());
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/there"));
        response
    });
    assert_eq!((response.status().as_u16(), response.header("location")), (302, Some("/there")));
}

#[test]
fn an_error_type_of_ones_own() {
    enum Problem {
        Gone,
    }

    impl IntoResponse for Problem {
        fn into_response(self) -> Response {
            match self {
                Problem::Gone => Error::new(StatusCode::GONE, "it was here").into_response(),
            }
        }
    }

    let response = answer(|| Err::<String, _>(Problem::Gone));
    assert_eq!(response.text(), r#"{"title":"Gone","status":410,"detail":"it was here"}"#);
}

#[test]
fn a_body_that_waits_needs_an_async_handler() {
    let response = answer(|| {
        let (sender, body) = Body::channel();
        std::mem::forget(sender);
        body
    });
    assert_eq!(response.status(), 500);
}
