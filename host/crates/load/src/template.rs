//! The request that is sent again and again.

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};

/// Method, path, header fields, body.
#[derive(Clone, Debug)]
pub struct RequestTemplate {
    /// The method.
    pub method: Method,
    /// The path, with the query.
    pub path: PathAndQuery,
    /// The header fields besides `host`, and `host` itself where it is not the address.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}
