//! Buckets and objects of a host that runs: bodies that go through in pieces, their conditions,
//! ranges and bounds.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use lacewing_base::Bucket;
use lacewing_store::{
    EffectLimits, StateStore, Transaction,
    embedded::{EmbeddedOptions, EmbeddedStore},
    kv::Condition,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Running, json as document, refused};
use crate::{
    client::{Sender, drain, exchange, upload},
    harness::Reply,
};

pub(super) const OBJECTS: &str = "/v1/tenants/local/buckets/shop.files/objects";

/// A tenant with the bucket `made`, as a client of S3 makes one.
pub(crate) fn with_made_bucket() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let store = EmbeddedStore::open(&dir.path().join("state"), EmbeddedOptions::default()).unwrap();
    let tenant = store.tenant(&"local".parse().unwrap(), u64::MAX);
    let mut transaction = Transaction::new(tenant, EffectLimits { count: 1, bytes: u64::MAX });
    let value = b"{\"made_ms\":0}".to_vec();
    transaction.set(&Bucket::made(), "made", value, None, Condition::Any).unwrap();
    let (state, changes) = transaction.into_changes().unwrap();
    let commit = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(state.commit(changes)).unwrap()
    };
    // A thread of its own: that of a test may have a runtime.
    std::thread::spawn(commit).join().unwrap();
    dir
}

impl Running {
    async fn put_object(&self, key: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        self.send(Method::PUT, &format!("{OBJECTS}/{key}"), fields, body.to_owned()).await
    }

    fn request<B>(&self, method: Method, target: &str, body: B) -> Request<B> {
        let request = Request::builder().method(method).uri(target).header("host", "localhost");
        request.header("authorization", format!("Bearer {}", self.token())).body(body).unwrap()
    }

    /// Sets an object of so many MiB, in pieces.
    async fn put_large(&self, target: &str, mebibytes: u64) -> Reply {
        let (sender, body) = upload();
        let request = self.request(Method::PUT, target, body);
        let (reply, ()) =
            tokio::join!(exchange(self.up.admin, request), sender.mebibytes(mebibytes));
        Reply::read(reply).await
    }

    /// Begins to set an object whose first part is for a file.
    async fn begin_put(&self, target: &str) -> (Sender, JoinHandle<Response<Incoming>>) {
        let (sender, body) = upload();
        let reply = tokio::spawn(exchange(self.up.admin, self.request(Method::PUT, target, body)));
        sender.send(vec![b'x'; 128 << 10]).await;
        (sender, reply)
    }

