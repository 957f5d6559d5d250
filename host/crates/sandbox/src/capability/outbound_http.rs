//! wasi:http, through the gate of outbound requests, charged to the sandbox.
//!
//! A request that a guest sends goes on in tasks of the host's: one waits for the head of the
//! response, another one moves the bodies. A server that makes them work, by interim responses
//! without end for example, makes them work for the guest that asked the server. So the sandbox
//! pays for their CPU time and heap.

use std::{pin::Pin, sync::Arc};

use http::{Request, Response};
use wasmtime::{Result, component::Linker};
use wasmtime_wasi_http::{
    Error as Code, RequestOptions, Result as WasiHttpResult, WasiBody, WasiHttpCtx, WasiHttpHooks,
};

use super::{
    egress::{EgressLimits, Gate},
    extension::{Capability, Opening, StoreData},
    interfaces::Versions,
    payer::{Charged, Payer},
};

/// The state of wasi:http in one store: the settings of its types, the gate of its requests, and
/// the account that pays for them.
pub(crate) struct OutboundHttp {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

/// A header map in memory is larger than its fields on the wire; this covers the difference.
const FIELD_OVERHEAD: usize = 4;

impl OutboundHttp {
    /// Whether the guest has sent a request, or tried to.
    pub(crate) fn has_sent(&self) -> bool {
        self.hooks.gate.requests() > 0
    }

    pub(crate) fn parts(&mut self) -> (&mut WasiHttpCtx, &mut dyn WasiHttpHooks) {
        (&mut self.ctx, &mut self.hooks)
    }
}

impl Capability for OutboundHttp {
    const PACKAGES: &'static [Versions] = &[("wasi:http", &["0.2", "0.3"])];

    /// The bound on requests is each invocation's own. Of an instance that serves several at once,
    /// the host cannot tell to which of them a request belongs: the one that began last has its
    /// bound counted from there.
    const PER_INVOCATION: bool = true;

    const SHOWS_PROGRESS: bool = true;

    fn why_not_during_init(_package: &str) -> &'static str {
        "nothing is sent before the function is invoked"
    }

    fn open(opening: Opening<'_>) -> OutboundHttp {
        let Opening { limits, settings, log, propagation, payer, is_over, .. } = opening;
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(limits.header_bytes as usize * FIELD_OVERHEAD);
        let (egress, policy) = (settings.egress.clone(), settings.policy.clone());
        let propagation = std::mem::take(propagation);
        let limits = if is_over { EgressLimits::NONE } else { EgressLimits::from(limits) };
        let gate = Gate::new(egress, policy, limits, propagation, log.now());
        OutboundHttp { ctx, hooks: Hooks { gate, payer } }
    }

    fn link<T: StoreData>(linker: &mut Linker<T>, tasks: bool) -> Result<()> {
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
        if tasks {
            wasmtime_wasi_http::p3::add_to_linker(linker)?;
        }
        Ok(())
    }
}

struct Hooks {
    gate: Gate,
    payer: Arc<dyn Payer>,
}

type Io = Box<dyn Future<Output = WasiHttpResult<()>> + Send>;
type Sent = Box<dyn Future<Output = WasiHttpResult<(Response<WasiBody>, Io)>> + Send>;

impl WasiHttpHooks for Hooks {
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
        let payer = self.payer.clone();
        // The guest does not see the error: it is stopped.
        let over = || Code::ConnectionTerminated;
        Box::new(async move {
            let sent = Charged::new(payer.clone(), Pin::from(sent)).await;
            let (response, io) = sent.ok_or_else(over)??;
            let io = Charged::new(payer, Pin::from(io));
            let io: Io = Box::new(async move { io.await.ok_or_else(over)? });
            Ok((response, io))
        })
    }
}
