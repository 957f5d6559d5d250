//! The texts of errors, for clients and for authors.

use std::fmt;
use std::io;
use std::time::Duration;

use lacewing_sdk::error::Retry;
use lacewing_sdk::http::{HeaderValue, StatusCode, header};
use lacewing_sdk::{Error, IntoResponse, Result};

#[derive(Debug)]
struct Outer(io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the orders could not be read")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn failing() -> Result<()> {
    Err(Outer(io::Error::other("the disk is on fire")))?
}

fn text(error: Error) -> String {
    let body = error.into_response().into_body().into_bytes().unwrap();
    String::from_utf8(body.into()).unwrap()
}

#[test]
fn inner_causes_are_for_the_log_alone() {
    let error = failing().unwrap_err();
    assert_eq!(error.name(), "Outer");
    assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(error.to_string(), "the orders could not be read: the disk is on fire");
    assert_eq!(error.downcast_ref::<Outer>().unwrap().0.kind(), io::ErrorKind::Other);
    assert_eq!(text(error), r#"{"title":"Internal Server Error","status":500}"#);
}

#[test]
fn another_status_does_not_let_it_out() {
    let error = failing().unwrap_err().with_status(StatusCode::BAD_REQUEST);
    assert_eq!(text(error), r#"{"title":"Bad Request","status":400}"#);
}

#[test]
fn a_detail_is_for_the_client() {
    let error = failing().unwrap_err().with_detail("try \"again\"\nlater");
    assert_eq!(
        text(error),
        r#"{"title":"Internal Server Error","status":500,"detail":"try \"again\"\nlater"}"#
    );
}

#[test]
fn a_problem_may_have_a_type_members_and_headers() {
    let error = Error::too_many_requests("slower")
        .with_type("https://example.com/slower")
        .with_member("limit", 10)
        .with_header(header::ALLOW, HeaderValue::from_static("GET"))
        .with_retry(Retry::After(Duration::from_millis(1500)));
    let response = error.into_response();
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(response.headers()["allow"], "GET");
    let body = response.into_body().into_bytes().unwrap();
    assert_eq!(
        body,
        r#"{"type":"https://example.com/slower","title":"Too Many Requests","status":429,"detail":"slower","limit":10}"#
    );
}

#[test]
fn an_error_can_be_made_of_a_type_that_is_not_one() {
    struct Declined;

    impl From<Declined> for Error {
        fn from(_: Declined) -> Error {
            Error::named("PaymentDeclined", "the bank said no").with_retry(Retry::Never)
        }
    }

    let declined: fn() -> Result<()> = || Err(Declined)?;
    let error = declined().unwrap_err();
    assert_eq!((error.name(), error.retry()), ("PaymentDeclined", Retry::Never));
}