    /// Waits until so many files are being written.
    async fn until_incoming(&self, files: usize) {
        let folder = self.path("state/local/incoming");
        while std::fs::read_dir(&folder).map_or(0, Iterator::count) != files {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_set_read_listed_and_deleted() {
    let host = Running::start();
    let put = host.put_object("a%2Fb.txt", &[("content-type", "text/plain")], "body").await;
    // The MD5 digest of "body".
    let tag = "\"841a2d689ad86bd1611447453c22c6fc\"";
    assert_eq!((put.status, put.headers["etag"].to_str().unwrap()), (204, tag));
    assert_eq!(host.put_object("empty", &[], "").await.status, 204);
    let found = host.get(&format!("{OBJECTS}/a%2Fb.txt")).await;
    assert_eq!((found.status, found.text()), (200, "body"));
    for (name, value) in [
        ("content-type", "text/plain"),
        ("etag", tag),
        ("content-length", "4"),
        ("accept-ranges", "bytes"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(found.headers[name], value, "{name}");
    }
    let head = host.send(Method::HEAD, &format!("{OBJECTS}/a%2Fb.txt"), &[], "").await;
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!(head.headers, found.headers);
    let empty = host.get(&format!("{OBJECTS}/empty")).await;
    assert_eq!((empty.status, empty.text()), (200, ""));
    assert_eq!(empty.headers["content-type"], "application/octet-stream");
    let listed = document(&host.get(&format!("{OBJECTS}?limit=1")).await);
    assert_eq!(listed["next"], "a/b.txt");
    let object = &listed["objects"][0];
    assert_eq!((&object["key"], &object["bytes"]), (&json!("a/b.txt"), &json!(4)));
    assert_eq!(object["etag"], tag.trim_matches('"'));
    assert_eq!(object["content_type"], "text/plain");
    assert!(object["modified_ms"].as_u64().unwrap() > 1_700_000_000_000, "{object}");
    let rest = document(&host.get(&format!("{OBJECTS}?limit=1&after=a%2Fb.txt")).await);
    assert_eq!((&rest["objects"][0]["key"], &rest["next"]), (&json!("empty"), &Value::Null));
    let none = document(&host.get(&format!("{OBJECTS}?prefix=b")).await);
    assert_eq!(none, json!({ "objects": [], "next": null }));
    let delete = async || host.send(Method::DELETE, &format!("{OBJECTS}/empty"), &[], "").await;
    assert_eq!(delete().await.status, 204);
    let missing = "there is no object \"empty\" in the bucket `shop.files`".to_owned();
    assert_eq!(refused(&delete().await), (404, missing.clone()));
    assert_eq!(refused(&host.get(&format!("{OBJECTS}/empty")).await), (404, missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_has_conditions_and_ranges() {
    let host = Running::start();
    let target = format!("{OBJECTS}/o");
    let get = async |fields: &[(&str, &str)]| host.send(Method::GET, &target, fields, "").await;
    let absent = host.put_object("o", &[("if-match", "*")], "1").await;
    assert_eq!(refused(&absent), (412, "the key has no object".to_owned()));
    let put = host.put_object("o", &[("if-none-match", "*")], "0123456789").await;
    let tag = put.headers["etag"].to_str().unwrap().to_owned();
    let lost = host.put_object("o", &[("if-none-match", "*")], "2").await;
    assert_eq!(refused(&lost), (412, format!("the object has the tag {tag}")));
    assert_eq!(get(&[("if-none-match", &tag)]).await.status, 304);
    assert_eq!(get(&[("if-match", "\"a\"")]).await.status, 412);
    for (fields, status, body, range) in [
        (&[("range", "bytes=2-4")][..], 206, "234", "bytes 2-4/10"),
        (&[("range", "bytes=-3")], 206, "789", "bytes 7-9/10"),
        (&[("range", "bytes=8-"), ("if-range", &tag)], 206, "89", "bytes 8-9/10"),
        (&[("range", "bytes=8-"), ("if-range", "\"a\"")], 200, "0123456789", ""),
        (&[("range", "bytes=1-2,4-5")], 200, "0123456789", ""),
    ] {
        let part = get(fields).await;
        assert_eq!((part.status, part.text()), (status, body), "{fields:?}");
        let found = part.headers.get("content-range").map(|range| range.to_str().unwrap());
        assert_eq!(found.unwrap_or_default(), range, "{fields:?}");
    }
    let beyond = get(&[("range", "bytes=10-")]).await;
    let detail = "the object has 10 bytes, and none of them is in the range".to_owned();
    assert_eq!(refused(&beyond), (416, detail));
    // A range is a part of GET only.
    let head = host.send(Method::HEAD, &target, &[("range", "bytes=2-4")], "").await;
    assert_eq!((head.status, head.headers["content-length"].to_str().unwrap()), (200, "10"));
    let stale = host.send(Method::DELETE, &target, &[("if-match", "\"a\"")], "").await;
    assert_eq!(stale.status, 412);
    assert_eq!(host.send(Method::DELETE, &target, &[("if-match", &tag)], "").await.status, 204);
}

/// The bounds of a bucket hold for its operator, and a client that still sends hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn bounds_of_buckets_hold_for_the_operator() {
    let host = Running::start();
    let body = "x".repeat(1 << 20);
    let large = host.put_object("large", &[], &format!("{body}x")).await;
    let rule = "the object has over 1048576 bytes (`max_object_mib`)".to_owned();
    assert_eq!(refused(&large), (413, rule));
    assert_eq!(host.put_object("one", &[], &body).await.status, 204);
    let (status, detail) = refused(&host.put_object("two", &[], &body).await);
    assert_eq!(status, 507);
    assert!(detail.starts_with("the bucket `shop.files` would have "), "{detail}");
    let long = host.put_object(&"k".repeat(1025), &[], "1").await;
    assert_eq!(refused(&long), (400, "the key has 1025 bytes; a key has 1 to 1024".to_owned()));
    let kind = host.put_object("o", &[("content-type", "")], "1").await;
    let detail = "`content-type` is no media type such as `text/plain`".to_owned();
    assert_eq!(refused(&kind), (400, detail));
}

/// A bucket is what clients of S3 say: declared by an app, or made by a client.
#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_named_as_clients_of_s3_name_them() {
    let host = Running::beside(with_made_bucket(), "", &[]);
    let made = "/v1/tenants/local/buckets/made/objects/o";
    assert_eq!(host.send(Method::PUT, made, &[], "1234").await.status, 204);
    assert_eq!(host.get(made).await.text(), "1234");
    let buckets = document(&host.get("/v1/tenants/local/buckets").await);
    let names = buckets["buckets"].as_array().unwrap().iter().map(|one| one["name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["made", "shop.files", "shop.large"]);
    assert_eq!(buckets["buckets"][0]["objects"], 1);
    assert_eq!(
        buckets["buckets"][1],
        json!({
            "name": "shop.files", "objects": 0, "used_bytes": 0, "max_bytes": 2 << 20,
            "max_object_bytes": 1 << 20,
        })
    );
    assert_eq!(buckets["max_bytes"], 10_u64 << 30);
    let other = host.get("/v1/tenants/local/buckets/other/objects").await;
    let known = "tenant `local` has no bucket \"other\": it has made, shop.files, shop.large";
    assert_eq!(refused(&other), (404, known.to_owned()));
    // The list of made buckets is no store of an app.
    let stores = document(&host.get("/v1/tenants/local/kv").await);
    assert_eq!(stores["stores"].as_array().unwrap().len(), 1, "{stores}");
}

/// Objects of an app that is not deployed any more can be read and deleted, and none is added.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_an_app_can_be_emptied() {
    let host = Running::start();
    assert_eq!(host.put_object("o", &[], "1").await.status, 204);
    let manifest = host.path("app/lacewing.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let text = text.replace("files = \"read\"", "others = \"read\"");
    std::fs::write(&manifest, text.replace("buckets.files", "buckets.others")).unwrap();
    host.up.signal("HUP");
    host.up.line("Swapped local/shop/api@");
    assert_eq!(host.get(&format!("{OBJECTS}/o")).await.text(), "1");
    let closed = "the bucket `shop.files` can be read and emptied only: no deployed function is granted it, and no client of S3 has made it";
    assert_eq!(refused(&host.put_object("p", &[], "1").await), (409, closed.to_owned()));
    let buckets = document(&host.get("/v1/tenants/local/buckets").await);
    assert_eq!(buckets["buckets"][0]["max_bytes"], Value::Null);
    assert_eq!(host.send(Method::DELETE, &format!("{OBJECTS}/o"), &[], "").await.status, 204);
}

/// A body of any size goes through a host that holds little of it, and a part that a client left
/// stays nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_go_through_in_pieces() {
    let host = Running::start();
    let target = "/v1/tenants/local/buckets/shop.large/objects/o";
    assert_eq!(host.put_large(target, 1).await.status, 204);
    assert_eq!(host.get(target).await.body.len(), 1 << 20);
    let before = host.up.memory_bytes("VmHWM:");
    assert_eq!(host.put_large(target, 64).await.status, 204);
    let request = host.request(Method::GET, target, Empty::<Bytes>::new());
    let response = exchange(host.up.admin, request).await;
    assert_eq!(response.headers()["content-length"], (64 << 20).to_string().as_str());
    assert_eq!(drain(&mut response.into_body()).await, Some(64 << 20));
    let grown = host.up.memory_bytes("VmHWM:").saturating_sub(before);
    assert!(grown < 24 << 20, "{} KiB more", grown >> 10);
    // A client that leaves in the middle.
    let (sender, leaving) = host.begin_put(target).await;
    host.until_incoming(1).await;
    leaving.abort();
    host.until_incoming(0).await;
    drop(sender);
    assert_eq!(host.get(target).await.body.len(), 64 << 20);
}

/// As many bodies as may be at once are under way; entries have turns of their own.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_turns_of_their_own() {
    let host = Running::start();
    let target = |client| format!("/v1/tenants/local/buckets/shop.large/objects/{client}");
    let mut begun = Vec::new();
    for client in 0..16 {
        begun.push(host.begin_put(&target(client)).await);
    }
    host.until_incoming(16).await;
    let detail = "as many requests as may be are under way: try again".to_owned();
    assert_eq!(refused(&host.get(&target(0)).await), (503, detail));
    assert_eq!(host.put("ada", "1").await.status, 204);
    for (sender, reply) in begun {
        drop(sender);
        assert_eq!(Reply::read(reply.await.unwrap()).await.status, 204);
    }
    assert_eq!(host.get(&target(0)).await.body.len(), 128 << 10);
}
