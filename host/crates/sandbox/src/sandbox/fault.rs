//! The one place where a trap, or any other error out of Wasmtime, is classified.
//!
//! The errors of a call, and the party at fault:
//!
//! | error | outcome |
//! |---|---|
//! | [`StopReason`], fuel, the pool, more instances or tables than allowed, a result that is too large | the limit's own |
//! | a refused growth, and then an abort or an exit that says failure | `memory_exceeded`, see [`gave_up`] |
//! | memory or address space that the system refused, resident memory over the host's limit | `load_shed` |
//! | any other [`Trap`], an exit, an uncaught exception | `trap` |
//! | [`WasmtimeBug`], what else the system said ([`std::io::Error`], [`Errno`]), a task of the host's that panicked, an import that is not linked | `internal` |
//! | everything else | `trap` |
//!
//! Everything else is text without a type: Wasmtime's canonical ABI (a pointer out of bounds, a
//! handle that is none), its resource tables, wasmtime-wasi's refusal of a call that breaks its
//! interface's rules (a write of more than was permitted, an empty list to poll). All of it is what
//! a guest did. The host's own mistakes have types, which is how they are told apart.

use std::io;

use lacewing_base::{Limits, outcome::Outcome};
use lacewing_telemetry::shortened;
use rustix::io::Errno;
use tokio::task::JoinError;
use wasmtime::{
    PoolConcurrencyLimitError, Trap, UnknownImportError, WasmBacktrace, WasmtimeBug,
    component::ResourceTableError, error::OutOfMemory,
};
use wasmtime_wasi::I32Exit;

use super::{budget::StopReason, limiter::GrowthRefusal, state::State};

/// Why an invocation did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The classification.
    pub outcome: Outcome,
    /// For the operator's and the author's log; never for the client. At most [`DETAIL_BYTES`].
    pub detail: String,
    /// Whether a store had no room, which `store_unavailable` alone does not say.
    pub store_is_full: bool,
}

impl Fault {
    /// A fault whose detail is cut to [`DETAIL_BYTES`].
    pub fn new(outcome: Outcome, detail: impl Into<String>) -> Fault {
        let detail = shortened(detail.into(), DETAIL_BYTES);
        Fault { outcome, detail, store_is_full: false }
    }

    /// The fault of an invocation whose effects found no room.
    pub fn store_full(detail: impl Into<String>) -> Fault {
        Fault { store_is_full: true, ..Fault::new(Outcome::StoreUnavailable, detail) }
    }
}

impl From<StopReason> for Fault {
    fn from(stop: StopReason) -> Fault {
        let outcome = match stop {
            StopReason::Cpu | StopReason::Step => Outcome::CpuExceeded,
            StopReason::Deadline => Outcome::DeadlineExceeded,
            StopReason::Held => Outcome::MemoryExceeded,
            StopReason::CalledIn => Outcome::LoadShed,
        };
        Fault::new(outcome, stop.to_string())
    }
}

/// The longest detail, in bytes: a backtrace of a deep recursion is long, and names are as long as
/// a guest makes them.
pub const DETAIL_BYTES: usize = 4096;

/// The most of one frame's name, in bytes.
const FRAME_BYTES: usize = 256;

pub(super) fn classify(error: &wasmtime::Error, state: &State) -> Fault {
    // A guest that is to be stopped loses its handles, and may end over that first.
    if let Some(stop) = state.stopped() {
        return stopped(stop, state.limiter.refused());
    }
    classify_under(error, &state.spec.limits, state.hostcall_bytes, state.limiter.refused())
}

/// The same for a store of another kind: its limits, what a call may hand over, and what its
/// limiter has refused.
pub(super) fn classify_under(
    error: &wasmtime::Error,
    limits: &Limits,
    hostcall_bytes: usize,
    refused: Option<GrowthRefusal>,
) -> Fault {
    if let Some(stop) = error.downcast_ref::<StopReason>() {
        return stopped(*stop, refused);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::new(Outcome::LoadShed, "the pool of sandboxes is used up");
    }
    if let Some(refusal) = gave_up(error, refused) {
        return of(refusal);
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Fault::new(
            Outcome::Trap,
            format!("the guest called exit with the code {}", exit.0),
        );
    }
    if error.root_cause().to_string().contains(HOSTCALL_FUEL) {
        return too_much(error, hostcall_bytes);
    }
    if let Some(fault) = too_many(error, limits) {
        return fault;
    }
    let trap = error.downcast_ref::<Trap>();
    match trap {
        Some(Trap::OutOfFuel) => return Fault::new(Outcome::FuelExhausted, "the fuel is spent"),
        Some(Trap::Interrupt) => return Fault::from(StopReason::Deadline),
        _ => {}
    }
    if trap.is_none() && is_out_of_memory(error) {
        let detail = format!("the host gets no more memory from the system: {error:#}");
        return Fault::new(Outcome::LoadShed, detail);
    }
    if let Some(fault) = too_many_handles(error, limits) {
        return fault;
    }
    let outcome = if trap.is_none() && is_ours(error) { Outcome::Internal } else { Outcome::Trap };
    Fault::new(outcome, describe(error, trap))
}

