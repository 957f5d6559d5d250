//! The inspection of a component by its bytes and its type: it is refused with a sentence before it
//! is compiled, or described by its exports and imports.

use wasmtime::component::{Component, types::ComponentItem};

/// Why bytes are not a component that can be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// Nothing there.
    #[error("the file is empty (0 bytes): a WebAssembly component was expected")]
    Empty,
    /// No Wasm at all.
    #[error(
        "this is not WebAssembly: it begins with {first}, and a component begins with `\\0asm`{hint}"
    )]
    NotWasm {
        /// The first bytes, as text or hex.
        first: String,
        /// The kind that the file seems to be.
        hint: &'static str,
    },
    /// Wasm's first layer.
    #[error(
        "this is a core WebAssembly module, not a component: build it for the target wasm32-wasip2, or turn it into a component with `wasm-tools component new`"
    )]
    CoreModule,
    /// A binary format that this host does not know.
    #[error(
        "this is WebAssembly of an unknown version (bytes 4 to 8 are {version}); a component has `0d 00 01 00`"
    )]
    UnknownVersion {
        /// The version field, in hex.
        version: String,
    },
    /// Over the size limit.
    #[error("the file has {} MiB, and the largest component that this host takes has {} MiB", .bytes.div_ceil(1 << 20), .limit_bytes >> 20)]
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
        /// The host's limit in bytes.
        limit_bytes: u64,
    },
}

/// Looks at a file's size, before it is read.
pub(super) fn inspect_size(bytes: u64, limit_bytes: u64) -> Result<(), ComponentError> {
    if bytes > limit_bytes {
        return Err(ComponentError::TooLarge { bytes, limit_bytes });
    }
    Ok(())
}

/// Looks at a file's first bytes and its size. A file that passes may still fail to compile.
pub fn inspect_bytes(bytes: &[u8], limit_bytes: u64) -> Result<(), ComponentError> {
    inspect_size(bytes.len() as u64, limit_bytes)?;
    match bytes {
        [] => Err(ComponentError::Empty),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(ComponentError::CoreModule),
        [0, b'a', b's', b'm', version @ ..] => {
            Err(ComponentError::UnknownVersion { version: hex(&version[..version.len().min(4)]) })
        }
        other => Err(ComponentError::NotWasm { first: first_bytes(other), hint: hint(other) }),
    }
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "missing".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn first_bytes(bytes: &[u8]) -> String {
    let first = &bytes[..bytes.len().min(8)];
    match std::str::from_utf8(first) {
        Ok(text) if text.chars().all(|c| !c.is_control()) => format!("{text:?}"),
        _ => format!("the bytes {}", hex(first)),
    }
}

fn hint(bytes: &[u8]) -> &'static str {
    match bytes {
        [b'(', ..] => " (this looks like the WebAssembly text format: assemble it first)",
        [0x7f, b'E', b'L', b'F', ..] => {
            " (this is an ELF file: an artifact or a native binary; give the component that it was compiled from)"
        }
        [b'#', b'!', ..] => " (this is a script)",
        _ => "",
    }
}

/// The contract that a component exports, of the four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Exports {
    /// `lacewing:function/http`: the lean path.
    pub http: bool,
    /// `lacewing:function/events`.
    pub events: bool,
    /// `lacewing:function/call`.
    pub call: bool,
    /// `wasi:http/incoming-handler@0.2`.
    pub wasi_http_02: bool,
    /// `wasi:http/handler@0.3`.
    pub wasi_http_03: bool,
}

impl Exports {
    /// Whether a route can be served.
    pub fn serves_http(self) -> bool {
        self.http || self.wasi_http_02 || self.wasi_http_03
    }

    /// Whether a call returns what is as large as a body: a response, or a payload.
    pub fn returns_bytes(self) -> bool {
        self.http || self.call
    }

