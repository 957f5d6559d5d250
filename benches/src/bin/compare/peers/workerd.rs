//! workerd: a V8 isolate that is reused for every request, and one thread. `npm install workerd`.

use std::{path::Path, process::Command};

use super::Components;
use crate::row::{HELLO, Row};

pub(super) fn rows(binary: &Path, _: &Components) -> Vec<Row> {
    let binary = binary.to_owned();
    vec![Row {
        id: "workerd",
        title: "workerd, JavaScript, isolate reused".to_owned(),
        note: "one thread serves all requests of a process, as it does by design".to_owned(),
        caches: false,
        command: Box::new(move |place| {
            let script = format!(
                "export default {{\n  fetch() {{\n    return new Response({HELLO:?}, {{ headers: {{ \"content-type\": \"text/plain; charset=utf-8\" }} }});\n  }},\n}};\n"
            );
            place.configure("hello.js", &script)?;
            let config = format!(
                "using Workerd = import \"/workerd/workerd.capnp\";\n\
                 const config :Workerd.Config = (\n  \
                 services = [(name = \"hello\", worker = .hello)],\n  \
                 sockets = [(name = \"http\", address = \"{}\", http = (), service = \"hello\")],\n);\n\
                 const hello :Workerd.Worker = (\n  \
                 modules = [(name = \"hello\", esModule = embed \"hello.js\")],\n  \
                 compatibilityDate = \"2026-01-01\",\n);\n",
                place.address
            );
            let path = place.configure("hello.capnp", &config)?;
            let mut command = Command::new(&binary);
            command.arg("serve").arg(&path);
            Ok(command)
        }),
    }]
}