/// A limit of time, or what the limiter has refused.
pub(super) fn stopped(stop: StopReason, refused: Option<GrowthRefusal>) -> Fault {
    match (stop, refused) {
        (StopReason::Held, Some(refusal)) => of(refusal),
        _ => Fault::from(stop),
    }
}

fn of(refusal: GrowthRefusal) -> Fault {
    let outcome = match refusal {
        GrowthRefusal::Host { .. } => Outcome::LoadShed,
        GrowthRefusal::Memory { .. } | GrowthRefusal::Held { .. } | GrowthRefusal::Table { .. } => {
            Outcome::MemoryExceeded
        }
    };
    Fault::new(outcome, refusal.to_string())
}

/// Whether the guest ended itself, and said that all is well.
pub(super) fn is_clean_exit(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0)
}

/// The refused growth that the guest gave up over.
///
/// A guest says nothing of why it ends, so this is evidence: a growth was refused; since then none
/// succeeded, and the guest neither asked for another server nor set to its response (an allocator
/// that gives up prints at most); it ended as one does that gives up, by `unreachable` or by an
/// exit that says failure; and its innermost frames, where they have names, are not a panic's that
/// has nothing to do with allocating. A guest that lives with a refusal, does none of these, and
/// aborts later over something else without a name is still taken for one that ran out of memory.
fn gave_up(error: &wasmtime::Error, refused: Option<GrowthRefusal>) -> Option<GrowthRefusal> {
    let refusal = refused?;
    let gave_up = match (error.downcast_ref::<Trap>(), error.downcast_ref::<I32Exit>()) {
        (Some(trap), _) => *trap == Trap::UnreachableCodeReached && !panicked(error),
        (None, Some(exit)) => exit.0 != 0,
        // An instantiation that could not get its first memory, and so has no frame of the guest's.
        (None, None) => !error.is::<WasmBacktrace>() && !is_ours(error),
    };
    gave_up.then_some(refusal)
}

/// Whether the guest's innermost frames are those of a panic, and none is of an allocation that
/// failed.
fn panicked(error: &wasmtime::Error) -> bool {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return false };
    let names = || backtrace.frames().iter().take(24).filter_map(|frame| frame.func_name());
    let has = |parts: &[&str]| names().any(|name| parts.iter().any(|part| name.contains(part)));
    has(&["rust_panic", "panicking"]) && !has(&["alloc_error", "rust_oom", "handle_error"])
}

/// Whether the system refused memory, or address space for it: the host is full, whatever part of
/// it asked.
pub(super) fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    let refused = |cause: &(dyn std::error::Error + 'static)| {
        let errno = cause.downcast_ref::<Errno>().copied();
        let io = cause.downcast_ref::<io::Error>().and_then(Errno::from_io_error);
        errno.or(io) == Some(Errno::NOMEM)
    };
    error.is::<OutOfMemory>() || error.chain().any(refused)
}

/// Whether this is a mistake of the host's, or of what it stands on.
fn is_ours(error: &wasmtime::Error) -> bool {
    let system = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<io::Error>() || cause.is::<Errno>() || cause.is::<JoinError>()
    };
    error.is::<WasmtimeBug>()
        || error.is::<UnknownImportError>()
        || is_out_of_memory(error)
        || error.chain().any(system)
}

/// Wasmtime's error has no type that others can name.
const HOSTCALL_FUEL: &str = "fuel allocated for hostcalls has been exhausted";

