//! A component that is linked and ready to be instantiated.

use std::sync::OnceLock;

use lacewing_base::Limits;
use lacewing_telemetry::shortened;
use wasmtime::{
    Engine,
    component::{InstancePre, Linker},
};
use wasmtime_wasi_http::{p2::bindings::ProxyPre, p3::bindings::ServicePre};

use super::{
    contract::{call::CallFunctionPre, events::EventsFunctionPre, http::HttpFunctionPre},
    state::State,
};
use crate::{
    capability,
    engine::{Exports, Import, Loaded, Names, Profile},
};

/// The pre-instance of one component, with its exports looked up once.
pub struct Program {
    instance: InstancePre<State>,
    exports: Exports,
    artifact_bytes: u64,
    needs: (u32, u32),
    pub(super) http: Option<HttpFunctionPre<State>>,
    pub(super) events: Option<EventsFunctionPre<State>>,
    pub(super) call: Option<CallFunctionPre<State>>,
    pub(super) wasi_02: Option<ProxyPre<State>>,
    pub(super) wasi_03: Option<ServicePre<State>>,
}

/// Why a component cannot be a function of this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// None of the contract's interfaces.
    #[error(
        "the component exports none of the interfaces that make it a function: lacewing:function/http, lacewing:function/events, lacewing:function/call, wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3. With the Rust SDK, `#[lacewing_sdk::http]`, `event` or `call` above a function does that"
    )]
    NoExport,
    /// An export of a release candidate, and none of the contract's interfaces.
    #[error("the component exports {export}, {why}")]
    Candidate {
        /// Interface and version.
        export: String,
        /// The rest of the sentence.
        why: String,
    },
    /// An import that is not there.
    #[error("the component imports {import}, {why}")]
    NoImport {
        /// Interface and version.
        import: String,
        /// The rest of the sentence.
        why: String,
    },
    /// An import or export of another type than the interface of that name has.
    #[error("the component does not fit this host: {0}")]
    Mismatch(String),
    /// More than its limits allow before it even starts.
    #[error("the component needs {needs}, and its limit is {limit} (`{key}`)")]
    OverLimit {
        /// With unit.
        needs: String,
        /// With unit.
        limit: String,
        /// The manifest's key.
        key: &'static str,
    },
}

/// Everything that this host can link a component against: one linker per profile, made when first
/// needed.
#[derive(Default)]
pub struct Linkers {
    linkers: [OnceLock<Linker<State>>; Profile::ALL.len()],
}

impl Linkers {
    /// Looks at a component's imports and exports before it is compiled, which may take a minute.
    /// What passes may still be refused by [`Linkers::link`].
    pub fn look(&self, component: &[u8]) -> Result<(), LinkError> {
        let Some(names) = Names::read(component) else { return Ok(()) };
        check_imports(&names.imports)?;
        if names.contract.any() {
            return Ok(());
        }
        let is_candidate = |export: &&Import| {
            matches!(&*export.interface, "wasi:http/handler" | "wasi:http/incoming-handler")
                && export.version.as_ref().is_some_and(|version| version.contains('-'))
        };
        match names.exports.iter().find(is_candidate) {
            Some(export) => {
                let minor: String = export.version.iter().flat_map(|v| v.chars()).take(3).collect();
                let export = shortened(export.to_string(), SHOWN_BYTES);
                Err(LinkError::Candidate { export, why: capability::candidate(&minor) })
            }
            None => Err(LinkError::NoExport),
        }
    }

    /// Links a component, if it is a function and this host has what it imports.
    pub fn link(&self, loaded: &Loaded) -> Result<Program, LinkError> {
        let exports = loaded.exports();
        if !exports.any() {
            return Err(LinkError::NoExport);
        }
        check_imports(&loaded.imports())?;
        self.relink(loaded, exports)
    }

    /// Links a component that was linked before, whose exports are therefore known.
    pub fn relink(&self, loaded: &Loaded, exports: Exports) -> Result<Program, LinkError> {
        let cell = &self.linkers[loaded.profile.index()];
        let linker = match cell.get() {
            Some(linker) => linker,
            None => {
                let mut linker = Linker::new(loaded.component.engine());
                capability::link(&mut linker, loaded.profile.tasks).map_err(mismatch)?;
                cell.get_or_init(|| linker)
            }
        };
        Program::link(loaded, exports, linker)
    }
}

