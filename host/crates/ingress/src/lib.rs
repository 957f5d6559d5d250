//! The HTTP ingress: from a socket to a function's answer.
//!
//! ```text
//! serve ── transport ── hyper ── dispatch ──> Handler (invocation)
//!   │                              │  │
//! drain                       target  route, cors, respond
//! ```
//!
//! `serve` accepts connections within a bound and drives them; `transport` is the socket as hyper
//! sees it. `dispatch` finds the route of a request and answers what needs no function; the rest it
//! hands to a [`Handler`], which knows nothing of connections, while nothing here knows what a
//! function is. `respond` makes the host's own answers, with the status that their outcome has.

mod body;
mod bucket;
mod connection;
mod cors;
mod crowd;
mod dispatch;
mod drain;
mod exchange;
mod forwarded;
mod frames;
mod gateway;
mod heap;
mod options;
mod patience;
mod request_id;
mod respond;
pub mod route;
mod serve;
mod streams;
mod taken_back;
mod target;
#[cfg(test)]
mod tests;
mod trace;
mod transport;
mod unbound;

pub use self::{
    body::{Buffered, RequestBody},
    cors::Cors,
    drain::Drained,
    exchange::{Answered, Endpoint, Exchange, Handler, Routes},
    gateway::Gateway,
    options::Options,
    request_id::{REQUEST_ID_HEADER, RequestId},
    respond::{BadInput, OUTCOME_HEADER, Problem},
    serve::{ListenError, Listener, Server},
    trace::TraceContext,
};
#[doc(hidden)]
pub use self::{
    target::read as read_target,
    unbound::{Held, Unbound},
};

/// The program's own allocator, so that unit tests charge the heap too.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: lacewing_base::heap::ChargingAllocator<std::alloc::System> =
    lacewing_base::heap::ChargingAllocator(std::alloc::System);
