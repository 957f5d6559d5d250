//! Spin at its defaults: a fresh instance per request for wasi:http 0.2. Measured where it is on
//! PATH.

use std::{path::Path, process::Command};

use super::Components;
use crate::row::Row;

pub(super) fn rows(binary: &Path, components: &Components) -> Vec<Row> {
    let (binary, component) = (binary.to_owned(), components.portable_02.clone());
    vec![Row {
        id: "spin-02",
        title: "Spin, wasi:http 0.2, its defaults (fresh)".to_owned(),
        note: "spin up --quiet".to_owned(),
        caches: true,
        command: Box::new(move |place| {
            let manifest = format!(
                "spin_manifest_version = 2\n\n[application]\nname = \"hello\"\nversion = \"0.1.0\"\n\n\
                 [[trigger.http]]\nroute = \"/...\"\ncomponent = \"hello\"\n\n\
                 [component.hello]\nsource = {:?}\n",
                component.display().to_string()
            );
            let path = place.configure("spin.toml", &manifest)?;
            let mut command = Command::new(&binary);
            command.args(["up", "--quiet", "--listen", &place.address.to_string(), "--from"]);
            command.arg(&path).env("XDG_CACHE_HOME", &place.cache);
            Ok(command)
        }),
    }]
}