fn check_imports(imports: &[Import]) -> Result<(), LinkError> {
    for import in imports {
        if let Some(why) = capability::INTERFACES.missing(import) {
            let import = shortened(import.to_string(), SHOWN_BYTES);
            return Err(LinkError::NoImport { import, why });
        }
    }
    Ok(())
}

/// The most that is shown of a name, or of a text that quotes one, in bytes: a component's names
/// may be of any length.
const SHOWN_BYTES: usize = 1024;

fn mismatch(error: wasmtime::Error) -> LinkError {
    LinkError::Mismatch(shortened(format!("{error:#}"), SHOWN_BYTES))
}

impl Program {
    fn link(
        loaded: &Loaded,
        exports: Exports,
        linker: &Linker<State>,
    ) -> Result<Program, LinkError> {
        let instance = linker.instantiate_pre(&loaded.component).map_err(mismatch)?;
        let pre = || instance.clone();
        Ok(Program {
            http: exports
                .http
                .then(|| HttpFunctionPre::new(pre()))
                .transpose()
                .map_err(mismatch)?,
            events: exports
                .events
                .then(|| EventsFunctionPre::new(pre()))
                .transpose()
                .map_err(mismatch)?,
            call: exports
                .call
                .then(|| CallFunctionPre::new(pre()))
                .transpose()
                .map_err(mismatch)?,
            wasi_02: exports
                .wasi_http_02
                .then(|| ProxyPre::new(pre()))
                .transpose()
                .map_err(mismatch)?,
            wasi_03: exports
                .wasi_http_03
                .then(|| ServicePre::new(pre()))
                .transpose()
                .map_err(mismatch)?,
            needs: needs(&loaded.component),
            instance,
            exports,
            artifact_bytes: loaded.artifact_bytes,
        })
    }

    /// The component's exports.
    pub fn exports(&self) -> Exports {
        self.exports
    }

    /// The component's imports.
    pub fn imports(&self) -> Vec<Import> {
        Import::of(self.instance.component())
    }

    /// The artifact's size, in bytes.
    pub fn artifact_bytes(&self) -> u64 {
        self.artifact_bytes
    }

    /// Whether what the component needs before it runs fits its limits.
    pub fn check_limits(&self, limits: &Limits) -> Result<(), LinkError> {
        let Some(needs) = self.instance.component().resources_required() else {
            return Ok(());
        };
        let over =
            |needs: String, limit: String, key| Err(LinkError::OverLimit { needs, limit, key });
        if needs.num_memories > limits.memories {
            return over(
                format!("{} linear memories", needs.num_memories),
                limits.memories.to_string(),
                "memories",
            );
        }
        if let Some(pages) = needs.max_initial_memory_size
            && pages.saturating_mul(PAGE_BYTES) > limits.memory_bytes
        {
            let kib = pages.saturating_mul(PAGE_BYTES) >> 10;
            return over(
                format!("{kib} KiB of initial memory"),
                format!("{} MiB", limits.memory_bytes >> 20),
                "memory_mib",
            );
        }
        if let Some(elements) = needs.max_initial_table_size
            && elements > limits.table_elements
        {
            return over(
                format!("a table of {elements} elements"),
                limits.table_elements.to_string(),
                "table_elements",
            );
        }
        Ok(())
    }

    /// Memories and tables of one sandbox.
    pub(super) fn memories_and_tables(&self) -> (u32, u32) {
        self.needs
    }

    pub(super) fn engine(&self) -> &Engine {
        self.instance.engine()
    }

    pub(super) fn instance(&self) -> &InstancePre<State> {
        &self.instance
    }
}

/// Memories and tables. A component whose memories cannot be told is not for this host: only
/// components that import modules are like that.
fn needs(component: &wasmtime::component::Component) -> (u32, u32) {
    component.resources_required().map_or((0, 0), |needs| (needs.num_memories, needs.num_tables))
}

const PAGE_BYTES: u64 = 64 << 10;
