//! The API of the admin listener: the state of a running host, for its operator.
//!
//! ```text
//!   telemetry::admin   sockets, places, time; the Host field and pages of other sites
//!         │ head
//!         v
//!   begin              the token, the route, the parameters ──> 401, 404, 405, 400
//!         │ content
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
mod openapi;
mod opened;
mod operation;
mod preconditions;
mod target;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use lacewing_base::{KvStore, name::TenantName};
use lacewing_store::{
    StateStore, TenantState,
    embedded::{EmbeddedStore, Stopper},
};
use lacewing_telemetry::admin::{AdminApi, Answering, ApiRequest};
use tokio::sync::Semaphore;

use self::operation::{Answer, Call, Operation, ParameterPlace, Refusal, TurnKind};
use super::Host;

/// Requests for entries at once. The next one is answered 503. So that requests that wait for the
/// disk leave places of the listener to health checks.
const ENTRY_TURNS: usize = 16;

/// Checks and backups at once. The next one is answered 503.
const WHOLE_TURNS: usize = 1;

/// The operations of all resources.
fn operations() -> impl Iterator<Item = &'static Operation> {
    [kv::OPERATIONS, maintenance::OPERATIONS].into_iter().flatten()
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
    whole_turns: Arc<Semaphore>,
}

/// The state of a tenant, as the API sees it.
struct TenantView {
    name: TenantName,
    state: Arc<dyn TenantState>,
    /// The stores that deployed functions are granted.
    stores: Vec<Arc<KvStore>>,
    /// Whether a deployed function has state. Otherwise the tenant's quota is not known.
    is_deployed: bool,
    /// Whether nothing was written yet.
    is_empty: bool,
}

impl ControlApi {
    pub(super) fn new(host: Arc<Host>) -> ControlApi {
        let turns = |count| Arc::new(Semaphore::new(count));
        let (entry_turns, whole_turns) = (turns(ENTRY_TURNS), turns(WHOLE_TURNS));
        ControlApi { host, entry_turns, whole_turns }
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
        let deployed = self.host.deployed();
        let of_tenant = deployed.revisions.iter().filter(|one| *one.tenant.name() == name);
        let granted: Vec<_> =
            of_tenant.filter_map(|revision| revision.spec.settings.state.as_ref()).collect();
        let Some(first) = granted.first() else {
            if is_empty {
                return Err(missing());
            }
            // A tenant that is not deployed has no quota: its state does not grow.
            let state = store.tenant(&name, 0);
            let stores = Vec::new();
            return Ok(TenantView { name, state, stores, is_deployed: false, is_empty });
        };
        let state = first.state.clone();
        let mut stores: Vec<Arc<KvStore>> = Vec::new();
        for grant in granted.iter().flat_map(|settings| settings.grants.iter()) {
            if !stores.iter().any(|known| known.id == grant.store.id) {
                stores.push(grant.store.clone());
            }
        }
        Ok(TenantView { name, state, stores, is_deployed: true, is_empty })
    }

    /// The operation that a request asks for, with the parameters of its path.
    fn route(head: &Parts) -> Result<(&'static Operation, Vec<String>), Box<Response<Bytes>>> {
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
fn not_routed(allowed: &[&str]) -> Response<Bytes> {
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
    fn begin(self: Arc<Self>, head: Parts) -> Result<ApiRequest, Box<Response<Bytes>>> {
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
        let max_content_bytes = operation.content.max_bytes();
        let answer: Answering = Box::new(move |content| {
            let stopper = Stopper::default();
            let call = Call { path, query, headers: head.headers, content, stopper };
            Box::pin(self.run(operation, call))
        });
        Ok(ApiRequest { max_content_bytes, answer })
    }
}

/// The document, which needs no token.
fn document(head: &Parts) -> Response<Bytes> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return not_routed(&["GET", "HEAD"]);
    }
    let content = Some(("application/json", OPENAPI.clone()));
    Answer { content, ..Answer::empty(StatusCode::OK) }.into_response()
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
    async fn run(self: Arc<Self>, operation: &'static Operation, call: Call) -> Response<Bytes> {
        let turns = match operation.turns {
            TurnKind::Entries => &self.entry_turns,
            TurnKind::Whole => &self.whole_turns,
        };
        let Ok(turn) = turns.clone().try_acquire_owned() else {
            let detail = match operation.turns {
                TurnKind::Entries => "as many requests as may be are under way: try again",
                TurnKind::Whole => "a check or a backup is under way: try again when it is done",
            };
            return Refusal::busy(detail).into_response();
        };
        let call = Arc::new(call);
        let _client = StopsWhenLeft(call.clone());
        let work = move || {
            // Given back when the work is done, also where its client has left.
            let _turn = turn;
            (operation.handler)(&self, &call)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(answer)) => answer.into_response(),
            Ok(Err(refusal)) => refusal.into_response(),
            Err(panic) => {
                tracing::error!(operation = operation.id, %panic, "a request of the API failed");
                let detail = "the host failed: its log has the reason";
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
            }
        }
    }
}
