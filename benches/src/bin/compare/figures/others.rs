//! Figures that other programs of this repository measure: each is run if it is there, beside this one, with `--json`, and
//! prints an object of figures by name: `{"residency_p99_ms": {"title": "...", "unit": "ms", "values": [0.4]}}`.

use std::process::Command;

use anyhow::Context;

use super::Figures;
use crate::{peers::Peers, results::Results};

/// The programs.
const PROGRAMS: [&str; 2] = ["residency", "snapshot"];

pub(super) fn measure(_: &Peers, results: &mut Results) -> anyhow::Result<Figures> {
    let mut all = Figures::new();
    for name in PROGRAMS {
        let program = std::env::current_exe()?.with_file_name(name);
        if !program.is_file() {
            results.miss(name, &anyhow::anyhow!("{} is not there", program.display()));
            continue;
        }
        let run = || -> anyhow::Result<Figures> {
            let output = Command::new(&program).arg("--json").output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            anyhow::ensure!(output.status.success(), "{}", said.lines().last().unwrap_or_default());
            serde_json::from_slice(&output.stdout).context("no figures")
        };
        match run() {
            Ok(figures) => all.extend(figures),
            Err(error) => results.miss(name, &error),
        }
    }
    Ok(all)
}
