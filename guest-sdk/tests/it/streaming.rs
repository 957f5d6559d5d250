//! `async` handlers, bodies that stream, and requests to other servers.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use lacewing_sdk::{
    AsyncRoutes, Body, Bytes, Error, HeaderMap, IntoResponse, Json, Method, Path, Request,
    Response, Result, Routes, client, http, sleep, spawn, test,
};

#[test]
fn arguments_are_the_same_as_of_other_handlers() {
    async fn handler(Path(id): Path<u8>, method: Method, Json(x): Json<u8>) -> Result<String> {
        sleep(Duration::from_micros(1)).await;
        Ok(format!("{method} {id} {x}"))
    }
    let response = test::put("/").param("id", "7").json(&8).call_async(handler);
    assert_eq!(response.text(), "PUT 7 8");
    assert_eq!(test::put("/").param("id", "x").call_async(handler).status(), 400);
    assert_eq!(test::put("/").param("id", "7").call_async(handler).status(), 415);
}

#[test]
fn a_body_is_awaited_only_where_it_is_taken_whole() {
    let endless = || Body::from_stream(stream::pending::<Result<&str>>());
    let ignores_it = |_: Method| async { "done" };
    assert_eq!(test::post("/").body(endless()).call_async(ignores_it).text(), "done");
    let has_it = |request: Request| async move { format!("{:?}", request.into_body()) };
    assert_eq!(test::post("/").body(endless()).call_async(has_it).text(), "Body(stream)");
}

#[test]
fn a_body_that_breaks_off_is_an_error_of_the_reader() {
    let broken = Body::from_stream(stream::iter([Ok("some"), Err(Error::bad_request("no more"))]));
    let handler = |body: String| async move { body };
    let response = test::post("/").body(broken).call_async(handler);
    assert_eq!(response.text(), r#"{"title":"Bad Request","status":400,"detail":"no more"}"#);
}

#[test]
fn chunks_arrive_as_they_were_sent() {
    let chunks = test::block_on(async {
        let (mut sender, body) = Body::channel();
        spawn(async move {
            for chunk in ["one", "", "two"] {
                sender.send(chunk).await.unwrap();
            }
        });
        body.map(|chunk| chunk.unwrap()).collect::<Vec<_>>().await
    });
    assert_eq!(chunks, ["one", "two"]);
}

#[test]
fn a_writer_learns_that_its_reader_is_gone() {
    test::block_on(async {
        let (mut sender, mut body) = Body::channel();
        let (ended, mut end) = Body::channel();
        spawn(async move {
            while sender.send("x").await.is_ok() {}
            drop(ended);
        });
        body.chunk().await.unwrap().unwrap();
        drop(body);
        assert!(end.chunk().await.is_none());
    });
}

#[test]
fn an_aborted_body_is_an_error_of_the_reader() {
    let error = test::block_on(async {
        let (mut sender, body) = Body::channel();
        spawn(async move {
            sender.send("some").await.unwrap();
            sender.abort(Error::unavailable("gone"));
        });
        body.collect().await.unwrap_err()
    });
    assert_eq!(error.detail(), Some("gone"));
}

#[test]
fn another_servers_answer_streams_through() {
    async fn proxy(request: Request) -> Result<Response> {
        let (head, body) = request.into_parts();
        let request = http::Request::builder()
            .method(head.method)
            .uri(format!("https://example.com{}", head.uri.path()))
            .body(body)?;
        client::send(request).await
    }
    let _upstream = test::upstream(|request| {
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/path"));
        (http::StatusCode::ACCEPTED, request.into_body()).into_response()
    });
    let response = test::post("/path").body("through").call_async(proxy);
    assert_eq!((response.status().as_u16(), response.text()), (202, "through"));
}

#[test]
fn a_url_without_a_host_is_an_error() {
    let error = test::block_on(client::send("/path")).unwrap_err();
    assert_eq!(error.to_string(), "`/path` is not a URL with scheme and host");
    let error = client::fetch("not a url").unwrap_err();
    assert_eq!(error.name(), "InvalidUri");
}

#[test]
fn routes_work_in_async_handlers() {
    async fn handler(routes: Routes) -> Routes {
        routes.post("/{name}", |Path(name): Path<String>, body: String| format!("{name} {body}"))
    }
    assert_eq!(test::post("/a").body("b").call_async(handler).text(), "a b");
    let head = test::request(Method::HEAD, "/a").call_async(handler);
    assert_eq!((head.status().as_u16(), head.header("allow")), (405, Some("POST")));
    assert_eq!(test::get("/a/b").call_async(handler).status(), 404);
}

#[test]
fn async_routes_take_handlers_of_both_kinds() {
    async fn handler(routes: AsyncRoutes) -> Response {
        let prefix = "said: ".to_owned();
        routes
            .get("/", || "at once")
            .get("/{name}", |Path(name): Path<String>| async move { format!("in time, {name}") })
            .post("/whole", move |body: String| format!("{prefix}{body}"))
            .put("/whole", |body: Bytes| async move { body })
            .put("/stream", |request: Request| async move { format!("{:?}", request.into_body()) })
            .await
    }
    let waits = || Body::from_stream(stream::iter([Ok::<_, Error>("some"), Ok("thing")]));
    assert_eq!(test::get("/").call_async(handler).text(), "at once");
    assert_eq!(test::get("/Ada").call_async(handler).text(), "in time, Ada");
    assert_eq!(test::request(Method::HEAD, "/Ada").call_async(handler).status(), 200);
    assert_eq!(test::post("/whole").body(waits()).call_async(handler).text(), "said: something");
    assert_eq!(test::put("/whole").body(waits()).call_async(handler).text(), "something");
    assert_eq!(test::put("/stream").body(waits()).call_async(handler).text(), "Body(stream)");
    let wrong = test::delete("/whole").call_async(handler);
    assert_eq!(
        (wrong.status().as_u16(), wrong.header("allow")),
        (405, Some("GET, HEAD, POST, PUT"))
    );
    assert_eq!(test::get("/a/b").call_async(handler).status(), 404);
}

#[test]
fn trailers_arrive_behind_the_chunks() {
    test::block_on(async {
        let (mut sender, mut body) = Body::channel();
        spawn(async move {
            sender.send("some").await.unwrap();
            sender.finish(HeaderMap::from_iter([(
                http::header::ETAG,
                http::HeaderValue::from_static("x"),
            )]));
        });
        assert_eq!(body.chunk().await.unwrap().unwrap(), "some");
        assert_eq!(body.trailers(), None);
        assert!(body.chunk().await.is_none());
        assert_eq!(body.trailers().unwrap()["etag"], "x");
        // They are no part of what the body holds.
        let (mut sender, body) = Body::channel();
        spawn(async move {
            sender.send("all").await.unwrap();
            sender.finish(HeaderMap::new());
        });
        assert_eq!(body.collect().await.unwrap(), "all");
    });
}

#[test]
fn trailers_go_through_a_body_that_is_passed_on() {
    async fn echo(body: Body) -> Body {
        body
    }
    let (sender, body) = Body::channel();
    let name = http::HeaderName::from_static("x-sum");
    sender.finish(HeaderMap::from_iter([(name, http::HeaderValue::from(42))]));
    let response = test::post("/").body(body).call_async(echo);
    assert_eq!((response.text(), response.trailer("x-sum")), ("", Some("42")));
}
