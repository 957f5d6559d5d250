//! A client of the S3 API, with presigned requests over real sockets.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use crate::{client::exchange, harness::Reply};

/// The time for which a URL is valid.
pub(crate) const TIME: Duration = Duration::from_secs(600);

/// The access key that `lacewing s3 create-key` printed.
pub(crate) fn key_of(said: &str) -> Credentials {
    let value = |name: &str| {
        said.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    };
    Credentials::new(value("access key:"), value("secret key:"))
}

/// The code and the text of an error, after its status.
pub(crate) fn error_of(reply: &Reply) -> (u16, String, String) {
    let text = reply.text();
    let element = |name: &str| {
        let rest = text.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
        let value = rest.and_then(|rest| rest.split_once("</")).map(|(value, _)| value);
        value.unwrap_or_default().to_owned()
    };
    (reply.status, element("Code"), element("Message"))
}

/// The status and the code of an error.
pub(crate) fn code(reply: &Reply) -> (u16, String) {
    let (status, code, _) = error_of(reply);
    (status, code)
}

/// A listener, and an access key for it.
pub(crate) struct S3Client {
    pub(crate) address: SocketAddr,
    pub(crate) key: Credentials,
}

impl S3Client {
    pub(crate) fn bucket(&self, name: &str) -> Bucket {
        bucket(self.address, name)
    }

    /// Sends a request that is signed already.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        send(self.address, method, url, fields, body).await
    }

    pub(crate) async fn make(&self, bucket: &str) {
        let url = self.bucket(bucket).create_bucket(&self.key).sign(TIME);
        let made = self.send(Method::PUT, url.as_str(), &[], b"").await;
        assert_eq!(made.status, 200, "{}", made.text());
    }

    pub(crate) fn put_url(&self, bucket: &str, name: &str) -> String {
        self.bucket(bucket).put_object(Some(&self.key), name).sign(TIME).into()
    }

    pub(crate) async fn put(&self, bucket: &str, name: &str, body: &[u8]) -> Reply {
        self.send(Method::PUT, &self.put_url(bucket, name), &[], body).await
    }

    pub(crate) fn get_url(&self, bucket: &str, name: &str) -> String {
        self.bucket(bucket).get_object(Some(&self.key), name).sign(TIME).into()
    }

    pub(crate) async fn get(&self, bucket: &str, name: &str) -> Reply {
        self.send(Method::GET, &self.get_url(bucket, name), &[], b"").await
    }

    /// Begins an upload in parts. Returns the answer.
    pub(crate) async fn begin(&self, bucket: &str, name: &str, fields: &[(&str, &str)]) -> Reply {
        let begin = self.bucket(bucket);
        let url = begin.create_multipart_upload(Some(&self.key), name).sign(TIME);
        self.send(Method::POST, url.as_str(), fields, b"").await
    }

    pub(crate) fn part_url(&self, bucket: &str, name: &str, number: u16, id: &str) -> String {
        self.bucket(bucket).upload_part(Some(&self.key), name, number, id).sign(TIME).into()
    }

    /// Puts a part. Returns the answer.
    pub(crate) async fn part(
        &self,
        (bucket, name, id): (&str, &str, &str),
        number: u16,
        body: &[u8],
    ) -> Reply {
        let url = self.part_url(bucket, name, number, id);
        self.send(Method::PUT, &url, &[], body).await
    }

    /// Ends an upload with such XML, or with the parts that have these tags.
    pub(crate) async fn complete(
        &self,
        (bucket, name, id): (&str, &str, &str),
        fields: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let bucket = self.bucket(bucket);
        let none = std::iter::empty::<&str>();
        let url = bucket.complete_multipart_upload(Some(&self.key), name, id, none).sign(TIME);
        self.send(Method::POST, url.as_str(), fields, body.as_bytes()).await
    }
}

/// The XML that names parts, from 1 on, by their tags.
pub(crate) fn parts_xml(tags: &[&str]) -> String {
    let part = |(number, tag): (usize, &&str)| {
        format!("<Part><PartNumber>{}</PartNumber><ETag>{tag}</ETag></Part>", number + 1)
    };
    let parts: String = tags.iter().enumerate().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

/// The id of an upload that has begun.
pub(crate) fn upload_id(begun: &Reply) -> String {
    let rest = begun.text().split_once("<UploadId>").unwrap_or_else(|| panic!("{}", begun.text()));
    rest.1.split_once('<').unwrap().0.to_owned()
}

pub(crate) fn bucket(address: SocketAddr, name: &str) -> Bucket {
    let url = format!("http://{address}").parse().unwrap();
    Bucket::new(url, UrlStyle::Path, name.to_owned(), "us-east-1").unwrap()
}

/// Sends a request to a URL.
pub(crate) async fn send(
    address: SocketAddr,
    method: Method,
    url: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let path = path_of(address, url);
    let mut request =
        Request::builder().method(method).uri(path).header("host", address.to_string());
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(body));
    Reply::read(exchange(address, request.body(body).unwrap()).await).await
}

/// The path and the query of a URL.
pub(crate) fn path_of(address: SocketAddr, url: &str) -> &str {
    url.split_once(&address.to_string()).unwrap().1
}
