//! S3 requests with a fault: each has a status, a code and a text, and harms no object.

use http::Method;
use rusty_s3::{Credentials, S3Action};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    FILES, Running,
    client::{S3Client, TIME, code, error_of, parts_xml, path_of, send, upload_id},
};
use crate::harness::Reply;

fn told(reply: &Reply, status: u16, code: &str, text: &str) {
    let (found, found_code, message) = error_of(reply);
    assert_eq!((found, &*found_code), (status, code), "{}", reply.text());
    assert!(message.contains(text), "{message:?} has no {text:?}");
    // Clients say that an error without a text is unknown.
    assert!(!message.is_empty(), "{}", reply.text());
}

const BAD_SIGNATURE: &str =
    "the signature is not that of this request with the secret of the access key";
const NO_KEY: &str = "the bucket has no object of this key";

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_signatures() {
    let running = Running::start();
    let client = running.client(&[]);
    assert_eq!(client.put(FILES, "o", b"1").await.status, 200);
    let with = |key: &str, secret: &str| S3Client {
        address: client.address,
        key: Credentials::new(key.to_owned(), secret.to_owned()),
    };
    let unknown = with("LWAAAAAAAAAAAAAAAA_LOCAL", "wrong");
    told(
        &unknown.get(FILES, "o").await,
        403,
        "InvalidAccessKeyId",
        "there is no such access key, or",
    );
    for id in ["", "AKIAIOSFODNN7EXAMPLE", "LWAAAAAAAAAAAAAAAA_../../etc"] {
        let reply = with(id, "wrong").get(FILES, "o").await;
        assert!([400, 403].contains(&reply.status), "{id:?}: {}", reply.text());
    }
    let wrong = with(client.key.key(), "wrong");
    told(&wrong.get(FILES, "o").await, 403, "SignatureDoesNotMatch", BAD_SIGNATURE);
    told(&wrong.put(FILES, "o", b"2").await, 403, "SignatureDoesNotMatch", BAD_SIGNATURE);
    let unsigned = client.bucket(FILES).get_object(None, "o").sign(TIME);
    let unsigned = client.send(Method::GET, unsigned.as_str(), &[], b"").await;
    told(&unsigned, 403, "AccessDenied", "a request has to be signed with an access key");
    let expired = client.bucket(FILES).get_object(Some(&client.key), "o").sign_with_time(
        std::time::Duration::from_secs(1),
        &"2026-01-01T00:00:00Z".parse().unwrap(),
    );
    let expired = client.send(Method::GET, expired.as_str(), &[], b"").await;
    told(&expired, 403, "AccessDenied", "Request has expired");
    // The URL of one object is none for another.
    let other = client.get_url(FILES, "o").replace("/o?", "/p?");
    let other = client.send(Method::GET, &other, &[], b"").await;
    told(&other, 403, "SignatureDoesNotMatch", BAD_SIGNATURE);
    for authorization in ["", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b", "Basic eA=="] {
        let fields = [("authorization", authorization)];
        let reply = send(client.address, Method::GET, &bare(&client, "/o"), &fields, b"").await;
        assert!([400, 403].contains(&reply.status), "{authorization:?}: {}", reply.text());
    }
    let second = [("authorization", "AWS LWAAAAAAAAAAAAAAAA_LOCAL:c2ln")];
    let second = send(client.address, Method::GET, &bare(&client, "/o"), &second, b"").await;
    told(&second, 400, "InvalidRequest", "a signature in fields has version 4");
    assert_eq!(client.get(FILES, "o").await.text(), "1");
}

