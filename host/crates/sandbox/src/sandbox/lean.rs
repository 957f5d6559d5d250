//! The lean path, and the other exports that are plain calls: records in, records out.

use std::time::{Duration, Instant};

use lacewing_base::outcome::Outcome;

use super::{
    CallError, Event, EventFailure, Fault, Sandbox,
    contract::{
        call::CallFunction,
        events::EventsFunction,
        http::exports::lacewing::function::http::{FieldParam, Param, Request},
    },
};

/// A buffered HTTP request, all of it borrowed: lowering copies it straight into the guest's
/// memory.
pub type LeanRequest<'a> = Request<'a>;
/// One header field of a [`LeanRequest`].
pub type LeanField<'a> = FieldParam<'a>;
/// One parameter of the route of a [`LeanRequest`].
pub type LeanParam<'a> = Param<'a>;

/// A buffered HTTP response as the guest returned it; nothing about it is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeanResponse {
    /// Any number.
    pub status: u16,
    /// Any names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Sandbox {
    /// Calls `lacewing:function/http.handle`.
    pub async fn http(&mut self, request: LeanRequest<'_>) -> Result<LeanResponse, Fault> {
        let program = self.program.clone();
        let pre = program.http.as_ref().ok_or_else(|| not_exported("lacewing:function/http"))?;
        let made = self.made.take();
        let mut start = Start::now();
        let result = self
            .run(async |store| {
                let instance = match made {
                    Some(made) => made.http(store)?,
                    None => pre.instantiate_async(&mut *store).await?,
                };
                start.done();
                instance.lacewing_function_http().call_handle(store, request).await
            })
            .await;
        self.instantiated = start.took;
        let response = result?;
        Ok(LeanResponse {
            status: response.status,
            headers: response.headers.into_iter().map(|field| (field.name, field.value)).collect(),
            body: response.body,
        })
    }

    /// Calls `lacewing:function/call.call`.
    pub async fn call(&mut self, payload: &[u8]) -> Result<Result<Vec<u8>, CallError>, Fault> {
        let program = self.program.clone();
        let pre = program.call.as_ref().ok_or_else(|| not_exported("lacewing:function/call"))?;
        let made = self.made.take();
        let mut start = Start::now();
        let result = self
            .run(async |store| {
                let instance = match made {
                    Some(made) => CallFunction::new(&mut *store, &made.instance)?,
                    None => pre.instantiate_async(&mut *store).await?,
                };
                start.done();
                instance.lacewing_function_call().call_call(store, &payload.to_vec()).await
            })
            .await;
        self.instantiated = start.took;
        result
    }

    /// Calls `lacewing:function/events.handle`. The results are as many as the events.
    pub async fn events(
        &mut self,
        batch: &[Event],
    ) -> Result<Vec<Result<(), EventFailure>>, Fault> {
        let program = self.program.clone();
        let pre =
            program.events.as_ref().ok_or_else(|| not_exported("lacewing:function/events"))?;
        let made = self.made.take();
        let mut start = Start::now();
        let result = self
            .run(async |store| {
                let instance = match made {
                    Some(made) => EventsFunction::new(&mut *store, &made.instance)?,
                    None => pre.instantiate_async(&mut *store).await?,
                };
                start.done();
                instance.lacewing_function_events().call_handle(store, batch).await
            })
            .await;
        self.instantiated = start.took;
        let results = result?;
        if results.len() != batch.len() {
            return Err(Fault::new(
                Outcome::BadResponse,
                format!(
                    "{} results were returned for a batch of {} events",
                    results.len(),
                    batch.len()
                ),
            ));
        }
        Ok(results)
    }
}

/// Measures an instantiation.
pub(super) struct Start {
    at: Instant,
    pub(super) took: Option<Duration>,
}

impl Start {
    pub(super) fn now() -> Start {
        Start { at: Instant::now(), took: None }
    }

    pub(super) fn done(&mut self) {
        self.took = Some(self.at.elapsed());
    }
}

/// A revision is checked at deploy, so only a bug leads here.
pub(super) fn not_exported(interface: &str) -> Fault {
    Fault::new(
        Outcome::Internal,
        format!("{interface} was called, and the component does not export it"),
    )
}
