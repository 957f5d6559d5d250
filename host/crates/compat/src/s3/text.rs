//! The texts of errors that come without one, by their codes.
//!
//! s3s makes some errors itself, and many places make one of the same code. Clients print "Unknown"
//! for an error without a text.

use http::Response;
use s3s::{Body, S3Error};

/// The text of an error.
pub(super) fn text_of(error: &S3Error) -> Option<String> {
    let given = error.message().or_else(|| text(error.code().as_str()));
    given.map(str::to_owned)
}

/// An answer of s3s, whose error has a text.
pub(super) fn with_text(mut response: Response<Body>) -> Response<Body> {
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let body = response.body().bytes();
        if let Some(filled) = body.as_deref().and_then(filled) {
            *response.body_mut() = Body::from(filled);
        }
    }
    response
}

/// The XML of an error with a text; `None` if the error has one, or the text is not known.
fn filled(xml: &[u8]) -> Option<String> {
    let xml = std::str::from_utf8(xml).ok().filter(|xml| !xml.contains("<Message>"))?;
    let (before, rest) = xml.split_once("<Code>")?;
    let (code, after) = rest.split_once("</Code>")?;
    let text = text(code)?;
    Some(format!("{before}<Code>{code}</Code><Message>{text}</Message>{after}"))
}

/// The text of a code. No text needs an escape in XML.
fn text(code: &str) -> Option<&'static str> {
    Some(match code {
        "AccessDenied" => "the access key does not allow the request",
        "BucketAlreadyOwnedByYou" => "a manifest declares a bucket of this name",
        "BucketNotEmpty" => "the bucket has objects: delete them first",
        "EntityTooSmall" => "each part but the last one has at least 5 MiB",
        "IncompleteBody" => "the body is shorter than the request says, or its signature is wrong",
        "InvalidAccessKeyId" => {
            "there is no such access key, or no deployed function of its tenant has a bucket"
        }
        "InvalidBucketName" => {
            "a bucket has 3 to 63 lower-case letters, digits, dots and hyphens, and is no IP address"
        }
        "InvalidDigest" => "the Content-MD5 is not the base64 of 16 bytes",
        "InvalidPart" => "a part was not uploaded, or has another ETag",
        "InvalidPartOrder" => "the parts are not in the order of their numbers",
        "InvalidRange" => "the object has no byte in the range",
        "InvalidURI" => "the path of the request names no bucket and key",
        "KeyTooLongError" => "a key has 1 to 1024 bytes",
        "MalformedXML" => "the body is not the XML of the operation",
        "MethodNotAllowed" => "the path has no such method",
        "MissingContentLength" => "the request does not say the length of its body",
        "NoSuchCORSConfiguration" => "the bucket has no rules for pages of other origins (CORS)",
        "NoSuchKey" => "the bucket has no object of this key",
        "NoSuchTagSet" => "the bucket has no tags",
        "NoSuchUpload" => "there is no such upload: it was completed or aborted, or never begun",
        "NotImplemented" => "the host does not have this operation",
        "PreconditionFailed" => "a condition of the request does not hold",
        "SignatureDoesNotMatch" => {
            "the signature is not that of this request with the secret of the access key"
        }
        "TooManyBuckets" => "the clients of a tenant make up to 1000 buckets",
        _ => return None,
    })
}