/// More was handed over at once than a call may: as arguments of a hostcall, with the guest's
/// frames below it, or as what the guest returned.
fn too_much(error: &wasmtime::Error, hostcall_bytes: usize) -> Fault {
    let kib = hostcall_bytes >> 10;
    match error.downcast_ref::<WasmBacktrace>() {
        Some(_) => {
            let text = format!("more than {kib} KiB were handed over in one hostcall");
            Fault::new(Outcome::Trap, backtrace(text, error))
        }
        None => Fault::new(
            Outcome::BadResponse,
            format!(
                "the guest returned more than {kib} KiB, and its response may have less (`response_body_kib`, `header_kib`)"
            ),
        ),
    }
}

/// More core instances, or tables, of which each may have one, than the sandbox may have: known
/// when it is instantiated.
fn too_many(error: &wasmtime::Error, limits: &Limits) -> Option<Fault> {
    let text = error.root_cause().to_string();
    let what = match text.strip_prefix("resource limit exceeded: ")?.split(' ').next()? {
        "instance" => "core instances",
        "table" => "tables",
        _ => return None,
    };
    let limit = limits.instances;
    let detail =
        format!("more than {limit} {what} are needed, and {limit} is the limit (`instances`)");
    Some(Fault::new(Outcome::MemoryExceeded, detail))
}

/// More handles than the sandbox may hold: in the table of the host's resources, or in that of the
/// guest's handles.
fn too_many_handles(error: &wasmtime::Error, limits: &Limits) -> Option<Fault> {
    // The error of the second table has no type.
    let is_full = matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || error.root_cause().to_string().ends_with("store handle limit exceeded");
    let limit = limits.handles;
    let text = format!(
        "more than {limit} handles were held at once, and {limit} is the limit (`handles`)"
    );
    is_full.then(|| Fault::new(Outcome::Trap, backtrace(text, error)))
}

fn describe(error: &wasmtime::Error, trap: Option<&Trap>) -> String {
    let mut text = match trap {
        Some(trap) => trap.to_string(),
        None => format!("{:#}", error.root_cause()),
    };
    if trap == Some(&Trap::MemoryOutOfBounds) && recurses(error) {
        text.push_str(", at the end of a recursion: the stack in the guest's memory is used up");
    }
    backtrace(text, error)
}

/// Whether one function is in most of the innermost frames.
fn recurses(error: &wasmtime::Error) -> bool {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return false };
    let functions = || backtrace.frames().iter().take(16).map(|frame| frame.func_index());
    functions().any(|function| functions().filter(|other| *other == function).count() >= 5)
}

fn backtrace(mut text: String, error: &wasmtime::Error) -> String {
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        for frame in backtrace.frames() {
            if text.len() > DETAIL_BYTES {
                text.push_str("\n  ...");
                break;
            }
            let name = frame.func_name().unwrap_or("<unnamed>");
            text.push_str("\n  at ");
            text.push_str(&shortened(demangle(name), FRAME_BYTES));
        }
    }
    text
}

fn demangle(name: &str) -> String {
    rustc_demangle::try_demangle(name)
        .map_or_else(|_| name.to_owned(), |demangled| format!("{demangled:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(error: wasmtime::Error) -> (Outcome, String) {
        let Fault { outcome, detail, .. } = classify_under(&error, &Limits::default(), 0, None);
        (outcome, detail)
    }

    #[test]
    fn memory_that_the_system_refuses_is_the_hosts_want_of_it() {
        let mmap = wasmtime::Error::from(Errno::NOMEM).context("mmap failed to reserve 0x1 bytes");
        let (outcome, detail) = classified(mmap);
        assert_eq!(outcome, Outcome::LoadShed);
        assert_eq!(
            detail,
            "the host gets no more memory from the system: mmap failed to reserve 0x1 bytes: Cannot allocate memory (os error 12)"
        );
        let stack = io::Error::from_raw_os_error(Errno::NOMEM.raw_os_error());
        assert_eq!(classified(stack.into()).0, Outcome::LoadShed);
    }

    #[test]
    fn other_errors_of_the_system_are_the_hosts_fault() {
        assert_eq!(classified(Errno::INVAL.into()).0, Outcome::Internal);
        assert_eq!(classified(io::Error::other("no").into()).0, Outcome::Internal);
        assert_eq!(classified(Trap::UnreachableCodeReached.into()).0, Outcome::Trap);
        assert_eq!(classified(wasmtime::Error::msg("a handle that is none")).0, Outcome::Trap);
    }
}
