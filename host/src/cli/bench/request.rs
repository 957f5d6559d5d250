//! The request of a bench: from the arguments, and into a function of this process.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header::HOST, uri::PathAndQuery};
use http_body_util::BodyExt;
use lacewing_base::Route;
use lacewing_control::Host;
use lacewing_load::RequestTemplate;
use lacewing_runtime::function::Revision;
use lacewing_telemetry::{Context, InvocationId};

use super::BenchArgs;
use crate::cli::{Error, routed::Routed};

/// How a request in this process went.
pub(super) struct BenchAnswer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// The options that the arguments say, for this path.
pub(super) fn template(args: &BenchArgs, path: PathAndQuery) -> Result<RequestTemplate, Error> {
    let body = args.data.as_ref().map(crate::cli::invoke::Payload::read).transpose();
    let body = body.map_err(Error::Input)?;
    let implied = if body.is_some() { Method::POST } else { Method::GET };
    let mut headers = HeaderMap::new();
    for header in &args.headers {
        headers.append(&header.name, header.value.clone());
    }
    Ok(RequestTemplate {
        method: args.method.clone().unwrap_or(implied),
        path,
        headers,
        body: body.unwrap_or_default().into(),
    })
}

/// The path that was asked for, or else that of the function's first route that has no
/// parameters.
pub(super) fn path(args: &BenchArgs, revision: &Revision) -> Result<PathAndQuery, Error> {
    let name = &revision.origin.function;
    let path = match &args.request_path {
        Some(path) => path.clone(),
        None => revision.routes.iter().find_map(plain_path).ok_or_else(|| {
            let routes: Vec<String> = revision.routes.iter().map(ToString::to_string).collect();
            let routes = routes.join(", ");
            Error::NotThere(match routes.is_empty() {
                true => format!("`{name}` has no route, and bench measures requests: give it one"),
                false => format!(
                    "the routes of `{name}` have parameters: {routes}; choose a path with --path"
                ),
            })
        })?,
    };
    if !path.starts_with('/') {
        return Err(Error::NotThere(format!("{path:?} is not a path: a path begins with a slash")));
    }
    path.parse().map_err(|error| Error::NotThere(format!("{path:?} is not a path: {error}")))
}

fn host_of(request: &RequestTemplate) -> &str {
    request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost")
}

/// The function's own route for it.
pub(super) fn route(
    request: &RequestTemplate,
    host: &Host,
    revision: &Arc<Revision>,
) -> Result<Routed, Error> {
    Routed::find(host, revision, host_of(request), &request.method, request.path.path())
}

/// Sends it to a function in this process, and reads the answer to its end.
pub(super) async fn invoke(
    template: &RequestTemplate,
    host: &Host,
    revision: &Arc<Revision>,
    routed: &Routed,
) -> Result<BenchAnswer, Error> {
    let failed = |why: String| {
        let function = &revision.origin.function;
        Error::NotThere(format!(
            "`{function}` does not answer {} {}: {why}",
            template.method, template.path
        ))
    };
    let context = Context::new(revision.origin.clone(), InvocationId(0));
    let (authority, body) = (host_of(template), template.body.clone());
    let answered = routed.invoke(host, revision, context, authority, parts(template), body).await;
    let response = answered.map_err(|failure| failed(failure.outcome.to_string()))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| failed(error.to_string()))?;
    Ok(BenchAnswer { status: head.status, body: body.to_bytes() })
}

fn parts(template: &RequestTemplate) -> http::request::Parts {
    let mut request = Request::new(());
    *request.method_mut() = template.method.clone();
    *request.uri_mut() = template.path.clone().into();
    request.headers_mut().clone_from(&template.headers);
    request.into_parts().0
}

/// The path of a route that fits exactly one, or that takes all the rest, which may be empty.
fn plain_path(route: &Route) -> Option<String> {
    let pattern = route.path.as_str();
    match route.path.parameters().count() {
        0 => Some(pattern.to_owned()),
        1 if route.path.takes_rest() => Some(pattern.split('{').next()?.to_owned()),
        _ => None,
    }
}