    /// Whether this is a function at all.
    pub fn any(self) -> bool {
        self.serves_http() || self.events || self.call
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            (self.http, "lacewing:function/http"),
            (self.events, "lacewing:function/events"),
            (self.call, "lacewing:function/call"),
            (self.wasi_http_02, "wasi:http/incoming-handler@0.2"),
            (self.wasi_http_03, "wasi:http/handler@0.3"),
        ];
        all.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect()
    }

    pub(super) fn of(component: &Component) -> Exports {
        let mut exports = Exports::default();
        for (name, _) in component.component_type().exports(component.engine()) {
            exports.add(name);
        }
        exports
    }

    pub(super) fn add(&mut self, name: &str) {
        match split_version(name) {
            ("lacewing:function/http", _) => self.http = true,
            ("lacewing:function/events", _) => self.events = true,
            ("lacewing:function/call", _) => self.call = true,
            // A release candidate is another interface.
            (_, Some(version)) if version.contains('-') => {}
            ("wasi:http/incoming-handler", Some(v)) if v.starts_with("0.2.") => {
                self.wasi_http_02 = true;
            }
            ("wasi:http/handler", Some(v)) if v.starts_with("0.3.") => self.wasi_http_03 = true,
            _ => {}
        }
    }
}

/// One import of a component: `wasi:http/types@0.2.6` is its interface and its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// `wasi:http/types`, or the bare name of a function that is imported without an interface.
    pub interface: String,
    /// `0.2.6`.
    pub version: Option<String>,
}

impl Import {
    /// The imports of a component.
    pub(crate) fn of(component: &Component) -> Vec<Import> {
        let engine = component.engine();
        component
            .component_type()
            .imports(engine)
            // An instance that exports no function is types only: there is nothing to provide.
            .filter(|(_, item)| match &item.ty {
                ComponentItem::ComponentInstance(instance) => instance
                    .exports(engine)
                    .any(|(_, item)| !matches!(item.ty, ComponentItem::Type(_))),
                _ => true,
            })
            .map(|(name, _)| Import::named(name))
            .collect()
    }

    pub(super) fn named(name: &str) -> Import {
        let (interface, version) = split_version(name);
        Import { interface: interface.to_owned(), version: version.map(str::to_owned) }
    }
}

impl std::fmt::Display for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.interface),
            None => f.write_str(&self.interface),
        }
    }
}

pub(super) fn split_version(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        Some((interface, version)) => (interface, Some(version)),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        inspect_bytes(bytes, 1 << 20).unwrap_err().to_string()
    }

    #[test]
    fn each_wrong_file_has_its_own_sentence() {
        assert_eq!(
            refusal(b""),
            "the file is empty (0 bytes): a WebAssembly component was expected"
        );
        assert_eq!(
            refusal(b"hello, world"),
            "this is not WebAssembly: it begins with \"hello, w\", and a component begins with `\\0asm`"
        );
        assert_eq!(
            refusal(b"(module)"),
            "this is not WebAssembly: it begins with \"(module)\", and a component begins with `\\0asm` (this looks like the WebAssembly text format: assemble it first)"
        );
        assert_eq!(
            refusal(b"\x7fELF\x02"),
            "this is not WebAssembly: it begins with the bytes 7f 45 4c 46 02, and a component begins with `\\0asm` (this is an ELF file: an artifact or a native binary; give the component that it was compiled from)"
        );
        assert_eq!(
            refusal(b"\0asm\x01\0\0\0"),
            "this is a core WebAssembly module, not a component: build it for the target wasm32-wasip2, or turn it into a component with `wasm-tools component new`"
        );
        assert_eq!(
            refusal(b"\0asm\x07\0"),
            "this is WebAssembly of an unknown version (bytes 4 to 8 are 07 00); a component has `0d 00 01 00`"
        );
        assert_eq!(
            refusal(&vec![0; (1 << 20) + 1]),
            "the file has 2 MiB, and the largest component that this host takes has 1 MiB"
        );
    }

    #[test]
    fn a_component_header_passes() {
        assert_eq!(inspect_bytes(b"\0asm\x0d\0\x01\0", 1 << 20), Ok(()));
    }
}
