//! The bounds on requests of an API: content that is large or slow, and work that takes long.

use futures_util::{FutureExt, StreamExt, stream};
use http::request::Parts;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::Notify;

use super::*;

/// The most content that the API takes.
const MOST: usize = 8;

/// An API that answers with its content: `/v1/late` when it is told to, and `/v1/pieces` piece by
/// piece.
#[derive(Default)]
struct Echo {
    begun: Notify,
    go_on: Arc<Notify>,
}

impl AdminApi for Echo {
    fn begin(self: Arc<Self>, head: Parts) -> Result<Answering, Box<Response<AdminAnswer>>> {
        match head.uri.path() {
            "/v1/echo" => Ok(Box::new(|content| echo(content, MOST).boxed())),
            "/v1/late" => Ok(Box::new(move |content| {
                async move {
                    let answer = echo(content, 0).await;
                    self.begun.notify_one();
                    self.go_on.notified().await;
                    answer
                }
                .boxed()
            })),
            "/v1/pieces" => Ok(Box::new(|content| pieces(content).boxed())),
            _ => Err(Box::new(problem(StatusCode::UNAUTHORIZED, "no token"))),
        }
    }
}

async fn echo(content: ApiContent, most: usize) -> Response<AdminAnswer> {
    match content.whole(most).await {
        Ok(content) => Response::new(whole(content)),
        Err(error) => problem(error.status(), &error.to_string()),
    }
}

/// The first piece is waited for, and the others come as the client takes the answer.
async fn pieces(mut content: ApiContent) -> Response<AdminAnswer> {
    let first = match content.next().await {
        Ok(first) => first.unwrap_or_default(),
        Err(error) => return problem(error.status(), &error.to_string()),
    };
    let rest = stream::unfold(content, async |mut content| {
        let piece = content.next().await.transpose()?;
        Some((piece.map(Frame::data).map_err(Into::into), content))
    });
    let all = stream::iter([Ok(Frame::data(first))]).chain(rest);
    Response::new(StreamBody::new(all).boxed_unsync())
}

async fn serve(bounds: Bounds) -> (Served, Arc<Echo>) {
    let echo = Arc::new(Echo::default());
    let (health, metrics) = (Arc::new(Health::new()), Arc::new(Metrics::new()));
    let admin = Admin::bind(ANY, Vec::new(), metrics.clone(), health.clone()).await.unwrap();
    let mut admin = admin.with_api(echo.clone());
    admin.bounds = bounds;
    let (address, server) = (admin.address(), tokio::spawn(admin.serve()));
    (Served { address, health, metrics, server }, echo)
}

fn post(path: &str, fields: &str, content: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n{content}")
}

#[tokio::test]
async fn content_is_taken_up_to_its_bound() {
    let (served, _) = serve(BOUNDS).await;
    for (fields, content, status) in [
        ("content-length: 8\r\n", "12345678", "200"),
        ("", "", "200"),
        ("content-length: 9\r\n", "", "413"),
        ("content-length: 1000000000000\r\n", "", "413"),
        ("transfer-encoding: chunked\r\n", "4\r\n1234\r\n4\r\n5678\r\n0\r\n\r\n", "200"),
        ("transfer-encoding: chunked\r\n", "4\r\n1234\r\n5\r\n56789\r\n", "413"),
        ("transfer-encoding: chunked\r\n", "what\r\n", "400"),
    ] {
        let answer = rest(served.raw(post("/v1/echo", fields, content)).await).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {answer}");
    }
    // Content of a request without credentials is not waited for.
    let refused = post("/v1/other", "content-length: 1000000\r\n", "");
    let answer = rest(served.raw(refused).await).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // The host and the page are looked at first.
    let foreign = "GET /v1/echo HTTP/1.1\r\nhost: evil.test\r\n\r\n";
    assert!(rest(served.raw(foreign).await).await.starts_with("HTTP/1.1 421 "));
}

#[tokio::test]
async fn content_that_does_not_come_has_an_end() {
    let soon = Duration::from_millis(20);
    let (served, _) = serve(Bounds { response: soon, ..BOUNDS }).await;
    let slow = served.raw(post("/v1/echo", "content-length: 8\r\n", "1234")).await;
    let answer = rest(slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
}

/// Clients whose content does not come make room for others.
#[tokio::test]
async fn slow_uploads_give_way() {
    let (served, _) = serve(BOUNDS).await;
    let mut slow = Vec::new();
    for _ in 0..3 * BOUNDS.connections {
        slow.push(served.raw(post("/v1/echo", "content-length: 8\r\n", "1234")).await);
        if slow.len() % BOUNDS.connections == 0 {
            let answer = served.ask("GET /livez", "").await;
            assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
        }
    }
    assert_eq!(rest(slow.remove(0)).await, "");
}

/// A request that the host itself keeps waiting is not ended, also not after the time that others
/// have.
#[tokio::test]
async fn work_that_takes_long_keeps_its_place() {
    let soon = Duration::from_millis(20);
    let bounds = Bounds { connections: 2, head: soon, response: soon, ..BOUNDS };
    let (served, echo) = serve(bounds).await;
    let late = served.raw(post("/v1/late", "", "")).await;
    echo.begun.notified().await;
    for _ in 0..20 {
        // Each ends after its time, or makes room for the next one.
        assert_eq!(rest(served.raw("GET /rea").await).await, "");
        assert!(!is_ended(&late));
    }
    echo.go_on.notify_one();
    assert!(rest(late).await.starts_with("HTTP/1.1 200 "));
}

/// Work whose client has left is dropped.
#[tokio::test]
async fn work_is_given_up_with_its_client() {
    let (served, echo) = serve(BOUNDS).await;
    let late = served.raw(post("/v1/late", "", "")).await;
    echo.begun.notified().await;
    let held = Arc::strong_count(&echo);
    drop(late);
    let until = std::time::Instant::now() + PATIENCE;
    while Arc::strong_count(&echo) >= held {
        assert!(std::time::Instant::now() < until, "the work goes on");
        tokio::task::yield_now().await;
    }
}

/// A body in pieces has as long as its pieces need, in both directions, and ends with a client that
/// sends none.
#[tokio::test]
async fn a_body_in_pieces_has_time_for_each() {
    let soon = Duration::from_millis(20);
    let (served, _) = serve(Bounds { head: soon, response: soon, ..BOUNDS }).await;
    let head = post("/v1/pieces", "transfer-encoding: chunked\r\n", "1\r\na\r\n");
    let mut stream = served.raw(head).await;
    let mut answer = String::new();
    for piece in ["b", "c", "d"] {
        // Other connections come and go, each after the time that a whole answer has.
        assert_eq!(rest(served.raw("GET /rea").await).await, "");
        stream.write_all(format!("1\r\n{piece}\r\n").as_bytes()).await.unwrap();
        while !answer.contains(&format!("1\r\n{piece}\r\n")) {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "{answer}");
            answer.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(rest(stream).await.ends_with("0\r\n\r\n"));
    let (served, _) = serve(Bounds { piece: soon, ..BOUNDS }).await;
    let slow = served.raw(post("/v1/pieces", "content-length: 8\r\n", "")).await;
    let answer = rest(slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("a piece of the content was not complete after 0 s"), "{answer}");
}

/// A client that has sent more than was read finds its answer nevertheless.
#[tokio::test]
async fn an_answer_reaches_a_client_that_still_sends() {
    let (served, _) = serve(BOUNDS).await;
    let large = post("/v1/echo", "content-length: 8000000\r\n", &"x".repeat(8_000_000));
    let answer = rest(served.raw(large).await).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
