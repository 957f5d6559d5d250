//! Wasmtime with nothing around it: the least that a fresh sandbox per request can cost on the lean
//! path.
//!
//! The pooling allocator; memories reset by writing zeros, without a system call; a plain
//! synchronous call without a fiber; exports looked up once; no limits, no epochs, no fuel, no
//! metrics, no log. The WASI imports of a guest are there, and are made when the guest first asks
//! for them.

mod bindings {
    #![allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

    pub mod http {
        wasmtime::component::bindgen!({
            path: "../guest-sdk/wit",
            world: "http-function",
            ownership: Borrowing { duplicate_if_necessary: true },
        });
    }
}

use std::path::Path;

use bindings::http::HttpFunctionPre;
pub use bindings::http::exports::lacewing::function::http::{
    FieldParam as Field, Request, Response,
};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Result, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The data of a store.
#[derive(Default)]
pub struct State {
    wasi: Option<Box<WasiCtx>>,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(|| Box::new(WasiCtx::builder().build()));
        WasiCtxView { ctx: wasi, table: &mut self.table }
    }
}

/// A component that is ready to be instantiated.
pub struct Raw {
    engine: Engine,
    pre: HttpFunctionPre<State>,
}

/// Bytes of a slot that are reset by writing zeros: more than the guest's whole initial memory.
pub const KEEP_RESIDENT_BYTES: usize = 2 << 20;

/// The settings that do not differ between raw Wasmtime and the host.
pub fn config() -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .memory_init_cow(true)
        // As in the host's engine for functions without WASI 0.3.
        .wasm_component_model_async(false)
        .concurrency_support(false)
        .generate_address_map(false);
    config
}

impl Raw {
    /// Compiles and links.
    ///
    /// # Errors
    /// Wasmtime refuses.
    pub fn new(component: &Path) -> Result<Raw> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(1000)
            .total_core_instances(4000)
            .total_memories(1000)
            .total_tables(2000)
            .total_stacks(1000)
            .max_memory_size(256 << 20)
            .table_elements(100_000)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(64 << 10)
            .decommit_batch_size(1);
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let component = Component::from_file(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        let pre = HttpFunctionPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Raw { engine, pre })
    }

    /// One request in a sandbox that did not exist before and is gone after.
    ///
    /// # Errors
    /// The guest trapped.
    pub fn call(&self, request: Request<'_>) -> Result<Response> {
        let mut store = Store::new(&self.engine, State::default());
        let instance = self.pre.instantiate(&mut store)?;
        instance.lacewing_function_http().call_handle(&mut store, request)
    }

    /// A sandbox that is not used once only.
    ///
    /// # Errors
    /// Wasmtime refuses.
    pub fn warm(&self) -> Result<Warm> {
        let mut store = Store::new(&self.engine, State::default());
        let instance = self.pre.instantiate(&mut store)?;
        Ok(Warm { store, instance })
    }

    /// Instantiates, and calls nothing.
    ///
    /// # Errors
    /// Wasmtime refuses.
    pub fn instantiate(&self) -> Result<()> {
        let mut store = Store::new(&self.engine, State::default());
        self.pre.instantiate(&mut store).map(drop)
    }
}

/// A sandbox that is used again.
pub struct Warm {
    store: Store<State>,
    instance: bindings::http::HttpFunction,
}

impl Warm {
    /// One more request.
    ///
    /// # Errors
    /// The guest trapped.
    pub fn call(&mut self, request: Request<'_>) -> Result<Response> {
        self.instance.lacewing_function_http().call_handle(&mut self.store, request)
    }
}

/// A request as small as the one that the hello is measured with on a socket.
pub fn hello_request<'a>(headers: &'a [Field<'a>], body: &'a [u8]) -> Request<'a> {
    Request {
        method: "GET",
        scheme: "http",
        authority: "localhost",
        path_with_query: "/",
        route: "/",
        params: &[],
        headers,
        body,
    }
}
