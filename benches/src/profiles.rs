//! The programs of `benches/guests` under each way to interrupt them, and native.

mod bindings {
    #![allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

    pub mod call {
        wasmtime::component::bindgen!({
            path: "../guest-sdk/wit",
            world: "call-function",
            exports: { default: async },
        });
    }
}

use std::path::Path;

use bindings::call::{CallFunction, CallFunctionPre};
use lacewing::engine::{Engines, PoolOptions, Profile, Running};
use lacewing_bench_guests::Program;
use wasmtime::{
    Engine, Error, Result, Store, UpdateDeadline,
    component::{Component, Linker},
};

use crate::raw::{self, State};

/// The instrumentation of a guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instrumented {
    /// Nothing: it cannot be stopped.
    Not,
    /// Epochs: the host's default.
    Epochs,
    /// Epochs, and fuel.
    Fuel,
}

impl Instrumented {
    /// All of them.
    pub const ALL: [Instrumented; 3] =
        [Instrumented::Not, Instrumented::Epochs, Instrumented::Fuel];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Instrumented::Not => "uninstrumented",
            Instrumented::Epochs => "standard",
            Instrumented::Fuel => "metered",
        }
    }
}

/// The guest `compute`, instantiated once: its programs are called again and again.
pub struct Compute {
    store: Store<State>,
    function: CallFunction,
    // The epoch ticks every millisecond while this is held, as it does while the host runs guests.
    _running: Running,
}

impl Compute {
    /// Compiles and instantiates. The engines are the host's own, but for the one without
    /// instrumentation.
    ///
    /// # Errors
    /// Wasmtime refuses.
    pub async fn new(component: &Path, how: Instrumented) -> Result<Compute> {
        let options = PoolOptions { sandboxes: 8, ..PoolOptions::default() };
        let engines = Engines::new(options).map_err(Error::from)?;
        let engine = match how {
            Instrumented::Not => Engine::new(&raw::config())?,
            Instrumented::Epochs | Instrumented::Fuel => {
                let metered = how == Instrumented::Fuel;
                engines.get(Profile { metered, ..Profile::default() }).map_err(Error::from)?.clone()
            }
        };
        let component = Component::from_file(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        let pre = CallFunctionPre::new(linker.instantiate_pre(&component)?)?;
        let mut store = Store::new(&engine, State::default());
        if how != Instrumented::Not {
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(|_| {
                Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
            });
        }
        if how == Instrumented::Fuel {
            store.set_fuel(u64::MAX)?;
        }
        let function = pre.instantiate_async(&mut store).await?;
        Ok(Compute { store, function, _running: engines.running() })
    }

    /// Runs a program; what it returns is what it returns natively.
    ///
    /// # Errors
    /// The guest trapped, or does not know the program.
    pub async fn run(&mut self, program: Program, rounds: u32) -> Result<u64> {
        let input = format!(r#"{{"program":"{}","rounds":{rounds}}}"#, program.name()).into_bytes();
        let call = self.function.lacewing_function_call();
        let output = call.call_call(&mut self.store, &input).await?;
        let output = output.map_err(|error| Error::msg(error.message))?;
        String::from_utf8_lossy(&output).parse().map_err(Error::from)
    }
}
