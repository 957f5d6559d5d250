//! A request to a function of this process, by the function's own route.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, request::Parts};
use http_body_util::{BodyExt, Full};
use lacewing_base::body::{Body, empty_stream};
use lacewing_control::Host;
use lacewing_ingress::route::RouteLookup;
use lacewing_runtime::{
    function::Revision,
    invocation::{Failure, HttpRequest},
};
use lacewing_telemetry::Context;

use super::Error;

/// A route's pattern, and what it captured.
#[derive(Default)]
pub(super) struct Routed {
    pattern: String,
    params: Vec<(String, String)>,
}

impl Routed {
    /// The route of a function for a request.
    ///
    /// # Errors
    /// None of the function's routes matches.
    pub(super) fn find(
        host: &Host,
        revision: &Arc<Revision>,
        authority: &str,
        method: &Method,
        path: &str,
    ) -> Result<Routed, Error> {
        let routes = host.routes().load();
        if let RouteLookup::Match(found) = routes.find(authority, method, path)
            && Arc::ptr_eq(&found.route.value().target, revision)
        {
            let params = found.route.params(&found.params);
            return Ok(Routed {
                pattern: found.route.pattern().to_owned(),
                params: params.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            });
        }
        let own: Vec<String> = revision.routes.iter().map(ToString::to_string).collect();
        Err(Error::NotThere(format!(
            "no route of `{}` matches {method} {path}; its routes are: {} (choose with --path and --method)",
            revision.origin.function,
            own.join(", ")
        )))
    }

    /// Invokes the function, on the path that it exports.
    pub(super) async fn invoke(
        &self,
        host: &Host,
        revision: &Arc<Revision>,
        context: Context,
        authority: &str,
        parts: Parts,
        body: Bytes,
    ) -> Result<Response<Body>, Failure> {
        let params: Vec<(&str, &str)> =
            self.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let route = &self.pattern;
        let request = HttpRequest { parts, scheme: "http", authority, route, params: &params };
        let pending = host.invoker().begin(revision, &Arc::new(context));
        if revision.exports().http {
            return pending.buffered(request, body).await;
        }
        let body = match body.is_empty() {
            true => empty_stream(),
            false => Full::new(body).map_err(|never| match never {}).boxed_unsync(),
        };
        pending.streaming(request, body).await
    }
}
