//! The parts of a function's memory that make its sandboxes slow.

use lacewing_manifest::Diagnostic;
use lacewing_runtime::function::Revision;
use lacewing_sandbox::engine::{MemoryLayout, PoolOptions, memory_layouts};

use super::{Deployed, host::MAX_COMPONENT_BYTES};

/// The memories of a revision's component, as its file has them. Blocks.
pub fn layouts(revision: &Revision) -> Vec<MemoryLayout> {
    // A user that changes the file now has it looked at when it is deployed again.
    let bytes = revision.component.file.open().and_then(|file| file.read(MAX_COMPONENT_BYTES));
    bytes.map_or_else(|_| Vec::new(), |bytes| memory_layouts(&bytes))
}

/// A warning for each function whose memory is laid out so that every sandbox pays for it. Blocks.
pub fn review_layouts(deployed: &Deployed) -> Vec<Diagnostic> {
    let resident_bytes = PoolOptions::default().keep_resident_bytes;
    let slow = |revision: &Revision| {
        let slow = layouts(revision).iter().find_map(|memory| memory.slow(resident_bytes))?;
        let function = &revision.origin.function;
        Some(
            Diagnostic::warning(format!("`{function}` starts slowly: {}", slow.why))
                .help(slow.help),
        )
    };
    deployed.revisions.iter().filter_map(|revision| slow(revision)).collect()
}
