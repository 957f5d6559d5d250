//! The API of the admin listener: the state of a running host, for its operator.
//!
//! ```text
//!   telemetry::admin   sockets, places, time; the Host field and pages of other sites
//!         │ head
//!         v
//!   begin              the token, the route, the parameters ──> 401, 404, 405, 400
//!         │ content, or its pieces
//!         v
//!   a turn             at most so many requests at once ──> 503
//!         │
//!         v
//!   a handler          on a thread that may wait for the disk
//! ```
//!
//! Each resource has a file with a table of its [`Operation`]s. Requests are routed by the tables,
//! and [`openapi`] describes them from the same tables. A new resource is a file, and an entry in
//! [`operations`].

pub(crate) mod client;
pub(crate) mod credential;
pub(crate) mod documents;
mod kv;
mod maintenance;
mod objects;
mod openapi;
mod opened;
mod operation;
mod preconditions;
mod range;
mod shared;
mod target;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use lacewing_base::{Bucket, KvStore, name::TenantName};
use lacewing_store::{
    StateStore, TenantState,
    embedded::{EmbeddedStore, Stopper},
};
use lacewing_telemetry::admin::{AdminAnswer, AdminApi, Answering, ApiContent};
use tokio::sync::Semaphore;

use self::operation::{
    Answer, AnswerContent, Call, Handler, Operation, ParameterPlace, Refusal, Turn, TurnKind,
};
use super::{Host, state::DeployedState};

/// Requests for entries at once. The next one is answered 503. So that requests that wait for the
/// disk leave places of the listener to health checks.
const ENTRY_TURNS: usize = 16;

/// Reads and writes of bodies at once. The next one is answered 503. They take none of the turns
/// above, because a body takes as long as its client.
const BODY_TURNS: usize = 16;

/// Checks and backups at once. The next one is answered 503.
const WHOLE_TURNS: usize = 1;

/// The operations of all resources.
fn operations() -> impl Iterator<Item = &'static Operation> {
    [kv::OPERATIONS, objects::OPERATIONS, maintenance::OPERATIONS].into_iter().flatten()
}

/// The document that describes them.
static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| {
    let operations: Vec<_> = operations().collect();
    // Infallible: a value.
    Bytes::from(serde_json::to_vec_pretty(&openapi::document(&operations)).unwrap_or_default())
});

/// The API over one host.
pub(super) struct ControlApi {
    host: Arc<Host>,
    entry_turns: Arc<Semaphore>,
    body_turns: Arc<Semaphore>,
    whole_turns: Arc<Semaphore>,
}

/// The state of a tenant, as the API sees it.
struct TenantView {
    name: TenantName,
    state: Arc<dyn TenantState>,
    /// The stores that deployed functions are granted.
    stores: Arc<Vec<Arc<KvStore>>>,
    /// The buckets that deployed functions are granted.
    granted_buckets: Arc<Vec<Arc<Bucket>>>,
    /// Whether a deployed function has state. Otherwise the tenant's quota is not known.
    is_deployed: bool,
    /// Whether nothing was written yet.
    is_empty: bool,
}

impl ControlApi {
    pub(super) fn new(host: Arc<Host>) -> ControlApi {
        let turns = |count| Arc::new(Semaphore::new(count));
        let (entry_turns, body_turns) = (turns(ENTRY_TURNS), turns(BODY_TURNS));
        ControlApi { host, entry_turns, body_turns, whole_turns: turns(WHOLE_TURNS) }
    }

    /// The store. A request that has the token finds it open.
    fn store(&self) -> Result<Arc<EmbeddedStore>, Refusal> {
        self.host.state.opened().ok_or_else(|| Refusal::busy("the host has no state open"))
    }

    /// The tenants that have state, or a deployed function with some.
    fn tenants(&self) -> Result<BTreeSet<TenantName>, Refusal> {
        let found = self.store()?.tenants();
        let found =
            found.map_err(|error| Refusal::busy(format!("the state cannot be read: {error}")))?;
        let deployed = self.host.deployed();
        let deployed = deployed.revisions.iter().filter(|one| one.spec.settings.state.is_some());
        let deployed = deployed.map(|revision| revision.tenant.name().clone());
        Ok(found.into_iter().chain(deployed).collect())
    }

    /// The state of a tenant.
    fn tenant(&self, name: &str) -> Result<TenantView, Refusal> {
        let missing = || {
            let detail = format!("there is no tenant {name:?} with state");
            Refusal::new(StatusCode::NOT_FOUND, detail)
        };
        let name: TenantName = name.parse().map_err(|_| missing())?;
        let store = self.store()?;
        let is_empty = !store.has_state(&name);
        let deployed = self.host.deployed_state(&name);
        if deployed.is_none() && is_empty {
            return Err(missing());
        }
        let is_deployed = deployed.is_some();
        let DeployedState { state, stores, buckets: granted_buckets } =
            deployed.unwrap_or_else(|| DeployedState {
                // A tenant that is not deployed has no quota: its state does not grow.
                state: store.tenant(&name, 0),
                stores: Arc::default(),
                buckets: Arc::default(),
            });
        Ok(TenantView { name, state, stores, granted_buckets, is_deployed, is_empty })
    }

