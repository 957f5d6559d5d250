//! Outbound HTTP of one sandbox, charged to the sandbox.
//!
//! A request that a guest sends goes on in tasks of the host's: one waits for the head of the response, another one moves the
//! bodies. A server that makes them work, by interim responses without end for example, makes them work for the guest that
//! asked the server. So their CPU time and heap are the sandbox's.

use std::{pin::Pin, sync::Arc, time::Duration};

use http::{Request, Response};
use wasmtime_wasi_http::{
    Error as Code, RequestOptions, Result as WasiHttpResult, WasiBody, WasiHttpHooks,
};

use super::budget::{Consumption, charged};
use crate::capability::egress::Gate;

/// The gate of an invocation, and the accounts that pay for its requests.
pub(super) struct Outbound {
    gate: Gate,
    consumption: Arc<Consumption>,
    cpu_limit: Duration,
}

impl Outbound {
    pub(super) fn new(gate: Gate, consumption: Arc<Consumption>, cpu_limit: Duration) -> Outbound {
        Outbound { gate, consumption, cpu_limit }
    }
}

type Io = Box<dyn Future<Output = Result<(), Code>> + Send>;
type Sent = Box<dyn Future<Output = WasiHttpResult<(Response<WasiBody>, Io)>> + Send>;

impl WasiHttpHooks for Outbound {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.gate.p2_outgoing_body_chunk_size()
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        self.gate.p3_outgoing_body_chunk_size()
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        processed: Io,
    ) -> Sent {
        let sent = self.gate.send_request(request, options, processed);
        let (consumption, cpu_limit) = (self.consumption.clone(), self.cpu_limit);
        // The guest does not see the error: it is stopped.
        let over = || Code::ConnectionTerminated;
        Box::new(async move {
            let sent = charged(&consumption, cpu_limit, Pin::from(sent)).await;
            let (response, io) = sent.ok_or_else(over)??;
            let io = charged(&consumption, cpu_limit, Pin::from(io));
            let io: Io = Box::new(async move { io.await.ok_or_else(over)? });
            Ok((response, io))
        })
    }
}
