//! Figures that are no row. Each is measured in a process of its own, which prints what it found as
//! JSON; one file for each.

mod compute;
mod in_process;
mod others;
mod snapshot;
mod suspended;
mod threads;

use std::{collections::BTreeMap, process::Command};

use anyhow::Context;
use clap::ValueEnum;

use crate::{
    options::{Options, Part},
    peers::Peers,
    results::{Figure as Found, Results},
};

/// The variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Figure {
    /// An invocation without a socket, beside raw Wasmtime.
    InProcess,
    /// Two threads over one.
    Threads,
    /// Programs under each way to interrupt them.
    Compute,
    /// Invocations that wait in a hostcall.
    Suspended,
    /// A guest whose init was run at its deploy.
    Snapshot,
    /// The figures that other programs of this repository measure.
    Others,
}

/// By name.
pub(crate) type Figures = BTreeMap<String, Found>;

impl Figure {
    pub(crate) const ALL: [Figure; 6] = [
        Figure::InProcess,
        Figure::Threads,
        Figure::Compute,
        Figure::Snapshot,
        Figure::Suspended,
        Figure::Others,
    ];

    pub(crate) fn part(self) -> Part {
        match self {
            Figure::InProcess => Part::InProcess,
            Figure::Threads => Part::Threads,
            Figure::Compute => Part::Compute,
            Figure::Suspended => Part::Suspended,
            Figure::Snapshot => Part::Snapshot,
            Figure::Others => Part::Others,
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// How often each is measured inside its own process.
pub(crate) const ROUNDS: usize = 7;

/// In the process that measures.
pub(crate) fn run_here(figure: Figure) -> anyhow::Result<()> {
    let found = match figure {
        Figure::InProcess => in_process::measure()?,
        Figure::Threads => threads::measure()?,
        Figure::Compute => compute::measure()?,
        Figure::Snapshot => snapshot::measure()?,
        Figure::Suspended | Figure::Others => {
            anyhow::bail!("{} is measured from outside", figure.name())
        }
    };
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}

/// Measures one. A figure that cannot be measured is left out, and the results say why.
pub(crate) fn measure(
    figure: Figure,
    options: &Options,
    peers: &Peers,
    results: &mut Results,
) -> anyhow::Result<()> {
    let name = figure.name();
    eprintln!("figure {name}");
    let found = match figure {
        Figure::InProcess | Figure::Threads | Figure::Compute | Figure::Snapshot => {
            in_own_process(&name)
        }
        Figure::Suspended => suspended::measure(options, peers),
        Figure::Others => others::measure(peers, results),
    };
    match found {
        Ok(found) => {
            for (key, figure) in &found {
                let series = lacewing_load::series::SeriesSummary::new(figure.values.clone());
                eprintln!("  {key}: {:.3} {}", series.median, figure.unit);
            }
            results.figures.extend(found);
        }
        Err(error) => results.miss(&name, &error),
    }
    Ok(())
}

fn in_own_process(name: &str) -> anyhow::Result<Figures> {
    let output = Command::new(std::env::current_exe()?).args(["figure", name]).output()?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("it said nothing")
    );
    serde_json::from_slice(&output.stdout).context("no figures")
}

/// A figure with its title.
pub(crate) fn found(title: &str, unit: &str, values: Vec<f64>, note: &str) -> Found {
    Found {
        title: title.to_owned(),
        unit: unit.to_owned(),
        values,
        note: note.to_owned(),
        errors: 0,
    }
}

/// Wasmtime's error is no [`std::error::Error`].
pub(crate) fn wasm(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}
