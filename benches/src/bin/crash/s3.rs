//! Clients of the S3 API: each replaces an object of its own, in one request or in parts.

use std::{io, net::SocketAddr};

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use lacewing_benches::s3::{S3Client, TIME};
use rusty_s3::{Credentials, S3Action};

/// The bucket of the guest `ledger`, as S3 clients say its name.
const BUCKET: &str = "ledger.blobs";

/// The size of all parts but the last one: the smallest that S3 allows.
const PART_BYTES: usize = 5 << 20;

/// A client, and its object.
pub(super) struct ObjectWriter {
    client: S3Client,
    object: String,
}

impl ObjectWriter {
    pub(super) fn new(
        address: SocketAddr,
        key: &Credentials,
        number: usize,
    ) -> anyhow::Result<ObjectWriter> {
        let client = S3Client::new(address, BUCKET, key)?;
        Ok(ObjectWriter { client, object: format!("s3-{number}") })
    }

    /// Replaces the object with that of write `n`. Returns whether the host acknowledged that.
    pub(super) async fn put(&mut self, n: u32) -> io::Result<bool> {
        let body = body(n);
        if body.len() > PART_BYTES {
            return self.put_in_parts(&body).await;
        }
        Ok(self.client.put(&self.object, body).await?.status == 200)
    }

    async fn put_in_parts(&mut self, body: &Bytes) -> io::Result<bool> {
        let ObjectWriter { client, object } = self;
        let (bucket, key) = (client.bucket.clone(), client.key.clone());
        let begin = bucket.create_multipart_upload(Some(&key), object).sign(TIME);
        let begun = client.send(Method::POST, begin.as_str(), Bytes::new()).await?;
        let text = String::from_utf8_lossy(&begun.body);
        let id = text.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<'));
        let Some((id, _)) = id else { return Ok(false) };
        let mut tags = Vec::new();
        for (number, at) in (1..).zip((0..body.len()).step_by(PART_BYTES)) {
            let part = body.slice(at..body.len().min(at + PART_BYTES));
            let put = bucket.upload_part(Some(&key), object, number, id).sign(TIME);
            let put = client.send(Method::PUT, put.as_str(), part).await?;
            let tag = put.fields.get("etag").and_then(|tag| tag.to_str().ok());
            let Some(tag) = tag else { return Ok(false) };
            tags.push(tag.to_owned());
        }
        let tags = tags.iter().map(String::as_str);
        let end = bucket.complete_multipart_upload(Some(&key), object, id, tags);
        let url = end.sign(TIME);
        let ended = client.send(Method::POST, url.as_str(), end.body().into()).await?;
        // S3 may answer 200 before it has ended. An error is in the body then.
        Ok(ended.status == 200 && !String::from_utf8_lossy(&ended.body).contains("<Error>"))
    }

    /// The last write whose object is there as a whole: the last acknowledged one or the one after.
    pub(super) async fn check(&mut self, acknowledged: u32) -> anyhow::Result<u32> {
        let object = &self.object;
        let got = self.client.get(object).await?;
        let there = match got.status {
            404 => 0,
            200 => u32::from_le_bytes(*got.body.first_chunk().context("the object is empty")?),
            status => anyhow::bail!("{object}: the answer has status {status}"),
        };
        anyhow::ensure!(
            there == acknowledged || there == acknowledged + 1,
            "{object}: write {acknowledged} was acknowledged, and {there} is the one there"
        );
        anyhow::ensure!(there == 0 || got.body == body(there), "{object}: write {there} is torn");
        Ok(there)
    }
}

/// The body of a write, in which each word tells the write: in the database, in a file, or in two
/// files of an upload in parts.
fn body(n: u32) -> Bytes {
    let bytes = match n {
        n if n % 16 == 15 => PART_BYTES + 4_000,
        n if n % 3 == 0 => 400_000,
        _ => 4_000,
    };
    n.to_le_bytes().repeat(bytes / 4).into()
}
