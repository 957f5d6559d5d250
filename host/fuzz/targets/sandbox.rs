//! Generated modules, as functions of a host, through the whole sandbox under tiny limits: whatever
//! they do, they end, with an outcome that is not the host's fault, and the pool has back what it
//! gave.

use std::{
    sync::{Arc, LazyLock, OnceLock},
    time::{Duration, Instant},
};

use arbitrary::Unstructured;
use lacewing::{
    capability::{
        CapabilitySettings,
        egress::{Egress, EgressOptions, Policy, Propagation},
    },
    config::{Compilation, CompilerProgram},
    engine::{Compiler, Engines, Lane, Loader, PoolOptions},
    fuzzing,
    sandbox::{LeanRequest, Linkers, Program, Sandbox, Spec},
    telemetry::{Context, GuestLog, InvocationId, Origin, Sink},
};
use lacewing_base::{Grants, Limits, TenantAccount, fair::Weight, outcome::Outcome};
use wasm_encoder::{Component, ComponentSectionId, RawSection};
use wasmparser::{Parser, Payload};

/// The longest that anything may take, by far.
const PATIENCE: Duration = Duration::from_secs(5);

struct Host {
    engines: Arc<Engines>,
    lane: Arc<Lane>,
    loader: Loader,
    linkers: Linkers,
    egress: Arc<Egress>,
    runtime: tokio::runtime::Runtime,
}

static HOST: LazyLock<Host> = LazyLock::new(|| {
    let pool = PoolOptions { sandboxes: 8, memory_bytes: 16 << 20, ..PoolOptions::default() };
    let engines = Engines::new(pool).expect("the engines start");
    let compilation = Compilation { program: CompilerProgram::InProcess, ..Compilation::default() };
    Host {
        loader: Loader::new(engines.clone(), None, 1 << 20, Compiler::new(compilation)),
        lane: engines.lane(&Weight::new(1)),
        engines,
        linkers: Linkers::default(),
        egress: Arc::new(Egress::new(EgressOptions::default()).expect("a way out")),
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("the runtime starts"),
    }
});

pub(crate) fn run(data: &[u8]) {
    let Some(component) = component(data) else { return };
    fuzzing::names_wasi_03(&component);
    let host = &*HOST;
    // A component that the compiler refuses is refused at deploy.
    let Ok(loaded) = host.loader.compile(&component) else { return };
    let Ok(program) = host.linkers.link(&loaded) else { return };
    let limits = limits();
    if program.check_limits(&limits).is_err() {
        return;
    }
    let program = Arc::new(program);
    for _ in 0..2 {
        let start = Instant::now();
        let outcome = host.runtime.block_on(invoke(host, &program, &limits));
        assert_ne!(outcome, Outcome::Internal);
        assert!(start.elapsed() < PATIENCE, "{outcome} after {:?}", start.elapsed());
        assert!(host.engines.usage().is_idle(), "{:?}", host.engines.usage());
    }
}

fn limits() -> Limits {
    Limits {
        memory_bytes: 4 << 20,
        cpu: Duration::from_millis(5),
        deadline: Duration::from_millis(50),
        table_elements: 10_000,
        log_bytes: 1024,
        handles: 16,
        ..Limits::default()
    }
}

async fn invoke(host: &Host, program: &Arc<Program>, limits: &Limits) -> Outcome {
    let spec = Arc::new(Spec {
        limits: limits.clone(),
        settings: CapabilitySettings {
            env: Vec::new(),
            egress: host.egress.clone(),
            policy: Policy::new(&Grants::default()),
            state: None,
            secrets: None,
            sql: None,
        },
    });
    let app = "fuzz".parse().expect("a name");
    let function = "fuzz".parse().expect("a name");
    let context = Arc::new(Context::new(Arc::new(Origin::new(TenantAccount::alone("fuzz"), app, function, "1".into())), InvocationId(1)));
    let log = Arc::new(GuestLog::new(context, limits.log_bytes, Sink::nothing()));
    let deadline = Instant::now() + limits.deadline;
    let sandbox =
        Sandbox::new(&host.engines, program, &spec, log, Propagation::default(), deadline)
            .and_then(|sandbox| sandbox.claim(&host.lane));
    let mut sandbox = match sandbox {
        Ok(sandbox) => sandbox,
        Err(fault) => return fault.outcome,
    };
    let request = LeanRequest {
        method: "GET",
        scheme: "http",
        authority: "fuzz.test",
        path_with_query: "/a/path?with=query",
        route: "/{*path}",
        params: &[],
        headers: &[],
        body: b"a body",
    };
    let response = sandbox.http(request).await;
    assert!(sandbox.usage().memory_peak_bytes <= limits.memory_bytes);
    match response {
        Ok(lean) => match fuzzing::response(lean, limits, 1 << 20, &http::Method::GET) {
            Ok(_) => Outcome::Ok,
            Err(_) => Outcome::BadResponse,
        },
        Err(fault) => fault.outcome,
    }
}

/// A component around a generated module.
fn component(data: &[u8]) -> Option<Vec<u8>> {
    static WRAPPER: OnceLock<Vec<u8>> = OnceLock::new();
    static SHAPE: OnceLock<Vec<u8>> = OnceLock::new();
    let shape = SHAPE.get_or_init(|| wat::parse_str(include_str!("shape.wat")).expect("a module"));
    let config = wasm_smith::Config {
        module_shape: Some(shape.clone()),
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        threads_enabled: false,
        max_memories: 3,
        max_memory32_bytes: 16 << 20,
        max_tables: 4,
        max_table_elements: 20_000,
        max_instructions: 200,
        allow_start_export: true,
        ..wasm_smith::Config::default()
    };
    let mut bytes = Unstructured::new(data);
    let module = wasm_smith::Module::new(config, &mut bytes).ok()?.to_bytes();
    let wrapper =
        WRAPPER.get_or_init(|| wat::parse_str(include_str!("lean.wat")).expect("a component"));
    Some(replaced(wrapper, &module))
}

/// The component with this module in the place of its own.
fn replaced(wrapper: &[u8], module: &[u8]) -> Vec<u8> {
    let mut component = Component::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wrapper) {
        let payload = payload.expect("the wrapper is valid");
        match &payload {
            Payload::ModuleSection { .. } if depth == 0 => {
                component.section(&RawSection {
                    id: ComponentSectionId::CoreModule.into(),
                    data: module,
                });
                depth += 1;
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                if depth == 0
                    && let Some((id, range)) = payload.as_section()
                {
                    component.section(&RawSection { id, data: &wrapper[range] });
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ if depth == 0 => {
                if let Some((id, range)) = payload.as_section() {
                    component.section(&RawSection { id, data: &wrapper[range] });
                }
            }
            _ => {}
        }
    }
    component.finish()
}
