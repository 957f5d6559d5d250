//! From a routed request to an invocation, and back.

use std::{sync::Arc, time::SystemTime};

use http::{Response, request::Parts};
use http_body_util::BodyExt;
use lacewing_base::{Limits, body::Body, random};
use lacewing_runtime::{
    function::Revision,
    invocation::{Excess, Failure, HttpRequest, Invoker, Pending},
};
use lacewing_telemetry::{
    Context, InvocationId, Metrics, Record, RequestHead, SpanId, Subject, TraceId, UnroutedRequest,
};

use super::{
    exchange::{Answered, Exchange, Handler},
    respond::{BadInput, Problem},
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
    ) -> Result<Response<Body>, Problem> {
        let revision = exchange.target().clone();
        let limits = &revision.spec.limits;
        let pending = self.invoker.begin(&revision, context);
        if let Some(excess) = Excess::of_headers(&exchange.parts.headers, limits) {
            return Err(refuse(pending, too_large(excess), context));
        }
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
        let answer = if revision.exports().http {
            let limit_bytes = limits.request_body_bytes.unwrap_or(Limits::BUFFERED_BODY_BYTES);
            let body = match body
                .collect(limit_bytes, &request.parts.headers, revision.tenant.bodies())
                .await
            {
                Ok(body) => body,
                Err(error) => return Err(refuse(pending, error.into(), context)),
            };
            pending.buffered(request, body.bytes.clone()).await
        } else {
            let limit_bytes = limits.request_body_bytes.unwrap_or(Limits::STREAMED_BODY_BYTES);
            if let Err(error) = body.limit(limit_bytes) {
                return Err(refuse(pending, error.into(), context));
            }
            pending.streaming(request, body.boxed_unsync()).await
        };
        answer.map_err(|failure| problem(failure, context))
    }
}

impl Handler for Gateway {
    type Target = Arc<Revision>;

    fn tenant(&self, target: &Arc<Revision>) -> u64 {
        target.tenant.slot_flow().id()
    }

    async fn handle(&self, exchange: Exchange<Arc<Revision>>) -> Result<Response<Body>, Problem> {
        let Parts { method, uri, .. } = &exchange.parts;
        let context = Context {
            request_id: Some(exchange.request_id.as_str().into()),
            trace_id: Some(TraceId(exchange.trace.trace_id())),
            span_id: Some(SpanId(exchange.trace.span_id())),
            client: Some(exchange.client),
            head: Some(RequestHead { method: method.clone(), uri: uri.clone() }),
            ..Context::new(exchange.target().origin.clone(), InvocationId(random::unique_u128()))
        };
        self.invoke(exchange, &Arc::new(context)).await
    }

    fn answered(&self, answered: &Answered<'_>) {
        if answered.route.is_some() {
            return;
        }
        self.metrics.host().unrouted_requests.inc(answered.outcome);
        let unrouted = UnroutedRequest {
            request_id: answered.request_id.as_str(),
            peer: answered.peer,
            request: answered.request,
            duration: answered.elapsed,
        };
        self.invoker.log_unrouted(&Record {
            time: SystemTime::now(),
            subject: Subject::Unrouted(unrouted),
            status: Some(answered.status.as_u16()),
            outcome: answered.outcome,
            detail: answered.detail,
        });
    }
}

fn refuse(pending: Pending, problem: Problem, context: &Context) -> Problem {
    pending.refuse(problem.sentence(), problem.outcome(), Some(problem.status().as_u16()));
    problem.invocation(context.invocation.to_string())
}

fn problem(failure: Failure, context: &Context) -> Problem {
    let problem = match failure.body {
        // The body's error knows the finer status.
        Some(error) => Problem::from(error),
        None if failure.store_is_full => Problem::store_full(),
        None => Problem::new(failure.outcome),
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

fn too_large(excess: Excess) -> Problem {
    let detail = match excess {
        Excess::Count { limit, .. } => {
            format!("the request has more than {limit} header fields")
        }
        Excess::Bytes { limit_bytes, .. } => format!(
            "the names and values of the request's header fields are more than {limit_bytes} bytes"
        ),
    };
    Problem::bad_input(BadInput::HeaderTooLarge).detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_over_its_functions_limits_is_431() {
        let said = |excess| {
            let problem = too_large(excess);
            format!("{} {}", problem.status().as_u16(), problem.sentence())
        };
        assert_eq!(
            said(Excess::Count { count: 4, limit: 3 }),
            "431 the request has more than 3 header fields"
        );
        assert_eq!(
            said(Excess::Bytes { bytes: 41, limit_bytes: 40 }),
            "431 the names and values of the request's header fields are more than 40 bytes"
        );
    }
}
