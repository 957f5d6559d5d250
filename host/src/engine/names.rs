//! The names that a component's bytes import and export, before it is compiled.

use wasmparser::{Parser, Payload};

/// Whether a component, or one inside it, imports or exports an interface of WASI 0.3. Bytes that cannot be parsed name nothing:
/// the compiler says what is wrong with them.
pub(crate) fn names_wasi_03(bytes: &[u8]) -> bool {
    Parser::new(0).parse_all(bytes).map_while(Result::ok).any(|payload| match payload {
        Payload::ComponentImportSection(imports) => {
            imports.into_iter().flatten().any(|import| is_wasi_03(import.name.name))
        }
        Payload::ComponentExportSection(exports) => {
            exports.into_iter().flatten().any(|export| is_wasi_03(export.name.name))
        }
        _ => false,
    })
}

fn is_wasi_03(name: &str) -> bool {
    name.starts_with("wasi:") && name.split_once('@').is_some_and(|(_, v)| v.starts_with("0.3."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(wat: &str) -> bool {
        names_wasi_03(&wat::parse_str(wat).unwrap())
    }

    #[test]
    fn wasi_03_is_found_as_import_and_as_export() {
        assert!(named(r#"(component (import "wasi:clocks/types@0.3.0" (instance)))"#));
        assert!(named(
            r#"(component (instance $i) (export "wasi:http/handler@0.3.2" (instance $i)))"#
        ));
        assert!(!named(r#"(component (import "wasi:clocks/types@0.2.3" (instance)))"#));
        assert!(!named(r#"(component (import "acme:clocks/types@0.3.0" (instance)))"#));
    }

    #[test]
    fn a_truncated_component_yields_the_names_before_the_cut() {
        let whole = wat::parse_str(r#"(component (core module (func)))"#).unwrap();
        assert!(!names_wasi_03(&whole[..whole.len() - 1]));
        assert!(!names_wasi_03(b""));
    }
}
