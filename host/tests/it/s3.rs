//! The S3 API of a host that serves, with presigned requests over real sockets.

use std::{fs, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use crate::{
    client::exchange,
    harness::{Reply, guest, lacewing},
    process::Up,
};

/// The bucket of the app's function, as S3 clients say it.
const FILES: &str = "shop.files";

/// A host with the function `objects` and the S3 API.
struct Running {
    dir: tempfile::TempDir,
    up: Up,
    s3: SocketAddr,
}

impl Running {
    fn start() -> Running {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        fs::create_dir(&app).unwrap();
        let component = guest("objects");
        let manifest = format!(
            r#"app = "shop"
[buckets.files]
max_object_mib = 1
[functions.objects]
component = {component:?}
routes = ["/{{*rest}}"]
grants.buckets = {{ files = "read-write" }}
"#
        );
        fs::write(app.join("lacewing.toml"), manifest).unwrap();
        let state = dir.path().join("state");
        let state = format!("--state={}", state.display());
        let up = Up::start(&[app.to_str().unwrap(), "--s3=127.0.0.1:0", &state]);
        let line = up.line("S3 http://");
        let s3 = line.trim().strip_prefix("S3 http://").unwrap().parse().unwrap();
        Running { dir, up, s3 }
    }

    fn command(&self, args: &[&str]) -> String {
        let output = lacewing()
            .arg("s3")
            .args(args)
            .current_dir(self.dir.path().join("app"))
            .env("LACEWING_STATE", self.dir.path().join("state"))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// An access key with these arguments.
    fn key(&self, args: &[&str]) -> Credentials {
        let said = self.command(&[&["create-key"], args].concat());
        let value = |name: &str| {
            said.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
        };
        Credentials::new(value("access key:"), value("secret key:"))
    }

    fn bucket(&self, name: &str) -> Bucket {
        let url = format!("http://{}", self.s3).parse().unwrap();
        Bucket::new(url, UrlStyle::Path, name.to_owned(), "us-east-1").unwrap()
    }

    async fn send(&self, method: Method, url: &str, fields: &[(&str, &str)], body: &[u8]) -> Reply {
        let path = url.split_once(&self.s3.to_string()).unwrap().1;
        let mut request =
            Request::builder().method(method).uri(path).header("host", self.s3.to_string());
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body));
        Reply::read(exchange(self.s3, request.body(body).unwrap()).await).await
    }

    async fn put(&self, key: &Credentials, bucket: &str, name: &str, body: &[u8]) -> Reply {
        let bucket = self.bucket(bucket);
        let url = bucket.put_object(Some(key), name).sign(TIME);
        self.send(Method::PUT, url.as_str(), &[], body).await
    }

    async fn get(&self, key: &Credentials, bucket: &str, name: &str) -> Reply {
        let bucket = self.bucket(bucket);
        let url = bucket.get_object(Some(key), name).sign(TIME);
        self.send(Method::GET, url.as_str(), &[], b"").await
    }
}

/// The time for which a URL is valid.
const TIME: Duration = Duration::from_secs(600);

