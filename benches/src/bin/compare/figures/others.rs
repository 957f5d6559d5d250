//! The figures that other programs of this repository measure. Each program runs if it is there,
//! beside this one, and prints a JSON object. Some of the object's numbers are figures here.

use std::{path::Path, process::Command};

use anyhow::Context;

use super::{Figures, found};
use crate::{peers::Peers, results::Results};

/// A program, and what is taken of what it prints.
struct Program {
    name: &'static str,
    args: &'static [&'static str],
    figures: &'static [Taken],
}

/// One number.
struct Taken {
    key: &'static str,
    /// To the unit.
    factor: f64,
    name: &'static str,
    title: &'static str,
    unit: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "many_functions",
        args: &["10000", "100", "256"],
        figures: &[
            Taken {
                key: "miss_p99_ms",
                factor: 1.0,
                name: "residency_p99_ms",
                title: "10,000 functions registered, 256 resident, random order: p99 of a request",
                unit: "ms",
            },
            Taken {
                key: "miss_p50_ms",
                factor: 1.0,
                name: "residency_p50_ms",
                title: "the same: median",
                unit: "ms",
            },
            Taken {
                key: "start_ms",
                factor: 1.0,
                name: "residency_start_ms",
                title: "host start to first response, 10,000 functions registered",
                unit: "ms",
            },
        ],
    },
    Program {
        name: "many_functions",
        args: &["100000", "100", "256"],
        figures: &[Taken {
            key: "bytes_per_function",
            factor: 1.0 / 1024.0,
            name: "residency_idle_kib",
            title: "resident memory per registered idle function, of 100,000",
            unit: "KiB",
        }],
    },
];

pub(super) fn measure(peers: &Peers, results: &mut Results) -> anyhow::Result<Figures> {
    let mut all = Figures::new();
    for program in PROGRAMS {
        match run(&program, &peers.lacewing) {
            Ok(figures) => all.extend(figures),
            Err(error) => {
                let name = format!("{} {}", program.name, program.args.join(" "));
                results.miss(&name, &error);
            }
        }
    }
    Ok(all)
}

fn run(program: &Program, lacewing: &Path) -> anyhow::Result<Figures> {
    let path = std::env::current_exe()?.with_file_name(program.name);
    anyhow::ensure!(path.is_file(), "{} is not there", path.display());
    let output = Command::new(&path).args(program.args).arg(lacewing).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{}", said.lines().last().unwrap_or_default());
    let printed: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("it printed no JSON")?;
    let mut figures = Figures::new();
    for taken in program.figures {
        let value = printed[taken.key].as_f64();
        let value = value.with_context(|| format!("it printed no `{}`", taken.key))?;
        let note = format!("{} {}", program.name, program.args.join(" "));
        let figure = found(taken.title, taken.unit, vec![value * taken.factor], &note);
        figures.insert(taken.name.to_owned(), figure);
    }
    Ok(figures)
}
