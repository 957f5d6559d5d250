//! The one place where a trap, or any other error out of Wasmtime, is classified.

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::{
    budget::Stop,
    limiter::Refusal,
    state::{State, hostcall_bytes},
};
use crate::{manifest::Limits, outcome::Outcome};

/// Why an invocation did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The classification.
    pub outcome: Outcome,
    /// For the operator's and the author's log; never for the client.
    pub detail: String,
}

impl Fault {
    pub(super) fn new(outcome: Outcome, detail: impl Into<String>) -> Fault {
        Fault { outcome, detail: detail.into() }
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Fault {
        let outcome = match stop {
            Stop::Cpu => Outcome::CpuExceeded,
            Stop::Deadline => Outcome::DeadlineExceeded,
        };
        Fault::new(outcome, stop.to_string())
    }
}

/// The longest detail, in bytes: a backtrace of a deep recursion is long.
const DETAIL_BYTES: usize = 4096;

pub(super) fn classify(error: &wasmtime::Error, state: &State) -> Fault {
    classify_under(error, &state.spec.limits, state.limiter.refused())
}

/// The same for a store of another kind: its limits, and what its limiter has refused.
pub(super) fn classify_under(
    error: &wasmtime::Error,
    limits: &Limits,
    refused: Option<Refusal>,
) -> Fault {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return Fault::from(*stop);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::new(Outcome::LoadShed, "the pool of sandboxes is used up");
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return Fault::new(
            Outcome::Trap,
            format!("the guest called exit with the code {}", exit.0),
        );
    }
    if error.root_cause().to_string().contains(HOSTCALL_FUEL) {
        return too_much(error, limits);
    }
    if let Some(fault) = too_many(error, limits) {
        return fault;
    }
    let trap = error.downcast_ref::<Trap>();
    match trap {
        Some(Trap::OutOfFuel) => return Fault::new(Outcome::FuelExhausted, "the fuel is spent"),
        Some(Trap::Interrupt) => return Fault::from(Stop::Deadline),
        _ => {}
    }
    // An allocator that was refused memory aborts, and an abort is `unreachable`; without a trap, and without a frame of the
    // guest's, it was an instantiation that could not get its first memory.
    let by_refusal = match trap {
        Some(trap) => *trap == Trap::UnreachableCodeReached,
        None => !error.is::<WasmBacktrace>(),
    };
    if let Some(refusal) = refused
        && by_refusal
    {
        return Fault::new(Outcome::MemoryExceeded, refusal.to_string());
    }
    Fault::new(Outcome::Trap, describe(error, trap))
}

/// Wasmtime's error has no type that others can name.
const HOSTCALL_FUEL: &str = "fuel allocated for hostcalls has been exhausted";

/// More was handed over at once than a call may: as arguments of a hostcall, with the guest's frames below it, or as
/// what the guest returned.
fn too_much(error: &wasmtime::Error, limits: &Limits) -> Fault {
    let kib = hostcall_bytes(limits) >> 10;
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

/// More core instances, or tables, of which each may have one, than the sandbox may have: known when it is instantiated.
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
            text.push_str(&demangle(name));
        }
    }
    text
}

fn demangle(name: &str) -> String {
    rustc_demangle::try_demangle(name)
        .map_or_else(|_| name.to_owned(), |demangled| format!("{demangled:#}"))
}
