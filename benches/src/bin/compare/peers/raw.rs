//! The floor of a fresh sandbox: hyper, and Wasmtime called directly with its best settings for
//! this guest.

use std::{path::Path, process::Command};

use super::Components;
use crate::row::Row;

pub(super) fn row(own: &Path, components: &Components) -> Row {
    let (own, component) = (own.to_owned(), components.lean.clone());
    Row {
        id: "raw",
        title: "raw Wasmtime behind hyper, lean path, fresh".to_owned(),
        note:
            "in this tree; no routes, limits, interruption, metrics or logs; compiles at each start"
                .to_owned(),
        caches: false,
        command: Box::new(move |place| {
            let mut command = Command::new(&own);
            command.args(["serve", "raw", "--listen", &place.address.to_string(), "--component"]);
            command.arg(&component);
            Ok(command)
        }),
    }
}
