//! The S3 API of a host that serves, with presigned requests over real sockets.

mod bad;
pub(crate) mod client;
mod uploads;

use std::{fs, net::SocketAddr};

use http::Method;
use rusty_s3::S3Action;

use self::client::{S3Client, TIME, code, key_of};
use crate::{
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
        let (said, error) = self.told(args);
        assert_eq!(error, "", "{args:?}");
        said
    }

    /// What a command prints, and what it warns of.
    fn told(&self, args: &[&str]) -> (String, String) {
        let output = lacewing()
            .arg("s3")
            .args(args)
            .current_dir(self.dir.path().join("app"))
            .env("LACEWING_STATE", self.dir.path().join("state"))
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (said, error) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
        (said, error)
    }

    /// A client with an access key that was made with these arguments.
    fn client(&self, args: &[&str]) -> S3Client {
        let key = key_of(&self.told(&[&["create-key"], args].concat()).0);
        S3Client { address: self.s3, key }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_and_clients_share_the_objects_of_a_bucket() {
    let running = Running::start();
    let client = running.client(&[]);
    let put = client.put(FILES, "a b/ü.txt", b"from a client").await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert!(put.headers.contains_key("etag"));
    let path = "/o/a%20b%2F%C3%BC.txt";
    let read = crate::client::get(running.up.address, "localhost", path).await;
    assert_eq!((read.status, read.text()), (200, "from a client"));
    let new = crate::client::get(running.up.address, "localhost", "/new/b").await;
    assert_eq!(new.text(), "true");
    let got = client.get(FILES, "b").await;
    assert_eq!((got.status, got.text()), (200, "new"));
    assert_eq!(got.headers["content-type"], "text/plain");
    assert_eq!(got.headers["x-amz-meta-by"], "test");
    let url = client.bucket(FILES).get_object(Some(&client.key), "b").sign(TIME);
    let part = client.send(Method::GET, url.as_str(), &[("range", "bytes=1-")], b"").await;
    assert_eq!((part.status, part.text()), (206, "ew"));
    assert_eq!(part.headers["content-range"], "bytes 1-2/3");
    let tag = got.headers["etag"].to_str().unwrap();
    let known = client.send(Method::GET, url.as_str(), &[("if-none-match", tag)], b"").await;
    assert_eq!((known.status, known.headers["etag"].to_str().unwrap()), (304, tag));
    let beyond = client.send(Method::GET, url.as_str(), &[("range", "bytes=9-")], b"").await;
    assert_eq!(code(&beyond), (416, "InvalidRange".into()));
    let list = client.bucket(FILES).list_objects_v2(Some(&client.key)).sign(TIME);
    let list = client.send(Method::GET, list.as_str(), &[], b"").await;
    assert!(list.text().contains("<Key>a%20b/%C3%BC.txt</Key>"), "{}", list.text());
    let delete = client.bucket(FILES).delete_object(Some(&client.key), "b").sign(TIME);
    assert_eq!(client.send(Method::DELETE, delete.as_str(), &[], b"").await.status, 204);
    assert_eq!(code(&client.get(FILES, "b").await), (404, "NoSuchKey".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_what_it_was_made_for_until_it_is_removed() {
    let running = Running::start();
    let all = running.client(&[]);
    let reads = running.client(&["--bucket", "files", "--read-only"]);
    let other = running.client(&["--bucket", "other"]);
    assert_eq!(all.put(FILES, "o", b"1").await.status, 200);
    assert_eq!(reads.get(FILES, "o").await.text(), "1");
    let denied = |reply: &Reply| assert_eq!(code(reply), (403, "AccessDenied".into()));
    denied(&reads.put(FILES, "o", b"2").await);
    denied(&other.get(FILES, "o").await);
    other.make("other").await;
    assert_eq!(other.put("other", "o", b"3").await.status, 200);
    assert_eq!(all.get("other", "o").await.text(), "3");
    let listed = running.command(&["list-keys"]);
    assert!(listed.contains(&format!("{}  read  {FILES}\n", reads.key.key())), "{listed}");
    running.command(&["remove-key", reads.key.key()]);
    let removed = reads.get(FILES, "o").await;
    assert_eq!(code(&removed), (403, "InvalidAccessKeyId".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_a_bucket_that_is_not_there_is_told() {
    let running = Running::start();
    running.up.line(", bucket files (read-write)");
    let warning = "warning: the key is for a bucket that is not known: tenant `local` has no bucket \"fiels\": it has shop.files\n  = help: a client of S3 makes the bucket; or remove the key with `lacewing s3 remove-key`, and make another\n";
    let (said, error) = running.told(&["create-key", "--bucket", "fiels"]);
    assert!(said.starts_with("access key: "), "{said}");
    assert_eq!(error, warning);
    running.client(&[]).make("fiels").await;
    for known in ["fiels", "files", "shop.files"] {
        running.command(&["create-key", "--bucket", known]);
    }
}
