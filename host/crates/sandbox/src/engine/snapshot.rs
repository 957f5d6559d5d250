//! Snapshots: a component as its init left it.
//!
//! ```text
//!   component --Instrumented::new--> the same with its state exported --compile, call init--> instance
//!       |                                                                                       |
//!       +------------------------- Instrumented::take <------ memories and globals read --------+
//!                                          |
//!                                          v
//!              component whose initial memory and globals are those: compiled and cached as any other
//! ```
//!
//! The initial memory becomes an image in the artifact, of which each sandbox maps a copy-on-write
//! copy: a page costs nothing until it is touched. State of Wasm that an image cannot hold, tables
//! that were written and references, is refused.

use lacewing_telemetry::shortened;
use wasmparser::{
    ComponentExternalKind, ComponentType, ExternalKind, Parser, Payload, SectionLimited, TypeRef,
};
use wasmtime_wizer::{ComponentContext, Wizer};

pub(crate) use wasmtime_wizer::ComponentInstanceState as ReadState;

use super::inspect::split_version;

/// Why no snapshot can be taken of a component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A feature whose state is not in memories and globals.
    #[error("it has an init, and the memory that the init leaves cannot be saved: {0}")]
    Unsupported(String),
}

/// The most that is shown of what a library says, in bytes: it may quote names of any length.
const SHOWN_BYTES: usize = 1024;

fn unsupported(what: impl Into<String>) -> SnapshotError {
    SnapshotError::Unsupported(shortened(what.into(), SHOWN_BYTES))
}

/// Whether a component asks for a snapshot: exports `lacewing:function/init`. Bytes that are no
/// component do not.
pub fn has_init(bytes: &[u8]) -> bool {
    let mut found = false;
    let walk = outline(bytes, |payload| {
        if let Payload::ComponentExportSection(exports) = payload {
            for export in exports.clone() {
                let export = export?;
                found |= export.kind == ComponentExternalKind::Instance
                    && split_version(export.name.name).0 == "lacewing:function/init";
            }
        }
        Ok(())
    });
    walk.is_ok() && found
}

/// Shows the sections of the component itself; what is nested is stepped over, and shown as one.
fn outline<'a>(
    bytes: &'a [u8],
    mut section: impl FnMut(&Payload<'a>) -> wasmparser::Result<()>,
) -> wasmparser::Result<()> {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                if depth == 0 {
                    section(&payload)?;
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ if depth == 0 => section(&payload)?,
            _ => {}
        }
    }
    Ok(())
}

/// A component whose state can be read once its init has run.
pub struct Instrumented<'a> {
    wizer: Wizer,
    context: ComponentContext<'a>,
    wasm: Vec<u8>,
}

impl<'a> Instrumented<'a> {
    /// Looks whether all state of the component can be captured, and adds exports for it.
    pub fn new(bytes: &'a [u8]) -> Result<Instrumented<'a>, SnapshotError> {
        check(bytes)?;
        let mut wizer = Wizer::new();
        // A name that no export has: the export stays, because removing it would be a change of the
        // component's type.
        wizer.init_func("").keep_init_func(true);
        let (context, wasm) = wizer
            .instrument_component(bytes)
            .map_err(|error| unsupported(error.root_cause().to_string()))?;
        Ok(Instrumented { wizer, context, wasm })
    }

    /// The component whose init is to be called.
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// The component whose initial state is what `state` reads. Where that could not read it, the
    /// result means nothing.
    pub(crate) async fn take(&self, state: &mut impl ReadState) -> Result<Vec<u8>, SnapshotError> {
        let taken = self.wizer.snapshot_component(&self.context, state).await;
        taken.map_err(|error| unsupported(error.root_cause().to_string()))
    }
}

/// The parts that the instrumentation does not look for by itself.
fn check(bytes: &[u8]) -> Result<(), SnapshotError> {
    let invalid = |error: wasmparser::BinaryReaderError| unsupported(error.to_string());
    let mut module = SnapshotModule::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        match &payload {
            Payload::ComponentTypeSection(types) => {
                for ty in types.clone() {
                    if let ComponentType::Resource { .. } = ty.map_err(invalid)? {
                        return Err(unsupported("the component defines resources of its own"));
                    }
                }
            }
            Payload::ModuleSection { .. } => module = SnapshotModule::default(),
            _ => module.section(&payload).map_err(invalid)?,
        }
        if let Payload::End(_) = payload
            && let Some(what) = std::mem::take(&mut module).obstacle()
        {
            return Err(unsupported(what));
        }
    }
    Ok(())
}

