//! Objects in buckets, through the real host and a real disk.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Method};

use crate::harness::{Reply, Served, guest};

/// A function with the guest `objects`, and one with the same code that may only read.
fn manifest(bucket: &str) -> String {
    let component = guest("objects");
    format!(
        r#"app = "shop"
[kv.notes]
[buckets.files]
{bucket}
[functions.writer]
component = {component:?}
routes = ["/{{*rest}}"]
grants.kv = {{ notes = "read-write" }}
grants.buckets = {{ files = "read-write" }}
limits = {{ request_body_kib = 2048, response_body_kib = 2048, handles = 100 }}
[functions.reader]
component = {component:?}
routes = [{{ path = "/{{*rest}}", host = "reader.test" }}]
grants.buckets = {{ files = "read" }}
"#
    )
}

async fn served() -> Served {
    Served::manifest(&manifest("")).await
}

async fn text(served: &Served, path: &str) -> String {
    let reply = served.get(path).await;
    assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{path}: {}", reply.text());
    reply.text().to_owned()
}

async fn put(served: &Served, key: &str, body: impl Into<Bytes>) -> Reply {
    served.send(Method::PUT, &format!("/o/{key}"), HeaderMap::new(), body.into()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_written_read_and_listed() {
    let served = served().await;
    for size in [0, 10, 65_536, 65_537, 1_000_000] {
        let body: Vec<u8> = (0..=255).cycle().take(size).collect();
        assert_eq!(put(&served, "a", body.clone()).await.status, 204, "{size}");
        let reply = served.get("/o/a").await;
        assert_eq!((reply.status, &reply.body[..]), (200, &body[..]), "{size}");
    }
    let part = served.get("/part/a/65530/65550").await;
    assert_eq!(
        &part.body[..],
        &[250, 251, 252, 253, 254, 255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    );
    assert_eq!(text(&served, "/part/a/5/5").await, "");
    assert_eq!(text(&served, "/new/b").await, "true");
    assert_eq!(text(&served, "/new/b").await, "false");
    assert_eq!(
        text(&served, "/head/b").await,
        r#"3 22af645d1859cb5ca6da0c484f1f37ea Some("text/plain") {"by": "test"}"#
    );
    assert_eq!(text(&served, "/copy/b/c%2Fd").await, "true");
    assert_eq!(text(&served, "/copy/none/e").await, "false");
    assert_eq!(text(&served, "/list").await, r#"[["a","b"],["c/"]]"#);
    assert_eq!(text(&served, "/o/c%2Fd").await, "new");
    let deleted = served.send(Method::DELETE, "/o/a", HeaderMap::new(), Bytes::new()).await;
    assert_eq!(deleted.text(), "true");
    assert_eq!(served.get("/o/a").await.status, 404);
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_larger_than_the_memory_of_the_function_is_streamed() {
    let text_of_manifest = manifest("").replace("handles = 100", "memory_mib = 4, handles = 100");
    let served = Served::manifest(&text_of_manifest).await;
    assert_eq!(text(&served, "/write/large/16/finish").await, "true");
    let sum = 16_u64 * 4096 * (255 * 256 / 2);
    assert_eq!(text(&served, "/sum/large").await, format!("{} {sum}", 16 << 20));
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_and_an_entry_are_written_together_or_not_at_all() {
    let served = served().await;
    assert_eq!(served.get("/both/first").await.status, 204);
    assert_eq!(served.get("/both/fail").await.status, 500);
    assert_eq!(text(&served, "/o/both").await, "first");
    for (how, status) in [("drop", 200), ("trap", 502), ("error", 400)] {
        assert_eq!(served.get(&format!("/write/x/1/{how}")).await.status, status, "{how}");
        assert_eq!(served.get("/o/x").await.status, 404, "{how}");
    }
    let counts = join_all((0..30).map(|_| text(&served, "/count/n"))).await;
    let mut counts: Vec<u64> = counts.iter().map(|count| count.parse().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, Vec::from_iter(1..=30));
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_grants_of_buckets_are_told() {
    let served = Served::manifest(&manifest("max_object_mib = 1\nmax_mib = 2")).await;
    for (host, path, sentence) in [
        ("localhost", "/write/a/2/finish", "the object has over 1048576 bytes (`max_object_mib`)"),
        (
            "reader.test",
            "/new/a",
            "the grant for the bucket `files` is `read`, and this call needs `read-write`",
        ),
        ("reader.test", "/both/x", "the kv store \"notes\" is not granted"),
    ] {
        served.lines();
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        let reply = served.send(Method::GET, path, headers, Bytes::new()).await;
        assert!(reply.status >= 500, "{path}: {}", reply.status);
        let (_, lines) = served.record().await;
        assert!(lines.iter().any(|line| line.contains(sentence)), "{sentence}: {lines:?}");
    }
    let handles = served.get("/begin/200").await;
    assert_eq!((handles.status, handles.outcome()), (502, "trap"));
    assert_eq!(text(&served, "/write/a/1/finish").await, "true");
    let full = served.get("/write/b/1/finish").await;
    assert_eq!(full.outcome(), "store_unavailable");
    assert_eq!(served.get("/o/b").await.status, 404);
    assert_eq!(text(&served, "/write/a/1/finish").await, "true");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wasi_blobstore_leads_to_the_same_buckets() {
    let (blobs, objects) = (guest("blobstore"), guest("objects"));
    let served = Served::manifest(&format!(
        r#"app = "shop"
[buckets.files]
[buckets.read]
[functions.blobs]
component = {blobs:?}
routes = ["/{{step}}/{{container}}"]
grants.buckets = {{ files = "read-write", read = "read" }}
[functions.objects]
component = {objects:?}
routes = ["/o/{{key}}"]
grants.buckets = {{ files = "read-write" }}
"#
    ))
    .await;
    assert_eq!(
        text(&served, "/write/files").await,
        r#"[false, true] Err("the bucket `files` has no object \"none\"") 1000000"#
    );
    assert_eq!(
        text(&served, "/read/files").await,
        r#"3 mal true ["copy", "large"] 1 ["small"] true false"#
    );
    assert_eq!(text(&served, "/o/moved").await, "old");
    assert_eq!(
        text(&served, "/clear/files").await,
        r#"[] Some("the bucket `files` has no object \"small\"")"#
    );
    assert_eq!(text(&served, "/make/files").await, "files");
    for (path, said) in [
        ("/make/other", "the bucket \"other\" is not granted: the function may use files, read"),
        ("/drop/files", "the manifest declares the bucket `files`, so a function cannot delete it"),
        (
            "/write/read",
            "the grant for the bucket `read` is `read`, and this call needs `read-write`",
        ),
    ] {
        let reply = served.get(path).await;
        assert_eq!(reply.status, 400, "{path}");
        assert_eq!(reply.problem()["detail"], said, "{path}");
    }
    served.assert_idle().await;
}
