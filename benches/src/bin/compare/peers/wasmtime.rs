//! `wasmtime serve`, at its defaults and with what its documentation has for speed: instances that
//! are reused, memory that stays resident in the pool, and a guest whose first heap needs no
//! growth.
//!
//! `cargo install wasmtime-cli --version 48.0.8 --locked`; features that serving does not use may
//! be left out.

use std::{path::Path, process::Command};

use super::Components;
use crate::row::Row;

/// Told for what instances keep between two requests: its documentation's knob for fast
/// instantiation.
const KEEP_RESIDENT: [&str; 4] =
    ["-O", "pooling-memory-keep-resident=2097152", "-O", "pooling-table-keep-resident=65536"];

pub(super) fn rows(binary: &Path, components: &Components) -> Vec<Row> {
    let Components { portable_02, portable_03, portable_02_lean, portable_03_lean, .. } =
        components;
    let reuse: &[&str] = &["--max-instance-reuse-count", "128"];
    let fresh: &[&str] = &["--max-instance-reuse-count", "1"];
    let row = |id, title, component, flags: &[&str]| row(binary, id, title, component, flags);
    vec![
        row("wasmtime-02", "0.2, its defaults (fresh)", portable_02, &[]),
        row("wasmtime-02-resident", "0.2, memory kept resident", portable_02, &KEEP_RESIDENT),
        row(
            "wasmtime-02-best-fresh",
            "0.2, memory kept resident, laid out by lacewing build",
            portable_02_lean,
            &KEEP_RESIDENT,
        ),
        row("wasmtime-02-reuse", "0.2, reused 128 times", portable_02, reuse),
        row("wasmtime-03", "0.3, its defaults (reused 128 times, 16 at once)", portable_03, &[]),
        row("wasmtime-03-fresh", "0.3, fresh", portable_03, fresh),
        row("wasmtime-03-resident", "0.3, memory kept resident", portable_03, &KEEP_RESIDENT),
        row(
            "wasmtime-03-best",
            "0.3, memory kept resident, laid out by lacewing build",
            portable_03_lean,
            &KEEP_RESIDENT,
        ),
    ]
}

fn row(binary: &Path, id: &'static str, title: &str, component: &Path, flags: &[&str]) -> Row {
    let (binary, component) = (binary.to_owned(), component.to_owned());
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    Row {
        id,
        title: format!("wasmtime serve, {title}"),
        note: format!("wasmtime serve -S cli {}", flags.join(" ")).trim_end().to_owned(),
        caches: true,
        command: Box::new(move |place| {
            let mut command = Command::new(&binary);
            command.args(["serve", "-S", "cli"]).args(&flags);
            command.args(["--addr", &place.address.to_string()]).arg(&component);
            command.env("XDG_CACHE_HOME", &place.cache).env("XDG_CONFIG_HOME", &place.dir);
            Ok(command)
        }),
    }
}
