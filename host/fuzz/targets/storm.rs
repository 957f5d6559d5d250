//! Storms of host calls: a component that calls the host as the input says, through the whole
//! sandbox under tiny limits.
//!
//! Input: a byte of flags, then instructions of four bytes for `storm.wat`.
//!
//! - The invocation ends within its CPU budget, with an outcome that is not the host's fault.
//! - The heap that the host has for the guest stays within the guest's limit, but for the bytes of
//!   one call. The linear memory has the same limit of its own.
//! - Nothing is charged to the tenant afterwards, and the pool is idle.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use lacewing::{
    capability::{
        CapabilitySettings,
        egress::{Egress, EgressOptions, Policy, Propagation},
    },
    config::{Compilation, CompilerProgram},
    engine::{Compiler, Engines, Lane, Loader, PoolOptions},
    heap,
    sandbox::{LeanRequest, Linkers, Program, Sandbox, Spec},
    telemetry::{Context, GuestLog, InvocationId, Origin, Sink},
};
use lacewing_base::{Grants, Limits, TenantAccount, fair::Weight, outcome::Outcome};

/// Bytes of linear memory, and of the heap, that the guest may have.
const MEMORY_BYTES: u64 = 4 << 20;
/// Bytes that a guest may hand over in one call under [`limits`]: see `hostcall_bytes` in the
/// host's `sandbox/state.rs`.
const CALL_BYTES: u64 = (1 << 20) + (96 << 10) + (8 << 10);
/// The memory that one call may make of them: copies that are checked and converted, before the
/// next call counts them.
const CALL_COPIES: u64 = 2;

/// Bytes of the heap at once, for one input. A table of many handles may double in one call, from
/// all that the guest may have.
pub(crate) fn heap_bytes(data: &[u8]) -> u64 {
    let table_bytes = if has_many_handles(data) { MEMORY_BYTES } else { 0 };
    MEMORY_BYTES + CALL_COPIES * CALL_BYTES + table_bytes
}

fn has_many_handles(data: &[u8]) -> bool {
    data.first().is_some_and(|flags| flags & 1 == 1)
}

/// CPU time that the guest may take, and the most that it may be charged: a call of the host is not
/// interrupted.
const CPU: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

struct Host {
    engines: Arc<Engines>,
    program: Arc<Program>,
    egress: Arc<Egress>,
    runtime: tokio::runtime::Runtime,
}

static HOST: LazyLock<Host> = LazyLock::new(|| {
    let pool = PoolOptions { sandboxes: 8, memory_bytes: 16 << 20, ..PoolOptions::default() };
    let engines = Engines::new(pool).expect("the engines start");
    let compilation = Compilation { program: CompilerProgram::InProcess, ..Compilation::default() };
    let loader = Loader::new(engines.clone(), None, 1 << 20, Compiler::new(compilation));
    let component = wat::parse_str(include_str!("storm.wat")).expect("a component");
    let loaded = loader.compile(&component).unwrap_or_else(|error| panic!("{error}"));
    let program = Linkers::default().link(&loaded).unwrap_or_else(|error| panic!("{error}"));
    program.check_limits(&limits(false)).unwrap_or_else(|error| panic!("{error}"));
    Host {
        engines,
        program: Arc::new(program),
        egress: Arc::new(Egress::new(EgressOptions::default()).expect("a way out")),
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("the runtime starts"),
    }
});

fn limits(has_many_handles: bool) -> Limits {
    Limits {
        memory_bytes: MEMORY_BYTES,
        cpu: CPU.0,
        deadline: Duration::from_millis(200),
        log_bytes: 1024,
        header_bytes: 8 << 10,
        response_body_bytes: Some(64 << 10),
        random_bytes: 64 << 10,
        handles: if has_many_handles { 100_000 } else { 64 },
        ..Limits::default()
    }
}

pub(crate) fn run(data: &[u8]) {
    // Memory that is allocated once, and for good, is no invocation's. A limit of time may end each
    // time elsewhere, so several times tell.
    let left: Vec<u64> = (0..4).map(|_| attack(data)).take_while(|left| *left > 0).collect();
    assert!(left.len() < 4, "{left:?} bytes are charged to the tenant afterwards");
}

/// Runs an input, and returns the bytes that its tenant is charged for afterwards.
fn attack(data: &[u8]) -> u64 {
    let Some((_, script)) = data.split_first() else { return 0 };
    assert!(heap::is_charged(), "the allocator charges nothing to accounts");
    let host = &*HOST;
    let lane = host.engines.lane(&Weight::new(1));
    let limits = limits(has_many_handles(data));
    // The script has this much room in the guest.
    let script = &script[..script.len().min(0x4000)];
    let outcome = host.runtime.block_on(invoke(host, &lane, &limits, script, heap_bytes(data)));
    assert!(!matches!(outcome, Outcome::Internal | Outcome::BadResponse), "{outcome}");
    assert!(host.engines.usage().is_idle(), "{:?}", host.engines.usage());
    heap::settle(usize::MAX);
    assert_eq!(host.runtime.metrics().num_alive_tasks(), 0, "tasks");
    lane.memory().used()
}

async fn invoke(
    host: &Host,
    lane: &Arc<Lane>,
    limits: &Limits,
    script: &[u8],
    heap_bytes: u64,
) -> Outcome {
    let spec = Arc::new(Spec {
        limits: limits.clone(),
        settings: CapabilitySettings {
            env: vec![("NAME".to_owned(), "a value".to_owned())],
            egress: host.egress.clone(),
            policy: Policy::new(&Grants::default()),
            state: None,
            secrets: None,
            sql: None,
        },
    });
    let (app, function) = ("fuzz".parse().expect("a name"), "fuzz".parse().expect("a name"));
    let origin = Origin::new(TenantAccount::alone("fuzz"), app, function, "1".into());
    let context = Arc::new(Context::new(Arc::new(origin), InvocationId(1)));
    let log = Arc::new(GuestLog::new(context, limits.log_bytes, Sink::nothing()));
    let deadline = Instant::now() + limits.deadline;
    let sandbox =
        Sandbox::new(&host.engines, &host.program, &spec, log, Propagation::default(), deadline)
            .and_then(|sandbox| sandbox.claim(lane));
    let mut sandbox = sandbox.unwrap_or_else(|fault| panic!("{}", fault.outcome));
    sandbox.charge_to(lane.clone(), None);
    let request = LeanRequest {
        method: "GET",
        scheme: "http",
        authority: "fuzz.test",
        path_with_query: "/",
        route: "/",
        params: &[],
        headers: &[],
        body: script,
    };
    let response = sandbox.http(request).await;
    let usage = sandbox.usage();
    let peak = usage.memory_peak_bytes;
    assert!(peak <= MEMORY_BYTES + heap_bytes, "{peak} bytes at once");
    assert!(usage.cpu <= CPU.1, "{:?} of CPU time", usage.cpu);
    match response {
        Ok(_) => Outcome::Ok,
        Err(fault) => fault.outcome,
    }
}
