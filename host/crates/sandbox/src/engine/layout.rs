//! The memory layout of a component, and the parts of it that cost every sandbox.
//!
//! ```text
//!   0          stack pointer                  initial memory        grown
//!   |  stack   |  static data  |  initial heap      |   more heap   |     the stack first, as Rust has it
//!   |  static data  |  stack  |  initial heap       |   more heap   |     data first, as older linkers have it
//! ```
//!
//! A first allocation without an initial heap calls `memory.grow`: a system call as it happens, and
//! another when the slot is reset. The reset covers the whole of the memory: up to a bound by
//! writing it again, beyond it by giving it back to the system, after which the next sandbox pays a
//! page fault for each page that it touches.

use wasmparser::{
    ConstExpr, DataKind, KnownCustom, MemoryType, Name, Operator, Parser, Payload, ValType,
};

/// One memory of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct MemoryLayout {
    /// The part of the memory that a sandbox has from the start, in bytes.
    pub initial_bytes: u64,
    /// How much of that is the stack, if it can be told: what a pointer named `__stack_pointer`
    /// begins with.
    pub stack_bytes: Option<u64>,
    /// How much of it is heap at the most: what is behind the stack and the static data that the
    /// component brings.
    pub initial_heap_bytes: u64,
    /// Whether anything in the component makes it larger.
    pub grows: bool,
}

/// The reason why a memory is slow, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowLayout {
    /// A sentence.
    pub why: String,
    /// The linker's flags.
    pub help: String,
}

const PAGE_BYTES: u64 = 64 << 10;

/// The linker leaves what is left of the last page; from here on it was asked for a heap.
const HEAP_BYTES: u64 = PAGE_BYTES;

/// A stack of up to this size is no concern: the linker's default is a mebibyte.
const STACK_BYTES: u64 = 512 << 10;

/// The memories that the core modules of a component define, in their order. Of bytes that cannot
/// be parsed, those before the error.
pub fn memory_layouts(component: &[u8]) -> Vec<MemoryLayout> {
    let mut modules = vec![LayoutModule::default()];
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                modules.push(LayoutModule::default());
            }
            Payload::End(_) => found.extend(modules.pop().and_then(|module| module.layout())),
            payload => {
                if let Some(module) = modules.last_mut() {
                    // The compiler refuses malformed parts.
                    let _ = module.section(payload);
                }
            }
        }
    }
    found
}

/// Bytes of memory that a sandbox of a component has from the start, over the memories of all its
/// core modules.
pub(super) fn initial_bytes(component: &[u8]) -> u64 {
    let memories = Parser::new(0).parse_all(component).map_while(Result::ok);
    let memories = memories.filter_map(|payload| match payload {
        Payload::MemorySection(memories) => Some(memories.into_iter().flatten()),
        _ => None,
    });
    memories.flatten().filter_map(bytes_of).fold(0, u64::saturating_add)
}

fn bytes_of(memory: MemoryType) -> Option<u64> {
    memory.initial.checked_mul(1 << memory.page_size_log2.unwrap_or(16))
}

/// The parts of a core module from which the layout is read.
#[derive(Default)]
struct LayoutModule {
    memory: Option<MemoryType>,
    imported_globals: u32,
    /// The constants that mutable globals of 32 bits begin with, by the globals' indices.
    pointers: Vec<(u32, u64)>,
    stack_pointer: Option<u32>,
    data: Vec<(u64, u64)>,
    grows: bool,
}

