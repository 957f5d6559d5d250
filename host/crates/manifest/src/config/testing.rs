//! The parts that tests of host files share.

use std::{fs, path::Path};

use super::HostFile;
use crate::{Diagnostic, testing::print};

/// A directory with some apps, each with its component.
pub(super) struct Hosts {
    dir: tempfile::TempDir,
}

const APPS: &[(&str, &str)] = &[
    (
        "shop",
        "app = \"shop\"\nfunctions.list = { component = \"x.wasm\", routes = [\"/items\"] }\n",
    ),
    (
        "blog",
        "app = \"blog\"\nfunctions.index = { component = \"x.wasm\", routes = [\"/\", \"/items\"] }\n",
    ),
    (
        "api",
        "app = \"api\"\n\n[functions.a]\ncomponent = \"x.wasm\"\nroutes = [{ path = \"/\", host = \"api.example.com\" }, { path = \"/\", host = \"other.org\" }]\n",
    ),
    (
        "big",
        "app = \"big\"\nfunctions.a = { component = \"x.wasm\", limits = { memory_mib = 192, cpu_ms = 60, fuel = 5 } }\n",
    ),
    ("huge", "app = \"huge\"\nfunctions.a = { component = \"x.wasm\", limits.memory_mib = 512 }\n"),
    ("wrong", "app = \"wrong\"\nfunctions.a = { component = \"y.wasm\", color = 1 }\n"),
];

impl Hosts {
    pub(super) fn new() -> Hosts {
        let dir = tempfile::tempdir().unwrap();
        for (name, manifest) in APPS {
            let app = dir.path().join(name);
            fs::create_dir(&app).unwrap();
            fs::write(app.join("lacewing.toml"), manifest).unwrap();
            fs::write(app.join("x.wasm"), "").unwrap();
        }
        Hosts { dir }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn load(&self, text: &str) -> Result<(HostFile, Vec<Diagnostic>), Vec<Diagnostic>> {
        let path = self.path().join("host.toml");
        fs::write(&path, text).unwrap();
        HostFile::load(&path)
    }

    /// The findings about a host file and the apps of it that are refused, as they are printed,
    /// with `ROOT` for the directory that it is in.
    pub(super) fn report(&self, text: &str) -> String {
        let findings = match self.load(text) {
            Ok((file, mut findings)) => {
                let refused = file.tenants.iter().flat_map(|tenant| &tenant.refused);
                findings.extend(refused.flat_map(|app| app.findings.clone()));
                findings
            }
            Err(findings) => findings,
        };
        print(&findings, self.path())
    }
}