    /// The operation that a request asks for, with the parameters of its path.
    fn route(
        head: &Parts,
    ) -> Result<(&'static Operation, Vec<String>), Box<Response<AdminAnswer>>> {
        let method = match head.method {
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        let mut allowed = Vec::new();
        for operation in operations() {
            let Some(path) = target::matches(operation.path, head.uri.path()) else { continue };
            if operation.method != *method {
                allowed.push(operation.method.as_str());
                allowed.extend((operation.method == Method::GET).then_some("HEAD"));
                continue;
            }
            let path = path.ok_or_else(|| {
                let detail = "the path is not UTF-8: escape each byte of UTF-8";
                Box::new(Refusal::new(StatusCode::BAD_REQUEST, detail).into_response())
            })?;
            return Ok((operation, path));
        }
        Err(Box::new(not_routed(&allowed)))
    }
}

/// The answer to a request that asks for no operation.
fn not_routed(allowed: &[&str]) -> Response<AdminAnswer> {
    if allowed.is_empty() {
        let detail = "there is no such path: /v1/openapi.json lists the paths";
        return Refusal::new(StatusCode::NOT_FOUND, detail).into_response();
    }
    let allowed = allowed.join(", ");
    let detail = format!("the path takes {allowed}");
    let mut response = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response();
    // Infallible: names of methods.
    let allow = HeaderValue::try_from(allowed).ok().map(|allow| (header::ALLOW, allow));
    response.headers_mut().extend(allow);
    response
}

impl AdminApi for ControlApi {
    fn begin(self: Arc<Self>, head: Parts) -> Result<Answering, Box<Response<AdminAnswer>>> {
        if head.uri.path() == openapi::PATH {
            return Err(Box::new(document(&head)));
        }
        if !self.host.state.admits(&head.headers) {
            let detail = "the request has no token of this host: send the token in the file `lacewing.admin` of the state directory, as `Authorization: Bearer TOKEN`";
            let refusal = Refusal::new(StatusCode::UNAUTHORIZED, detail);
            return Err(Box::new(refusal.into_response()));
        }
        let (operation, path) = ControlApi::route(&head)?;
        let query = checked(operation, &path, head.uri.query().unwrap_or_default());
        let query = query.map_err(|refusal| Box::new(refusal.into_response()))?;
        Ok(Box::new(move |content| {
            let (stopper, is_head) = (Stopper::default(), head.method == Method::HEAD);
            let (headers, whole) = (head.headers, Bytes::new());
            let call = Call { path, query, headers, is_head, content: whole, stopper };
            Box::pin(self.answer(operation, call, content))
        }))
    }
}

/// The document, which needs no token.
fn document(head: &Parts) -> Response<AdminAnswer> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return not_routed(&["GET", "HEAD"]);
    }
    let content = AnswerContent::Bytes("application/json", OPENAPI.clone());
    Answer { content, ..Answer::empty(StatusCode::OK) }.into_response(None)
}

/// The parameters of a query, after all parameters of the path and the query were checked.
fn checked(
    operation: &Operation,
    path: &[String],
    query: &str,
) -> Result<Vec<(String, String)>, Refusal> {
    let query =
        target::query(query).map_err(|fault| Refusal::new(StatusCode::BAD_REQUEST, fault))?;
    let of = |place| operation.parameters.iter().filter(move |one| one.place == place);
    for (parameter, value) in of(ParameterPlace::Path).zip(path) {
        parameter.check(value)?;
    }
    for (name, value) in &query {
        let known = of(ParameterPlace::Query).find(|known| known.name == *name);
        known
            .ok_or_else(|| {
                let known: Vec<_> = of(ParameterPlace::Query).map(|known| known.name).collect();
                let known = match known.is_empty() {
                    true => "there is none".to_owned(),
                    false => format!("there are {}", known.join(", ")),
                };
                let detail = format!("the query has no parameter {name:?} here: {known}");
                Refusal::new(StatusCode::BAD_REQUEST, detail)
            })?
            .check(value)?;
    }
    Ok(query)
}

/// Stops the read of a call when its client has left.
struct StopsWhenLeft(Arc<Call>);

impl Drop for StopsWhenLeft {
    fn drop(&mut self) {
        self.0.stopper.stop();
    }
}

impl ControlApi {
    async fn answer(
        self: Arc<Self>,
        operation: &'static Operation,
        call: Call,
        content: ApiContent,
    ) -> Response<AdminAnswer> {
        match self.run(operation, call, content).await {
            Ok((answer, turn)) => answer.into_response(Some(turn)),
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn run(
        self: Arc<Self>,
        operation: &'static Operation,
        mut call: Call,
        content: ApiContent,
    ) -> Result<(Answer, Turn), Refusal> {
        type Work = Box<dyn FnOnce(&ControlApi, &Call) -> Result<Answer, Refusal> + Send>;
        let handler: Work = match operation.handler {
            Handler::Whole(handler) => {
                call.content = content.whole(operation.content.max_bytes()).await?;
                Box::new(handler)
            }
            Handler::Streamed(handler) => Box::new(move |api, call| handler(api, call, content)),
        };
        let turn = self.turn(operation.turns)?;
        let call = Arc::new(call);
        let _client = StopsWhenLeft(call.clone());
        let work = move || {
            let answer = handler(&self, &call);
            // Given back when the work is done, also where its client has left.
            (answer, turn)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok((answer, turn)) => Ok((answer?, turn)),
            Err(panic) => {
                tracing::error!(operation = operation.id, %panic, "a request of the API failed");
                let detail = "the host failed: its log has the reason";
                Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
            }
        }
    }

    fn turn(&self, kind: TurnKind) -> Result<Turn, Refusal> {
        let busy = "as many requests as may be are under way: try again";
        let (turns, detail) = match kind {
            TurnKind::Entries => (&self.entry_turns, busy),
            TurnKind::Bodies => (&self.body_turns, busy),
            TurnKind::Whole => {
                (&self.whole_turns, "a check or a backup is under way: try again when it is done")
            }
        };
        turns.clone().try_acquire_owned().map_err(|_| Refusal::busy(detail))
    }
}
