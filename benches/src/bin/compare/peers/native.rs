//! The ceiling: the same response from a hyper server without any sandbox, on the runtime that
//! everybody uses and on the host's.

use std::{path::Path, process::Command};

use crate::row::Row;

pub(super) fn rows(own: &Path) -> Vec<Row> {
    vec![
        row(own, "native", "native hyper, no Wasm", "tokio's multi-threaded runtime"),
        row(
            own,
            "native-loops",
            "native hyper on event loops, no Wasm",
            "a thread per core and gathered writes, as the host has them",
        ),
    ]
}

fn row(own: &Path, id: &'static str, title: &str, runtime: &str) -> Row {
    let own = own.to_owned();
    Row {
        id,
        title: title.to_owned(),
        note: format!("in this tree; HTTP/1.1, {runtime}, one route for everything"),
        caches: false,
        command: Box::new(move |place| {
            let mut command = Command::new(&own);
            command.args(["serve", id, "--listen", &place.address.to_string()]);
            Ok(command)
        }),
    }
}
