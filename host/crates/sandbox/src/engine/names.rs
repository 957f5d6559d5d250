//! The names that a component's bytes import and export, before it is compiled.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType,
    ComponentTypeRef, Encoding, InstanceTypeDeclaration, Parser, Payload,
};

use super::inspect::{Exports, Import};

/// The imports and exports of a component, as far as its bytes tell without compiling them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// The imports that the host has to provide. One whose type is not told here may be missing.
    pub(crate) imports: Vec<Import>,
    /// The exports, by interface and version.
    pub(crate) exports: Vec<Import>,
    /// The contract among them.
    pub(crate) contract: Exports,
}

impl Names {
    /// Reads a component's names. `None` for bytes that are none or cannot be parsed: the compiler
    /// says what is wrong with them.
    pub(crate) fn read(bytes: &[u8]) -> Option<Names> {
        let mut names = Names::default();
        // Of each type, in the component's index space: whether it is an instance that exports more
        // than types.
        let mut types: Vec<Option<bool>> = Vec::new();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.ok()? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return None,
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                Payload::ComponentTypeSection(section) => {
                    for ty in section {
                        types.push(provides(&ty.ok()?));
                    }
                }
                Payload::ComponentAliasSection(section) => {
                    for alias in section {
                        types.extend(is_type_alias(&alias.ok()?).then_some(None));
                    }
                }
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        let import = import.ok()?;
                        match import.ty {
                            ComponentTypeRef::Type(_) => types.push(None),
                            ComponentTypeRef::Instance(index)
                                if types.get(index as usize) != Some(&Some(true)) => {}
                            _ => names.imports.push(Import::named(import.name.name)),
                        }
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        let export = export.ok()?;
                        types.extend((export.kind == ComponentExternalKind::Type).then_some(None));
                        names.contract.add(export.name.name);
                        names.exports.push(Import::named(export.name.name));
                    }
                }
                _ => {}
            }
        }
        Some(names)
    }
}

/// Whether an instance type exports more than types. `None` for another type.
fn provides(ty: &ComponentType<'_>) -> Option<bool> {
    let ComponentType::Instance(declarations) = ty else { return None };
    let is_more = |one: &InstanceTypeDeclaration<'_>| matches!(one, InstanceTypeDeclaration::Export { ty, .. } if !matches!(ty, ComponentTypeRef::Type(_)));
    Some(declarations.iter().any(is_more))
}

fn is_type_alias(alias: &ComponentAlias<'_>) -> bool {
    match alias {
        ComponentAlias::InstanceExport { kind, .. } => *kind == ComponentExternalKind::Type,
        ComponentAlias::Outer { kind, .. } => *kind == ComponentOuterAliasKind::Type,
        ComponentAlias::CoreInstanceExport { .. } => false,
    }
}

/// Whether a component, or one inside it, imports or exports an interface of WASI 0.3. Bytes that
/// cannot be parsed name nothing: the compiler says what is wrong with them.
pub fn names_wasi_03(bytes: &[u8]) -> bool {
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
    fn imports_are_those_that_the_host_has_to_provide() {
        let text = r#"(component
            (type (instance (export "t" (type (sub resource)))))
            (import "acme:types/only@1.0.0" (instance (type 0)))
            (alias export 0 "t" (type $t))
            (import "acme:db/sql@1.0.0" (instance (type (func)) (export "run" (func (type 0)))))
            (component (import "acme:inner/one" (instance (export "run" (func)))))
            (import "bare" (func))
            (instance $i)
            (export "wasi:http/handler@0.3.2" (instance $i))
        )"#;
        let names = Names::read(&wat::parse_str(text).unwrap()).unwrap();
        let text = |all: &[Import]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(&names.imports), ["acme:db/sql@1.0.0", "bare"]);
        assert_eq!(text(&names.exports), ["wasi:http/handler@0.3.2"]);
        assert!(names.contract.wasi_http_03 && names.contract.any());
        assert_eq!(Names::read(b"\0asm\x0d\0\x01\0\x07"), None);
    }

    #[test]
    fn a_truncated_component_yields_the_names_before_the_cut() {
        let whole = wat::parse_str(r#"(component (core module (func)))"#).unwrap();
        assert!(!names_wasi_03(&whole[..whole.len() - 1]));
        assert!(!names_wasi_03(b""));
    }
}
