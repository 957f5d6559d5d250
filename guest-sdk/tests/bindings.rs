//! The bindings in `src/bindings` are what the contract generates.
//!
//! To write them anew after a change to the contract:
//! `LACEWING_GENERATE=1 cargo test -p lacewing-sdk --test bindings`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

/// One world per exported interface, so that a component exports only what it has a handler for.
const WORLDS: [(&str, &str, &str); 6] = [
    ("function.wit", "http-function", "http"),
    ("function.wit", "events-function", "events"),
    ("function.wit", "call-function", "call"),
    ("function.wit", "init-function", "init"),
    ("deps/lacewing-state.wit", "state-client", "state"),
    ("deps/lacewing-secrets.wit", "secrets-client", "secrets"),
];

fn generate(file: &str, world: &str, module: &str) -> Result<String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(sdk().join("wit").join(file))?;
    let world = resolve.select_world(&[package], Some(world))?;
    let options = wit_bindgen_rust::Opts {
        format: true,
        pub_export_macro: true,
        export_macro_name: Some(format!("__export_{module}")),
        runtime_path: Some("::wit_bindgen::rt".into()),
        default_bindings_module: Some(format!("$crate::bindings::{module}")),
        ..Default::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let (_, text) = files.iter().next().context("nothing was generated")?;
    Ok(String::from_utf8(text.to_vec())?)
}

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

#[test]
fn the_bindings_are_those_of_the_contract() {
    for (contract, world, module) in WORLDS {
        let file = sdk().join(format!("src/bindings/{module}.rs"));
        let generated = generate(contract, world, module).unwrap();
        if std::env::var_os("LACEWING_GENERATE").is_some() {
            std::fs::write(&file, &generated).unwrap();
        }
        assert!(
            std::fs::read_to_string(&file).unwrap() == generated,
            "{} is not what `wit/{contract}` generates: see the head of this test",
            file.display()
        );
    }
}
