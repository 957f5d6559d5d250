//! From a routed request to an invocation, and back.

use std::sync::{Arc, OnceLock};

use http::Response;
use http_body_util::BodyExt;

use super::{
    body::{BodyError, RequestBody, ResponseBody},
    exchange::{Answered, Exchange, Handler},
    hygiene::HeaderLimits,
    random,
    respond::Problem,
};
use crate::{
    body::{self, Body, StreamBody},
    function::Revision,
    invocation::{Failure, HttpRequest, Invoker, Seen},
    manifest::Limits,
    outcome::Outcome,
    telemetry::{Context, InvocationId, Metrics, TraceId},
};

/// Hands requests to the functions of their routes.
pub struct Gateway {
    invoker: Arc<Invoker>,
    metrics: Arc<Metrics>,
}

impl Gateway {
    /// Functions run in `invoker`; what reaches none of them is counted in `metrics`.
    pub fn new(invoker: Arc<Invoker>, metrics: Arc<Metrics>) -> Gateway {
        Gateway { invoker, metrics }
    }

    async fn invoke(
        &self,
        mut exchange: Exchange<Arc<Revision>>,
        context: &Arc<Context>,
        seen: &Seen,
    ) -> Result<Response<Body>, Problem> {
        let revision = exchange.target().clone();
        let limits = &revision.spec.limits;
        let refuse = |problem: Problem| {
            self.invoker.refused(
                &revision,
                context,
                Some(seen),
                problem.sentence(),
                problem.outcome(),
                Some(problem.status().as_u16()),
            );
            problem
        };
        HeaderLimits { count: limits.headers, bytes: limits.header_bytes }
            .check_request(&exchange.parts.headers)
            .map_err(refuse)?;
        exchange.introduce();
        let authority = exchange.authority().to_owned();
        let Exchange { route, params, parts, mut body, scheme, .. } = exchange;
        let params: Vec<(&str, &str)> = route.params(&params).collect();
        let request = HttpRequest {
            parts,
            scheme,
            authority: &authority,
            route: route.pattern(),
            params: &params,
        };
        // Why the body of a request that streams ended early, if it did.
        let refused = Arc::new(OnceLock::new());
        let answer = if revision.program.exports().http {
            let limit_bytes = limits.request_body_bytes.unwrap_or(Limits::BUFFERED_BODY_BYTES);
            let body = body.collect(limit_bytes).await.map_err(|error| refuse(error.into()))?;
            self.invoker.buffered(&revision, context, request, body.bytes.clone()).await
        } else {
            let limit_bytes = limits.request_body_bytes.unwrap_or(Limits::STREAMED_BODY_BYTES);
            body.limit(limit_bytes).map_err(|error| refuse(error.into()))?;
            let body = stream(body, refused.clone());
            self.invoker.streaming(&revision, context, request, body).await
        };
        answer.map_err(|failure| problem(failure, refused.get(), context))
    }
}

impl Handler for Gateway {
    type Target = Arc<Revision>;

    async fn handle(
        &self,
        exchange: Exchange<Arc<Revision>>,
    ) -> Result<Response<ResponseBody>, Problem> {
        let context = Arc::new(Context {
            origin: exchange.target().origin.clone(),
            invocation: InvocationId(random::unique_u128()),
            request_id: Some(exchange.request_id.as_str().into()),
            trace_id: Some(TraceId(exchange.trace.trace_id())),
        });
        let seen = Seen { method: exchange.parts.method.clone(), uri: exchange.parts.uri.clone() };
        let response = self.invoke(exchange, &context, &seen).await?;
        Ok(response.map(|body| match body {
            Body::Full(bytes) => ResponseBody::full(bytes),
            Body::Stream(stream) => ResponseBody::stream(stream.map_err(Into::into)),
        }))
    }

    fn answered(&self, answered: &Answered<'_>) {
        if answered.route.is_none() {
            self.metrics.host().unrouted_requests.inc(answered.outcome);
        }
    }
}

fn problem(failure: Failure, refused: Option<&BodyError>, context: &Context) -> Problem {
    let problem = match refused {
        // The body's error knows the finer status.
        Some(error) if failure.outcome == Outcome::BadRequest => Problem::from(error.clone()),
        Some(_) | None => Problem::new(failure.outcome),
    };
    let problem = problem.invocation(context.invocation.to_string());
    let problem = match failure.reason {
        Some(reason) => problem.detail(reason),
        None => problem,
    };
    match failure.retry_after {
        Some(after) => problem.retry_after(after),
        None => problem,
    }
}

/// The body as functions read it. The error that ends it, if one does, is put into `refused` as well.
fn stream(body: RequestBody, refused: Arc<OnceLock<BodyError>>) -> StreamBody {
    body.map_err(move |error| {
        let seen = match &error {
            BodyError::TooLarge { limit } => body::BodyError::TooLarge { limit_bytes: *limit },
            BodyError::Idle { after } | BodyError::Slow { after } => body::BodyError::Idle(*after),
            BodyError::Malformed => body::BodyError::Malformed,
            BodyError::NoRoom | BodyError::Gone => body::BodyError::Incomplete(error.to_string()),
        };
        refused.get_or_init(|| error);
        seen
    })
    .boxed_unsync()
}
