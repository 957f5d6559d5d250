//! This workspace's binary with everything on: routes, admission, default limits, metrics, and the
//! log of requests that it keeps when nobody is at a terminal.

use std::{io, path::Path, process::Command};

use super::Components;
use crate::row::{Place, Row};

/// Instances that a portable 0.3 function goes through before a new one is made, where the row says
/// that it reuses.
const REUSE: u32 = 128;

pub(super) fn rows(binary: &Path, components: &Components) -> Vec<Row> {
    vec![
        row(binary, "lacewing-lean", "lean path, fresh", &components.lean, ""),
        row(binary, "lacewing-02", "wasi:http 0.2, fresh", &components.portable_02, ""),
        row(
            binary,
            "lacewing-02-built",
            "wasi:http 0.2, fresh, laid out by lacewing build",
            &components.portable_02_lean,
            "",
        ),
        row(binary, "lacewing-03", "wasi:http 0.3, fresh", &components.portable_03, ""),
        row(
            binary,
            "lacewing-03-built",
            "wasi:http 0.3, fresh, laid out by lacewing build",
            &components.portable_03_lean,
            "",
        ),
        row(
            binary,
            "lacewing-03-reuse",
            "wasi:http 0.3, reused 128 times",
            &components.portable_03,
            &format!("limits = {{ reuse = {REUSE} }}\n"),
        ),
    ]
}

fn row(binary: &Path, id: &'static str, title: &str, component: &Path, settings: &str) -> Row {
    let (binary, component, settings) =
        (binary.to_owned(), component.to_owned(), settings.to_owned());
    Row {
        id,
        title: format!("lacewing, {title}"),
        note: "default limits, metrics and request log (errors) on".to_owned(),
        caches: true,
        command: Box::new(move |place| start(&binary, place, &component, &settings)),
    }
}

fn start(binary: &Path, place: &Place, component: &Path, settings: &str) -> io::Result<Command> {
    // A bare component would do; a manifest is what users have.
    let manifest = format!(
        "app = \"hello\"\n\n[functions.hello]\ncomponent = {:?}\nroutes = [\"/\"]\n{settings}",
        component.display().to_string()
    );
    place.configure("lacewing.toml", &manifest)?;
    let mut command = Command::new(binary);
    command.arg("up").arg(&place.dir);
    command.args(["--listen", &place.address.to_string(), "--admin", "127.0.0.1:0"]);
    command.arg("--cache-dir").arg(&place.cache);
    Ok(command)
}