/// The relevant parts of a core module.
#[derive(Default)]
struct SnapshotModule {
    memories: u32,
    wide: bool,
    shared: bool,
    mutable_globals: bool,
    has_exports: bool,
    reserved: bool,
}

impl SnapshotModule {
    fn section(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    self.memory(memory?);
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    if let TypeRef::Memory(memory) = import?.ty {
                        self.shared |= memory.shared;
                    }
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals.clone() {
                    self.mutable_globals |= global?.ty.mutable;
                }
            }
            Payload::ExportSection(exports) => self.exports(exports.clone())?,
            _ => {}
        }
        Ok(())
    }

    fn memory(&mut self, memory: wasmparser::MemoryType) {
        self.memories += 1;
        self.wide |= memory.memory64;
        self.shared |= memory.shared;
    }

    fn exports(
        &mut self,
        exports: SectionLimited<'_, wasmparser::Export<'_>>,
    ) -> wasmparser::Result<()> {
        self.has_exports = true;
        for export in exports {
            let export = export?;
            self.reserved |=
                export.kind != ExternalKind::Func && export.name.starts_with("__wizer");
        }
        Ok(())
    }

    /// Why its state cannot be read.
    fn obstacle(&self) -> Option<&'static str> {
        if self.wide {
            Some("a memory has 64-bit addresses")
        } else if self.shared {
            Some("a memory is shared")
        } else if self.reserved {
            Some("an export's name begins with `__wizer`")
        } else if !self.has_exports && (self.memories > 0 || self.mutable_globals) {
            Some("a core module keeps a memory or a global to itself and exports nothing")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    fn refusal(fields: &str) -> String {
        let bytes = component(&format!("(component {fields})"));
        match Instrumented::new(&bytes) {
            Ok(_) => panic!("it was instrumented: {fields}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_init_is_seen_in_the_component_itself_only() {
        let init = r#"(instance $i) (export "lacewing:function/init@0.1.0" (instance $i))"#;
        assert!(has_init(&component(&format!("(component {init})"))));
        assert!(has_init(&component(&format!("(component (core module) {init})"))));
        assert!(!has_init(&component(&format!("(component (component {init}))"))));
        assert!(!has_init(&component("(component)")));
        assert!(!has_init(b"no component"));
        assert!(!has_init(&component(&format!("(component {init})"))[..20]));
    }

    #[test]
    fn a_component_that_no_image_can_hold_is_refused_with_the_reason() {
        let head = "it has an init, and the memory that the init leaves cannot be saved: ";
        for (fields, reason) in [
            (r#"(core module (memory (export "m") i64 1))"#, "a memory has 64-bit addresses"),
            (r#"(core module (memory (export "m") 1 1 shared))"#, "a memory is shared"),
            (
                "(core module (memory 1))",
                "a core module keeps a memory or a global to itself and exports nothing",
            ),
            (
                r#"(core module (table $t (export "t") 1 funcref) (func (table.set $t (i32.const 0) (ref.null func))))"#,
                "unsupported `table.set` instruction",
            ),
            ("(component (core module))", "nested components with modules not currently supported"),
            (
                "(core module $m) (core instance (instantiate $m)) (core instance (instantiate $m))",
                "modules may be instantiated at most once",
            ),
            (
                r#"(core module (memory (export "__wizer_memory_0") 1))"#,
                "an export's name begins with `__wizer`",
            ),
            ("(type (resource (rep i32)))", "the component defines resources of its own"),
        ] {
            assert_eq!(refusal(fields), format!("{head}{reason}"));
        }
    }
}