/// The code of an error.
fn code(reply: &Reply) -> (u16, String) {
    let text = reply.text();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    (reply.status, code.map_or_else(String::new, |(code, _)| code.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_and_clients_share_the_objects_of_a_bucket() {
    let running = Running::start();
    let key = running.key(&[]);
    let put = running.put(&key, FILES, "a b/ü.txt", b"from a client").await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert!(put.headers.contains_key("etag"));
    let path = "/o/a%20b%2F%C3%BC.txt";
    let read = crate::client::get(running.up.address, "localhost", path).await;
    assert_eq!((read.status, read.text()), (200, "from a client"));
    let new = crate::client::get(running.up.address, "localhost", "/new/b").await;
    assert_eq!(new.text(), "true");
    let got = running.get(&key, FILES, "b").await;
    assert_eq!((got.status, got.text()), (200, "new"));
    assert_eq!(got.headers["content-type"], "text/plain");
    assert_eq!(got.headers["x-amz-meta-by"], "test");
    let url = running.bucket(FILES).get_object(Some(&key), "b").sign(TIME);
    let part = running.send(Method::GET, url.as_str(), &[("range", "bytes=1-")], b"").await;
    assert_eq!((part.status, part.text()), (206, "ew"));
    assert_eq!(part.headers["content-range"], "bytes 1-2/3");
    let tag = got.headers["etag"].to_str().unwrap();
    let known = running.send(Method::GET, url.as_str(), &[("if-none-match", tag)], b"").await;
    assert_eq!(known.status, 304);
    let beyond = running.send(Method::GET, url.as_str(), &[("range", "bytes=9-")], b"").await;
    assert_eq!(code(&beyond), (416, "InvalidRange".into()));
    let list = running.bucket(FILES).list_objects_v2(Some(&key)).sign(TIME);
    let list = running.send(Method::GET, list.as_str(), &[], b"").await;
    assert!(list.text().contains("<Key>a%20b/%C3%BC.txt</Key>"), "{}", list.text());
    let delete = running.bucket(FILES).delete_object(Some(&key), "b").sign(TIME);
    assert_eq!(running.send(Method::DELETE, delete.as_str(), &[], b"").await.status, 204);
    assert_eq!(code(&running.get(&key, FILES, "b").await), (404, "NoSuchKey".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_what_it_was_made_for_until_it_is_removed() {
    let running = Running::start();
    let all = running.key(&[]);
    let reads = running.key(&["--bucket", "files", "--read-only"]);
    let other = running.key(&["--bucket", "other"]);
    assert_eq!(running.put(&all, FILES, "o", b"1").await.status, 200);
    assert_eq!(running.get(&reads, FILES, "o").await.text(), "1");
    let denied = |reply: &Reply| assert_eq!(code(reply), (403, "AccessDenied".into()));
    denied(&running.put(&reads, FILES, "o", b"2").await);
    denied(&running.get(&other, FILES, "o").await);
    let make = running.bucket("other").create_bucket(&other).sign(TIME);
    assert_eq!(running.send(Method::PUT, make.as_str(), &[], b"").await.status, 200);
    assert_eq!(running.put(&other, "other", "o", b"3").await.status, 200);
    assert_eq!(running.get(&all, "other", "o").await.text(), "3");
    let unsigned = running.bucket(FILES).get_object(None, "o").sign(TIME);
    denied(&running.send(Method::GET, unsigned.as_str(), &[], b"").await);
    let wrong = Credentials::new(all.key().to_owned(), "wrong");
    let wrong = running.get(&wrong, FILES, "o").await;
    assert_eq!(code(&wrong), (403, "SignatureDoesNotMatch".into()));
    let unknown = Credentials::new("LWAAAAAAAAAAAAAAAA_LOCAL", "wrong");
    let unknown = running.get(&unknown, FILES, "o").await;
    assert_eq!(code(&unknown), (403, "InvalidAccessKeyId".into()));
    let listed = running.command(&["list-keys"]);
    assert!(listed.contains(&format!("{}  read  {FILES}\n", reads.key())), "{listed}");
    running.command(&["remove-key", reads.key()]);
    let removed = running.get(&reads, FILES, "o").await;
    assert_eq!(code(&removed), (403, "InvalidAccessKeyId".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_told_in_the_words_of_s3() {
    let running = Running::start();
    let key = running.key(&[]);
    let large = running.put(&key, FILES, "o", &vec![0; (1 << 20) + 1]).await;
    assert_eq!(code(&large), (400, "EntityTooLarge".into()));
    let long = running.put(&key, FILES, &"k".repeat(1025), b"1").await;
    assert_eq!(code(&long), (400, "KeyTooLongError".into()));
    assert_eq!(running.put(&key, FILES, &"k".repeat(1024), b"1").await.status, 200);
    for name in ["../../etc/passwd", "a//b", "n\0ul", "."] {
        let put = running.put(&key, FILES, name, name.as_bytes()).await;
        if put.status == 200 {
            assert_eq!(running.get(&key, FILES, name).await.text(), name);
        } else {
            assert_eq!(put.status / 100, 4, "{name:?}: {}", put.text());
        }
    }
    let bucket = running.bucket(FILES);
    let expired = bucket
        .get_object(Some(&key), "o")
        .sign_with_time(Duration::from_secs(1), &"2026-01-01T00:00:00Z".parse().unwrap());
    let expired = running.send(Method::GET, expired.as_str(), &[], b"").await;
    assert_eq!(expired.status, 403, "{}", expired.text());
    let url = bucket.put_object(Some(&key), "sum").sign(TIME);
    let md5 = ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    let digest = running.send(Method::PUT, url.as_str(), &[md5], b"not empty").await;
    assert_eq!(code(&digest), (400, "BadDigest".into()));
    assert_eq!(code(&running.get(&key, FILES, "sum").await), (404, "NoSuchKey".into()));
    assert_eq!(code(&running.get(&key, "no-such", "o").await), (404, "NoSuchBucket".into()));
    let delete = bucket.delete_bucket(&key).sign(TIME);
    let delete = running.send(Method::DELETE, delete.as_str(), &[], b"").await;
    assert_eq!(code(&delete), (403, "AccessDenied".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_is_one_object_or_none() {
    let running = Running::start();
    let key = running.key(&[]);
    let make = running.bucket("large").create_bucket(&key).sign(TIME);
    assert_eq!(running.send(Method::PUT, make.as_str(), &[], b"").await.status, 200);
    let bucket = running.bucket("large");
    let begin = bucket.create_multipart_upload(Some(&key), "o").sign(TIME);
    let begun = running.send(Method::POST, begin.as_str(), &[], b"").await;
    let id = begun.text().split_once("<UploadId>").unwrap().1.split_once('<').unwrap().0;
    let parts: [Vec<u8>; 2] = [vec![1; 5 << 20], b"end".to_vec()];
    let mut tags = Vec::new();
    for (number, part) in (1..).zip(&parts) {
        let url = bucket.upload_part(Some(&key), "o", number, id).sign(TIME);
        let put = running.send(Method::PUT, url.as_str(), &[], part).await;
        tags.push(put.headers["etag"].to_str().unwrap().to_owned());
    }
    assert_eq!(code(&running.get(&key, "large", "o").await), (404, "NoSuchKey".into()));
    let complete =
        bucket.complete_multipart_upload(Some(&key), "o", id, tags.iter().map(String::as_str));
    let url = complete.sign(TIME);
    let done = running.send(Method::POST, url.as_str(), &[], complete.body().as_bytes()).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let got = running.get(&key, "large", "o").await;
    assert!(got.body[..] == parts.concat()[..]);
    assert!(got.headers["etag"].to_str().unwrap().ends_with("-2\""));
    let again = running.send(Method::POST, url.as_str(), &[], b"<CompleteMultipartUpload/>").await;
    assert!(again.status / 100 == 4, "{}", again.text());
}
