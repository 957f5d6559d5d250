//! The features of WebAssembly that this host does not compile, and the advice for a component that
//! uses one.
//!
//! docs/components.md has the list for users; a test compares them.

/// A feature that is off.
struct Feature {
    /// The name on the page.
    name: &'static str,
    /// Parts of what Wasmtime says of a component that uses it, in lower case.
    said: &'static [&'static str],
    /// What to do.
    advice: &'static str,
}

const FEATURES: &[Feature] = &[
    Feature {
        name: "garbage collection",
        said: &[
            "gc proposal",
            "`gc` proposal",
            "gc support",
            "gc types",
            "gc feature",
            "requires gc",
        ],
        advice: "compile for linear memory; Kotlin, Dart and Java need this feature",
    },
    Feature {
        name: "exceptions",
        said: &[
            "exceptions proposal",
            "exceptions support",
            "exception handling",
            "legacy_exceptions",
            "legacy exceptions",
        ],
        advice: "compile with `-fno-exceptions`, or in Rust with `panic = \"abort\"`",
    },
    Feature {
        name: "threads",
        said: &["threads must be enabled", "threads support", "shared-everything-threads"],
        advice: "compile without `-pthread` and the target feature `atomics`",
    },
    Feature {
        name: "custom page sizes",
        said: &["custom page sizes"],
        advice: "compile for pages of 64 KiB",
    },
    Feature {
        name: "wide arithmetic",
        said: &["wide arithmetic"],
        advice: "compile without the target feature `wide-arithmetic`",
    },
    Feature {
        name: "stack switching",
        said: &["stack switching", "stack-switching"],
        advice: "compile without it",
    },
];

/// The rest of an error about a component that uses a feature which is off.
pub(super) fn advice(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let is_off = ["enabled", "require", "disabled", "without the", "disallowed"];
    if !is_off.iter().any(|part| text.contains(part)) {
        return None;
    }
    let feature = FEATURES.iter().find(|one| one.said.iter().any(|said| text.contains(said)))?;
    let Feature { name, advice, .. } = feature;
    Some(format!("(this host does not compile {name}: {advice}; docs/components.md has the list)"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{super::emit, *};
    use crate::engine::Profile;

    /// A module with each feature, and the feature's name.
    const MODULES: [(&str, &str); 6] = [
        ("(module (type (struct)) (func (drop (struct.new 0))))", "garbage collection"),
        ("(module (tag $t) (func (throw $t)))", "exceptions"),
        ("(module (type (array i32)) (func (param (ref 0))))", "garbage collection"),
        ("(module (memory 1 1 shared))", "threads"),
        ("(module (memory 1 (pagesize 1)))", "custom page sizes"),
        (
            "(module (func (param i64 i64) (result i64 i64) (i64.mul_wide_s (local.get 0) (local.get 1))))",
            "wide arithmetic",
        ),
    ];

    #[test]
    fn each_feature_that_is_off_has_advice() {
        let profile = Profile { metered: false, tasks: true, large: false };
        let engine = wasmtime::Engine::new(&profile.config()).unwrap();
        let mut wrong = Vec::new();
        for (module, name) in MODULES {
            let text = format!("(component (core module {})", module.trim_start_matches("(module"));
            let advised = match emit(&engine, &wat::parse_str(text).unwrap()) {
                Ok(_) => "it compiles".to_owned(),
                Err(error) => advice(&format!("{error:#}")).unwrap_or(format!("{error:#}")),
            };
            if !advised.starts_with(&format!("(this host does not compile {name}: ")) {
                wrong.push(format!("{name}: {advised}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(advice("type mismatch: expected i32, found i64 (at offset 0x3)"), None);
    }

    #[test]
    fn the_page_lists_each_feature() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/components.md");
        let page = fs::read_to_string(page).unwrap();
        for Feature { name, .. } in FEATURES {
            assert!(page.contains(&format!("| {name} |")), "{name} is not on the page");
        }
    }
}
