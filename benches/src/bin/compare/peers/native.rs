//! The ceiling: the same response from a hyper server without any sandbox.

use std::{path::Path, process::Command};

use crate::row::Row;

pub(super) fn row(own: &Path) -> Row {
    let own = own.to_owned();
    Row {
        id: "native",
        title: "native hyper, no Wasm".to_owned(),
        note: "in this tree; HTTP/1.1, tokio's multi-threaded runtime, one route for everything"
            .to_owned(),
        caches: false,
        command: Box::new(move |place| {
            let mut command = Command::new(&own);
            command.args(["serve", "native", "--listen", &place.address.to_string()]);
            Ok(command)
        }),
    }
}