fn bare(client: &S3Client, path: &str) -> String {
    format!("http://{}/{FILES}{path}", client.address)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_objects_and_buckets() {
    let running = Running::start();
    let client = running.client(&[]);
    let long = client.put(FILES, &"k".repeat(1025), b"1").await;
    told(&long, 400, "KeyTooLongError", "a key has 1 to 1024 bytes");
    let longest = "k".repeat(1024);
    assert_eq!(client.put(FILES, &longest, b"1").await.status, 200);
    assert_eq!(client.get(FILES, &longest).await.text(), "1");
    // A key is a text, and no path of a file.
    for name in ["a//b", "..%2f", "\u{1}", "🦀", "a?b#c&d=e"] {
        assert_eq!(client.put(FILES, name, name.as_bytes()).await.status, 200, "{name:?}");
        assert_eq!(client.get(FILES, name).await.text(), name);
    }
    let up = [("x-amz-copy-source", "/shop.files/../../../etc/passwd")];
    let up = client.send(Method::PUT, &client.put_url(FILES, "copy"), &up, b"").await;
    told(&up, 404, "NoSuchKey", NO_KEY);
    let up = bare(&client, "/../../etc/passwd");
    let up = client.send(Method::GET, &up, &[], b"").await;
    told(&up, 403, "AccessDenied", "a request has to be signed");
    let zero = client.put(FILES, "n\0ul", b"1").await;
    if zero.status == 200 {
        assert_eq!(client.get(FILES, "n\0ul").await.text(), "1");
    } else {
        assert_eq!(zero.status, 400, "{}", zero.text());
    }
    let none = client.get("no-such", "o").await;
    told(&none, 404, "NoSuchBucket", "there is no bucket no-such");
    let bare = client.get("files", "o").await;
    told(&bare, 404, "NoSuchBucket", "there is no bucket files; did you mean shop.files?");
    let upper = client.get_url(FILES, "o").replace(FILES, "Upper");
    let upper = client.send(Method::GET, &upper, &[], b"").await;
    told(&upper, 400, "InvalidBucketName", "a bucket has 3 to 63 lower-case letters");
    let again = client.bucket(FILES).create_bucket(&client.key).sign(TIME);
    let again = client.send(Method::PUT, again.as_str(), &[], b"").await;
    told(&again, 409, "BucketAlreadyOwnedByYou", "a manifest declares a bucket of this name");
    client.make("full").await;
    assert_eq!(client.put("full", "o", b"1").await.status, 200);
    let full = client.bucket("full").delete_bucket(&client.key).sign(TIME);
    let full = client.send(Method::DELETE, full.as_str(), &[], b"").await;
    told(&full, 409, "BucketNotEmpty", "the bucket has objects: delete them first");
    told(&client.get(FILES, "none").await, 404, "NoSuchKey", NO_KEY);
    for bucket in ["A", "a", "..", "x..y", "192.168.0.1"] {
        let url = client.get_url(FILES, "o").replace(FILES, bucket);
        let reply = client.send(Method::GET, &url, &[], b"").await;
        assert!([400, 403, 404].contains(&reply.status), "{bucket}: {}", reply.text());
    }
    let delete = client.bucket(FILES).delete_bucket(&client.key).sign(TIME);
    let delete = client.send(Method::DELETE, delete.as_str(), &[], b"").await;
    told(&delete, 403, "AccessDenied", "a manifest declares the bucket");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_conditions() {
    let running = Running::start();
    let client = running.client(&[]);
    assert_eq!(client.put(FILES, "o", b"0123456789").await.status, 200);
    let url = client.get_url(FILES, "o");
    for (range, status, text) in [
        ("bytes=0-0", 206, "0"),
        ("bytes=9-99999999999999", 206, "9"),
        ("bytes=-3", 206, "789"),
        ("bytes=-99999999999999", 206, "0123456789"),
    ] {
        let reply = client.send(Method::GET, &url, &[("range", range)], b"").await;
        assert_eq!((reply.status, reply.text()), (status, text), "{range}");
    }
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
        let reply = client.send(Method::GET, &url, &[("range", range)], b"").await;
        told(&reply, 416, "InvalidRange", "the object has no byte in the range");
    }
    // A range that is none is no range, or a fault of the client.
    let huge = format!("bytes={}-", "9".repeat(60));
    for range in ["bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", "bytes=-", &huge] {
        let reply = client.send(Method::GET, &url, &[("range", range)], b"").await;
        assert!([200, 400, 416].contains(&reply.status), "{range}: {}", reply.text());
    }
    let url = client.put_url(FILES, "o");
    let known = client.send(Method::PUT, &url, &[("if-none-match", "*")], b"x").await;
    told(&known, 412, "PreconditionFailed", "a condition of the request does not hold");
    assert_eq!(client.get(FILES, "o").await.text(), "0123456789");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies() {
    let running = Running::start();
    let client = running.client(&[]);
    let large = client.put(FILES, "o", &vec![0; (1 << 20) + 1]).await;
    told(&large, 400, "EntityTooLarge", "the object has over 1048576 bytes (`max_object_mib`)");
    let url = client.put_url(FILES, "sum");
    let md5 = ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    let digest = client.send(Method::PUT, &url, &[md5], b"not empty").await;
    told(&digest, 400, "BadDigest", "the Content-MD5 is not that of the body");
    let sum = client.send(Method::PUT, &url, &[("x-amz-checksum-crc32", "AAAAAA==")], b"a").await;
    told(&sum, 400, "BadDigest", "x-amz-checksum-crc32 is not that of the body");
    told(&client.get(FILES, "sum").await, 404, "NoSuchKey", NO_KEY);
    // A large form is refused before it is read.
    let form = ("content-type", "multipart/form-data; boundary=b");
    let url = format!("http://{}/{FILES}", client.address);
    let large = send(client.address, Method::POST, &url, &[form], &vec![b'x'; (1 << 20) + 1]).await;
    told(&large, 400, "EntityTooLarge", "a form has 1 MiB at most: a presigned URL takes a larger");
    // A form without a policy and a signature puts nothing.
    let fields = b"--b\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\nformed\r\n--b\r\n\
        content-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nbody\r\n--b--\r\n";
    let unsigned = send(client.address, Method::POST, &url, &[form], fields).await;
    assert_eq!(unsigned.status / 100, 4, "{}", unsigned.text());
    told(&client.get(FILES, "formed").await, 404, "NoSuchKey", NO_KEY);
}

/// Sends a request that ends in the middle of its body.
async fn cut_off(client: &S3Client, url: &str, bytes: usize, sent: usize) {
    let path = path_of(client.address, url);
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {bytes}\r\n\r\n",
        client.address
    );
    let mut socket = TcpStream::connect(client.address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&vec![7; sent]).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // The host ends the connection, with an answer or without one.
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// The host refuses a form before it has come, and a client sends all of it before it reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_on_reads_its_answer() {
    let running = Running::start();
    let client = running.client(&[]);
    let bytes = (1 << 20) + 1;
    let head = format!(
        "POST /{FILES} HTTP/1.1\r\nhost: {}\r\ncontent-length: {bytes}\r\n\
         content-type: multipart/form-data; boundary=b\r\n\r\n",
        client.address
    );
    let mut socket = TcpStream::connect(client.address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    // The host has answered, and sends no more.
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("<Code>EntityTooLarge</Code>"), "{answer}");
    socket.write_all(&vec![b'x'; bytes]).await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_cut_off() {
    let running = Running::start();
    let client = running.client(&[]);
    assert_eq!(client.put(FILES, "o", b"before").await.status, 200);
    for (bytes, sent) in [(100, 0), (100, 99), (1 << 20, 500_000)] {
        cut_off(&client, &client.put_url(FILES, "o"), bytes, sent).await;
        assert_eq!(client.get(FILES, "o").await.text(), "before");
    }
    let id = upload_id(&client.begin(FILES, "parts", &[]).await);
    let upload = (FILES, "parts", &*id);
    let first = client.part(upload, 1, b"whole").await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    for sent in [0, 99, 70_000] {
        cut_off(&client, &client.part_url(FILES, "parts", 1, &id), 80_000, sent).await;
    }
    let done = client.complete(upload, &[], &parts_xml(&[&tag])).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(client.get(FILES, "parts").await.text(), "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_missing_or_wrong() {
    let running = Running::start();
    let client = running.client(&[]);
    let id = upload_id(&client.begin(FILES, "o", &[]).await);
    let upload = (FILES, "o", &*id);
    let tag = client.part(upload, 1, b"part").await.headers["etag"].to_str().unwrap().to_owned();
    let second = client.part(upload, 2, b"end").await.headers["etag"].to_str().unwrap().to_owned();
    let wrong = "\"00000000000000000000000000000000\"";
    let cases = [
        ("", 400, "MalformedXML", ""),
        ("<CompleteMultipartUpload/>", 400, "MalformedXML", "an object has 1 to 9000 parts"),
        ("<CompleteMultipartUpload><Part>", 400, "MalformedXML", ""),
        (&parts_xml(&[wrong]), 400, "InvalidPart", "a part was not uploaded, or has another ETag"),
        (
            &parts_xml(&[&tag, wrong]),
            400,
            "EntityTooSmall",
            "each part but the last one has at least 5 MiB",
        ),
        (
            &parts_xml(&[&tag, &second]),
            400,
            "EntityTooSmall",
            "each part but the last one has at least 5 MiB",
        ),
    ];
    for (xml, status, code, text) in cases {
        told(&client.complete(upload, &[], xml).await, status, code, text);
    }
    let twice = parts_xml(&[&tag, &second]).replace(">2<", ">1<");
    told(
        &client.complete(upload, &[], &twice).await,
        400,
        "InvalidPartOrder",
        "the parts are not in the order of their numbers",
    );
    let size = [("x-amz-mp-object-size", "5")];
    let size = client.complete(upload, &size, &parts_xml(&[&tag])).await;
    told(&size, 400, "InvalidRequest", "the parts have 4 bytes");
    for number in [0, 10_001] {
        let reply = client.part(upload, number, b"part").await;
        told(&reply, 400, "InvalidArgument", "a part has a number from 1 to 10000");
    }
    let none = (FILES, "o", "0123");
    told(&client.part(none, 1, b"part").await, 404, "NoSuchUpload", "there is no such upload");
    told(
        &client.complete(none, &[], &parts_xml(&[&tag])).await,
        404,
        "NoSuchUpload",
        "there is no such upload",
    );
    let other = (FILES, "p", &*id);
    told(
        &client.complete(other, &[], &parts_xml(&[&tag])).await,
        404,
        "NoSuchUpload",
        "there is no such upload",
    );
    assert_eq!(code(&client.get(FILES, "o").await), (404, "NoSuchKey".into()));
    let done = client.complete(upload, &[], &parts_xml(&[&tag])).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(client.get(FILES, "o").await.text(), "part");
}
