//! Uploads in parts, with their checksums.

use std::collections::HashSet;

use futures_util::future::join_all;
use http::Method;
use rusty_s3::S3Action;

use super::{
    Running,
    client::{TIME, code, error_of, parts_xml, upload_id},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_is_one_object_or_none() {
    let running = Running::start();
    let client = running.client(&[]);
    client.make("large").await;
    let id = upload_id(&client.begin("large", "o", &[]).await);
    let upload = ("large", "o", &*id);
    let parts: [Vec<u8>; 2] = [vec![1; 5 << 20], b"end".to_vec()];
    let mut tags = Vec::new();
    for (number, part) in (1..).zip(&parts) {
        let put = client.part(upload, number, part).await;
        tags.push(put.headers["etag"].to_str().unwrap().to_owned());
    }
    assert_eq!(code(&client.get("large", "o").await), (404, "NoSuchKey".into()));
    let xml = parts_xml(&[&tags[0], &tags[1]]);
    let done = client.complete(upload, &[], &xml).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let got = client.get("large", "o").await;
    assert!(got.body[..] == parts.concat()[..]);
    let tag = got.headers["etag"].to_str().unwrap();
    assert!(tag.ends_with("-2\""));
    // A client that got no answer asks again, as long as the object is that of its parts.
    let again = client.complete(upload, &[], &xml).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert!(again.text().contains(tag.trim_matches('"')), "{}", again.text());
    assert_eq!(client.put("large", "o", b"other").await.status, 200);
    let late = client.complete(upload, &[], &xml).await;
    assert_eq!(code(&late), (404, "NoSuchUpload".into()));
    assert_eq!(client.get("large", "o").await.text(), "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_begin_at_once_all_begin() {
    let running = Running::start();
    let client = running.client(&[]);
    client.make("busy").await;
    let names: Vec<String> = (0..48).map(|number| format!("o{number}")).collect();
    let ids =
        join_all(names.iter().map(async |name| upload_id(&client.begin("busy", name, &[]).await)));
    let ids: HashSet<String> = ids.await.into_iter().collect();
    assert_eq!(ids.len(), names.len());
}

/// The CRC-32 of the two parts as one body, of the CRCs of the parts, and of the last part.
const WHOLE: &str = "zYbOSA==";
const OF_CRCS: &str = "tu/Ixg==-2";
const LAST: &str = "APwzsQ==";

#[tokio::test(flavor = "multi_thread")]
async fn an_object_has_the_checksum_that_its_upload_began_with() {
    let running = Running::start();
    let client = running.client(&[]);
    client.make("sums").await;
    for (kind, sum) in [("FULL_OBJECT", WHOLE), ("COMPOSITE", OF_CRCS)] {
        let fields = [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", kind)];
        let id = upload_id(&client.begin("sums", kind, &fields).await);
        let upload = ("sums", kind, &*id);
        let first = client.part(upload, 1, &[1; 5 << 20]).await;
        let last = client.part(upload, 2, b"end").await;
        // The host takes the checksum where the client sends none.
        assert_eq!(last.headers["x-amz-checksum-crc32"], LAST);
        let tags = [&first, &last].map(|part| part.headers["etag"].to_str().unwrap());
        let xml = parts_xml(&tags);
        let wrong = client.complete(upload, &[("x-amz-checksum-crc32", LAST)], &xml).await;
        let told = error_of(&wrong);
        let text = "the checksum crc32 is not that of the object";
        assert_eq!(told, (400, "BadDigest".into(), text.into()));
        let done = client.complete(upload, &[("x-amz-checksum-crc32", sum)], &xml).await;
        let said = format!("<ChecksumType>{kind}</ChecksumType>");
        assert!(done.status == 200 && done.text().contains(&said), "{}", done.text());
        let mode = [("x-amz-checksum-mode", "ENABLED")];
        let url = client.get_url("sums", kind);
        let got = client.send(Method::GET, &url, &mode, b"").await;
        assert_eq!(got.headers["x-amz-checksum-crc32"], sum);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_that_no_upload_has_are_refused() {
    let running = Running::start();
    let client = running.client(&[]);
    client.make("sums").await;
    let algorithm = |name| ("x-amz-checksum-algorithm", name);
    let kind = |name| ("x-amz-checksum-type", name);
    for (fields, text) in [
        (vec![kind("COMPOSITE")], "a checksum type needs an algorithm"),
        (
            vec![algorithm("SHA256"), kind("FULL_OBJECT")],
            "SHA256 has no checksum of type FULL_OBJECT",
        ),
        (
            vec![algorithm("CRC64NVME"), kind("COMPOSITE")],
            "CRC64NVME has no checksum of type COMPOSITE",
        ),
        (vec![algorithm("MD4")], "MD4 has no checksum of type COMPOSITE"),
    ] {
        let (status, code, message) = error_of(&client.begin("sums", "o", &fields).await);
        assert_eq!((status, &*code, &*message), (400, "InvalidRequest", text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_by_its_own_key_only() {
    let running = Running::start();
    let client = running.client(&[]);
    client.make("keys").await;
    let mut tags = Vec::new();
    let ids = [
        upload_id(&client.begin("keys", "a", &[]).await),
        upload_id(&client.begin("keys", "b", &[]).await),
    ];
    for (key, id) in ["a", "b"].iter().zip(&ids) {
        let part = client.part(("keys", key, id), 1, b"part").await;
        tags.push(part.headers["etag"].to_str().unwrap().to_owned());
    }
    let xml = parts_xml(&[&tags[0]]);
    assert_eq!(client.complete(("keys", "a", &ids[0]), &[], &xml).await.status, 200);
    // The object `a` has these parts, and the id is that of another upload.
    let other = client.complete(("keys", "a", &ids[1]), &[], &xml).await;
    assert_eq!((other.status, error_of(&other).1), (404, "NoSuchUpload".into()));
    let bucket = client.bucket("keys");
    let abort = |id: &str| {
        bucket.abort_multipart_upload(Some(&client.key), "a", id).sign(TIME).as_str().to_owned()
    };
    let other = client.send(Method::DELETE, &abort(&ids[1]), &[], b"").await;
    assert_eq!((other.status, error_of(&other).1), (404, "NoSuchUpload".into()));
    let done = client.complete(("keys", "b", &ids[1]), &[], &parts_xml(&[&tags[1]])).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(client.get("keys", "b").await.text(), "part");
}