impl LayoutModule {
    fn section(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::MemorySection(memories) => {
                self.memory = memories.into_iter().next().transpose()?;
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let is_global = matches!(import?.ty, wasmparser::TypeRef::Global(_));
                    self.imported_globals += u32::from(is_global);
                }
            }
            Payload::GlobalSection(globals) => {
                for (index, global) in (self.imported_globals..).zip(globals) {
                    let global = global?;
                    if global.ty.mutable && global.ty.content_type == ValType::I32 {
                        self.pointers.extend(constant(&global.init_expr).map(|n| (index, n)));
                    }
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment?;
                    if let DataKind::Active { memory_index: 0, offset_expr } = segment.kind
                        && let Some(start) = constant(&offset_expr)
                    {
                        self.data.push((start, start + segment.data.len() as u64));
                    }
                }
            }
            Payload::CodeSectionEntry(body) if !self.grows => {
                for operator in body.get_operators_reader()? {
                    self.grows |= matches!(operator?, Operator::MemoryGrow { .. });
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.names(names)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn names(&mut self, names: wasmparser::NameSectionReader<'_>) -> wasmparser::Result<()> {
        for name in names {
            if let Name::Global(globals) = name? {
                for global in globals {
                    let global = global?;
                    if global.name == "__stack_pointer" {
                        self.stack_pointer = Some(global.index);
                    }
                }
            }
        }
        Ok(())
    }

    fn layout(&self) -> Option<MemoryLayout> {
        let initial_bytes = bytes_of(self.memory?)?;
        let top = self.stack_top(initial_bytes);
        // Where the stack comes first, all data is above it; otherwise it is all below.
        let below = self.data.iter().filter(|(start, _)| top.is_some_and(|top| *start < top));
        let floor = below.map(|(_, end)| *end).max().unwrap_or(0);
        let end = self.data.iter().map(|(_, end)| *end).max().unwrap_or(0);
        Some(MemoryLayout {
            initial_bytes,
            stack_bytes: top.map(|top| top.saturating_sub(floor)),
            initial_heap_bytes: initial_bytes.saturating_sub(end.max(top.unwrap_or(0))),
            grows: self.grows,
        })
    }

    /// Where the stack begins, which grows downwards: what the pointer of that name begins with.
    /// Without names, linkers put it first.
    fn stack_top(&self, initial_bytes: u64) -> Option<u64> {
        let pointer = match self.stack_pointer {
            Some(index) => self.pointers.iter().find(|(other, _)| *other == index),
            None => self.pointers.first().filter(|(index, _)| *index == 0),
        };
        pointer.map(|(_, top)| *top).filter(|top| *top >= 1024 && *top <= initial_bytes)
    }
}

fn constant(expression: &ConstExpr<'_>) -> Option<u64> {
    match expression.get_operators_reader().read().ok()? {
        Operator::I32Const { value } => Some(u64::from(value.cast_unsigned())),
        Operator::I64Const { value } => Some(value.cast_unsigned()),
        _ => None,
    }
}

impl MemoryLayout {
    /// The memory that makes its sandboxes slower than they could be, where a slot of up to
    /// `resident_bytes` is reset by being written again.
    pub fn slow(&self, resident_bytes: u64) -> Option<SlowLayout> {
        let kib = |bytes: u64| bytes >> 10;
        let large_stack = self.stack_bytes.filter(|stack| *stack > STACK_BYTES);
        let why = if let Some(stack) = large_stack {
            format!(
                "its stack has {} KiB, and is written again after every invocation, as all of its memory{}",
                kib(stack),
                if self.lacks_heap() {
                    "; and its first allocation has to grow the memory"
                } else {
                    ""
                }
            )
        } else if self.lacks_heap() {
            format!(
                "its initial memory of {} KiB has no room for a heap: the first allocation of every invocation grows the memory, which takes two system calls",
                kib(self.initial_bytes)
            )
        } else if self.initial_bytes > resident_bytes {
            let initial = kib(self.initial_bytes);
            return Some(SlowLayout {
                why: format!(
                    "it begins with {initial} KiB of memory. More than {} KiB is given back after every invocation, and the next one pays a page fault for each page that it uses",
                    kib(resident_bytes)
                ),
                help: "link it with less static data and a smaller --initial-memory, or prepare large data in an init (lacewing:function/init)".to_owned(),
            });
        } else {
            return None;
        };
        Some(SlowLayout { why, help: HELP.to_owned() })
    }

    fn lacks_heap(&self) -> bool {
        self.grows && self.initial_heap_bytes < HEAP_BYTES
    }
}

/// The flags of `cli::build::profile`, as other tools take them: its tests compare them.
pub const HELP: &str = "`lacewing build` links with `-zstack-size=131072 --initial-heap=65536`; elsewhere the same is RUSTFLAGS=\"-Clink-arg=-zstack-size=131072 -Clink-arg=--initial-heap=65536\", or for clang `-Wl,-z,stack-size=131072 -Wl,--initial-heap=65536`";

#[cfg(test)]
mod tests {
    use super::*;

    fn layouts(modules: &str) -> Vec<MemoryLayout> {
        memory_layouts(&wat::parse_str(format!("(component {modules})")).unwrap())
    }

    fn one(fields: &str) -> MemoryLayout {
        layouts(&format!("(core module {fields})"))[0]
    }

    const GROW: &str = "(func (drop (memory.grow (i32.const 1))))";

    #[test]
    fn the_stack_is_told_in_either_order() {
        let first = one(&format!(
            r#"(memory 4) (global $__stack_pointer (mut i32) (i32.const 131072))
            (data (i32.const 131072) "static") {GROW}"#
        ));
        assert_eq!(
            first,
            MemoryLayout {
                initial_bytes: 4 << 16,
                stack_bytes: Some(131_072),
                initial_heap_bytes: 131_066,
                grows: true
            }
        );
        assert_eq!(first.slow(1 << 20), None);
        // The linker's defaults.
        let last = one(&format!(
            r#"(memory 17) (global $other (mut i32) (i32.const 7))
            (global $__stack_pointer (mut i32) (i32.const 1064960)) (data (i32.const 1024) "static") {GROW}"#
        ));
        assert_eq!((last.stack_bytes, last.initial_heap_bytes), (Some(1_063_930), 49_152));
        let slow = last.slow(1 << 20).unwrap();
        assert_eq!(
            slow.why,
            "its stack has 1038 KiB, and is written again after every invocation, as all of its memory; and its first allocation has to grow the memory"
        );
        assert_eq!(slow.help, HELP);
    }

    #[test]
    fn a_memory_without_a_heap_is_slow_only_if_it_grows() {
        let memory = "(memory 1) (global (mut i32) (i32.const 32768))";
        let slow = one(&format!("{memory} {GROW}")).slow(1 << 20).unwrap();
        assert_eq!(
            slow.why,
            "its initial memory of 64 KiB has no room for a heap: the first allocation of every invocation grows the memory, which takes two system calls"
        );
        assert_eq!(one(memory).slow(1 << 20), None);
        assert_eq!(one(&format!("(memory 2) {GROW}")).slow(1 << 20), None, "no stack, all heap");
    }

    #[test]
    fn more_than_is_kept_resident_is_slow() {
        let slow = one("(memory 33)").slow(2 << 20).unwrap();
        assert_eq!(
            slow.why,
            "it begins with 2112 KiB of memory. More than 2048 KiB is given back after every invocation, and the next one pays a page fault for each page that it uses"
        );
        assert_eq!(one("(memory 32)").slow(2 << 20), None);
    }

    #[test]
    fn memories_are_those_of_all_modules_at_any_depth() {
        let all = layouts(
            "(core module (memory 1)) (component (core module (memory 2)) (core module)) (core module (memory 3))",
        );
        let pages: Vec<u64> = all.iter().map(|memory| memory.initial_bytes >> 16).collect();
        assert_eq!(pages, [1, 2, 3]);
        assert_eq!(memory_layouts(b"no component"), []);
    }

    #[test]
    fn initial_bytes_are_summed_over_all_memories() {
        let bytes = wat::parse_str(
            "(component (core module (memory 1)) (component (core module (memory 2 9))) (core module))",
        );
        assert_eq!(initial_bytes(&bytes.unwrap()), 3 << 16);
        assert_eq!(initial_bytes(b"no component"), 0);
    }
}
