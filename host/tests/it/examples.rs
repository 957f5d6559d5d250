//! The examples, each served as its own manifest says.

mod readme;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use crate::harness::{Reply, Served, root};

#[tokio::test(flavor = "multi_thread")]
async fn hello_greets() {
    let served = Served::example("hello").await;
    readme::check("hello", &served, |text| text).await;
    readme::check_front_page("/", &served).await;
    let reply = served.get("/nobody").await;
    assert_eq!((reply.status, reply.outcome()), (404, "no_route"));
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_api_lists_reads_adds_and_reports_mistakes() {
    let served = Served::example("json-api").await;
    readme::check("json-api", &served, |text| text).await;

    let list = served.get("/users?limit=1").await;
    assert_eq!(list.headers["content-type"], "application/json");
    assert_eq!(body(&list).as_array().unwrap().len(), 1);
    assert_eq!(body(&served.get("/users/2").await)["name"], "Alan Turing");

    let added = post(&served, r#"{"name":"Grace Hopper","email":"grace@example.com"}"#).await;
    assert_eq!((added.status, &body(&added)["id"]), (201, &json!(3)));

    // A fault is the function's own answer: a problem document, and an outcome that is `ok`.
    let invalid = post(&served, r#"{"name":" ","email":"nowhere"}"#).await;
    assert_eq!((invalid.status, invalid.outcome()), (422, "ok"));
    assert_eq!(
        invalid.problem()["errors"],
        json!(["`name` must not be empty", "`email` must contain an @"])
    );
    let unknown = post(&served, "{\n  \"name\": \"x\",\n  \"mail\": \"y\"\n}").await;
    assert_eq!((unknown.status, &unknown.problem()["line"]), (422, &json!(3)));
    let torn = post(&served, "{\"name\"").await;
    assert_eq!(torn.status, 400);
    let form = served.send(Method::POST, "/users", HeaderMap::new(), "name=x".into()).await;
    assert_eq!(form.status, 415);

    let word = served.get("/users/ada").await;
    assert_eq!(word.status, 400);
    let missing = served.get("/users/9").await;
    assert_eq!((missing.status, &missing.problem()["detail"]), (404, &json!("there is no user 9")));
    let method = served.send(Method::DELETE, "/users/1", HeaderMap::new(), Bytes::new()).await;
    assert_eq!(
        (method.status, &method.headers["allow"]),
        (405, &HeaderValue::from_static("GET, HEAD"))
    );
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_kept_and_their_ids_are_taken_once() {
    let served = Served::example("users").await;
    readme::check("users", &served, |text| text).await;
    // The function that reads is not granted to write, and has no route to do so.
    let method = served.send(Method::PUT, "/users/ada", HeaderMap::new(), Bytes::new()).await;
    assert_eq!(method.status, 405);
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shortener_counts_each_hit_once() {
    let served = Served::example("shortener").await;
    readme::check("shortener", &served, |text| text).await;
    let clients = (0..8).map(|_| async {
        for _ in 0..10 {
            let reply = served.get("/1").await;
            assert_eq!((reply.status, reply.outcome()), (302, "ok"));
        }
    });
    futures_util::future::join_all(clients).await;
    // One hit was the README's.
    assert_eq!(body(&served.get("/1/hits").await), json!({ "code": "1", "hits": 81 }));
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spin_notes_is_a_component_of_spin() {
    let served = Served::example("spin-notes").await;
    readme::check("spin-notes", &served, |text| text).await;
    let again = served.send(Method::PUT, "/notes/tea", HeaderMap::new(), "black".into()).await;
    assert_eq!((again.status, again.outcome()), (200, "ok"));
    let gone = served.send(Method::DELETE, "/notes/tea", HeaderMap::new(), Bytes::new()).await;
    assert_eq!(gone.status, 204);
    assert_eq!(served.get("/notes/tea").await.status, 404);
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wasmcloud_counter_is_a_component_of_wasmcloud() {
    let served = Served::example("wasmcloud-counter").await;
    readme::check("wasmcloud-counter", &served, |text| text).await;
    let clients = (0..8).map(|_| async {
        for _ in 0..5 {
            let reply = served.get("/tea").await;
            assert_eq!((reply.status, reply.outcome()), (200, "ok"));
        }
    });
    futures_util::future::join_all(clients).await;
    // Two were the README's.
    assert_eq!(served.get("/tea").await.text(), "Hello! /tea was asked for 43 times\n");
    served.assert_idle().await;
}

async fn post(served: &Served, json: &'static str) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    served.send(Method::POST, "/users", headers, json.into()).await
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn dictionary_is_made_once() {
    // Less CPU time than making the dictionary takes, for each request.
    let (served, dir) = (Served::example("dictionary").await, root().join("examples/dictionary"));
    readme::check("dictionary", &served, |text| text).await;
    drop(served);
    let manifest = std::fs::read_to_string(dir.join("lacewing.toml")).unwrap();
    let header = "[functions.dictionary]\n";
    let limits = "\n[functions.dictionary.limits]\ncpu_ms = 5\n";
    let manifest = manifest.replace(header, &format!("{header}crate = {dir:?}\n")) + limits;
    let served = Served::manifest(&manifest).await;
    for (name, number) in [("one", "1\n"), ("ninety-nine-thousand", "99000\n")] {
        let reply = served.get(&format!("/{name}")).await;
        assert_eq!((reply.outcome(), reply.text()), ("ok", number));
    }
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn picture_is_a_png() {
    let served = Served::example("picture").await;
    readme::check("picture", &served, |text| text).await;
    let reply = served.get("/picture.png?width=120&height=90").await;
    assert_eq!(
        (reply.status, &reply.headers["content-type"]),
        (200, &HeaderValue::from_static("image/png"))
    );
    let (record, _) = served.record().await;
    assert!(record["cpu_us"].as_u64().unwrap() > 0, "{record}");
    let mut reader = png::Decoder::new(std::io::Cursor::new(reply.body)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((frame.width, frame.height, frame.color_type), (120, 90, png::ColorType::Rgb));
    let pixel = |x: usize, y: usize| &pixels[(y * 120 + x) * 3..][..3];
    // The middle belongs to the set, the corner escapes at once.
    assert_eq!(pixel(60, 45), [0, 0, 0]);
    assert_ne!(pixel(0, 0), [0, 0, 0]);

    let refused = served.get("/picture.png?width=9000").await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.problem()["detail"], "`width` and `height` are from 1 to 2048 pixels");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sse_ticks() {
    let served = Served::example("sse").await;
    readme::check("sse", &served, |text| text).await;
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_returns_the_answer_of_another_server() {
    // As the README does it: the other server is the hello example. Its port is another, because
    // tests run side by side.
    let hello = Served::example("hello").await;
    let upstream = hello.address.to_string();
    let here = |text: &str| text.replace("127.0.0.1:9000", &upstream);
    let dir = root().join("examples/fetch");
    let manifest = std::fs::read_to_string(dir.join("lacewing.toml")).unwrap();
    let header = "[functions.fetch]\n";
    let with_crate = manifest.replace(header, &format!("{header}crate = {dir:?}\n"));
    let served = Served::manifest(&here(&with_crate)).await;
    readme::check("fetch", &served, |text| here(&text)).await;

    // The function's own answer where nobody answers it.
    let nowhere = with_crate.replace("127.0.0.1:9000", "127.0.0.1:1");
    let served = Served::manifest(&nowhere).await;
    let reply = served.get("/").await;
    assert_eq!((reply.status, reply.outcome()), (502, "ok"));
    let (_, lines) = served.record().await;
    assert!(
        lines
            .iter()
            .any(|line| line
                .starts_with("outbound http to 127.0.0.1:1: the connection was not made")),
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn misbehave_shows_every_outcome() {
    let served = Served::example("misbehave").await;
    readme::check("misbehave", &served, |text| text).await;
    readme::check_front_page("/spin", &served).await;
    let rows = readme::rows("misbehave");
    assert_eq!(rows.len(), 10, "{rows:?}");
    for [path, status, outcome, ..] in &rows {
        let _ = served.lines();
        let reply = served.get(path).await;
        assert_eq!(
            (reply.status.to_string(), reply.outcome()),
            (status.clone(), &outcome[..]),
            "{path}"
        );
        let (record, lines) = served.record().await;
        assert_eq!(record["outcome"], outcome.as_str(), "{path}");
        let detail = record["detail"].as_str().unwrap_or_default();
        assert_told(path, detail, &lines);
        if outcome != "ok" {
            let problem = reply.problem();
            assert_eq!(
                (&problem["outcome"], &problem["invocation"]),
                (&record["outcome"], &record["invocation"])
            );
            // The client reads one sentence, and nothing of the host or the guest.
            assert!(!detail.is_empty() && !reply.text().contains(detail), "{problem}");
        }
        let neighbour = served.get("/ok").await;
        assert_eq!((neighbour.status, neighbour.text()), (200, "fine\n"));
        served.assert_idle().await;
    }
}

/// The text for the author of the function.
fn assert_told(path: &str, detail: &str, lines: &[String]) {
    let expected = match path {
        "/ok" | "/flood" => "",
        "/spin" => "the CPU budget is spent",
        "/sleep" => "the deadline has passed",
        "/allocate" => {
            " KiB of linear memory were asked for, and the limit is 32 MiB (`memory_mib`)"
        }
        "/recurse" => "at the end of a recursion: the stack in the guest's memory is used up",
        "/panic" => "wasm trap: wasm `unreachable` instruction executed\n  at ",
        "/bad-status" => "the response's status is 999; a final status is 200 to 599",
        "/bad-header" => {
            "the value of the response's header server has the byte 0x0d, which no field value may have"
        }
        "/huge-body" => {
            "the response's body has 8388608 bytes; the limit is 6144 KiB (`response_body_kib`)"
        }
        _ => panic!("{path}"),
    };
    assert!(detail.contains(expected), "{path}: {detail}");
    match path {
        "/panic" => assert!(
            lines.iter().any(|line| line.contains("this function panics on demand")),
            "{lines:?}"
        ),
        // The text of Rust's own library.
        "/allocate" => assert_eq!(lines[0], "memory allocation of 1048576 bytes failed"),
        "/flood" => {
            assert!(lines.len() > 10 && lines.len() < 1000, "{}", lines.len());
            let last = lines.last().unwrap();
            assert!(last.starts_with("log limit of 65536 bytes reached, "), "{last}");
        }
        _ => assert_eq!(lines, [""; 0], "{path}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_serves_a_page_and_notes_from_buckets() {
    let served = Served::example("notes").await;
    readme::check("notes", &served, |text| text).await;
    for name in ["index.html", "style.css"] {
        let file = std::fs::read(root().join("examples/notes/site").join(name)).unwrap();
        let path = format!("/files/{name}");
        let put = served.send(Method::PUT, &path, HeaderMap::new(), file.clone().into()).await;
        assert_eq!(put.status, 204, "{}", put.text());
        assert_eq!(&served.get(&path).await.body[..], &file[..]);
    }
    let page = served.get("/").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    // Clients that write at once get ids of their own.
    let add = || served.send(Method::POST, "/notes", HeaderMap::new(), "more".into());
    let added = futures_util::future::join_all((0..10).map(|_| add())).await;
    assert!(added.iter().all(|reply| reply.status == 201));
    let notes = body(&served.get("/notes").await);
    assert_eq!(notes.as_array().unwrap().len(), 11);
    served.assert_idle().await;
}
