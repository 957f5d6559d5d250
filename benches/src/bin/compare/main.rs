//! A comparison of this host with its peers, side by side on one machine.
//!
//! Command: `cargo build --release && cargo run --release -p lacewing-benches --bin compare`. Needs
//! `wrk` for throughput (else its own load generator); finds peers on PATH or where the options
//! say; leaves out those that are not there, and says so.
//!
//! ```text
//!   rows (peers.rs)  --> throughput, each round all rows, each server started anew, in turning order
//!                    --> latency at half of the maximum rate, open loop
//!                    --> process start to first response, empty cache and cached
//!   figures          --> what has no peer: in process, threads, compute, suspended invocations
//!        all         --> goals (what was set out for), a table, results/DATE-MACHINE.{md,json}
//! ```
//!
//! These rules favour no row: the same component bytes for every host that can run them; every host
//! at its own defaults, and once more with the settings that its own documentation recommends for
//! speed; every answer checked for status and body before and after each measurement; servers
//! measured one at a time, with nothing else of this program running; medians over rounds, with the
//! whole range beside them.

mod figures;
mod goals;
mod latency;
mod options;
mod peers;
mod report;
mod results;
mod row;
mod serve;
mod start;
mod throughput;

use std::process::ExitCode;

use clap::Parser;
use lacewing_load::machine::{Machine, Noise};

use options::{Command, Options, Part};
use results::Results;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.command {
        Some(Command::Serve(args)) => serve::run(args),
        Some(Command::Figure { figure }) => figures::run_here(*figure),
        None => compare(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> anyhow::Result<()> {
    row::end_with_this_process()?;
    raise_open_files();
    let mut noise = Noise::new();
    let peers = peers::find(options)?;
    let mut results = Results::new(Machine::this(), options, &peers);
    let wants = |part: Part| options.parts.is_empty() || options.parts.contains(&part);
    if wants(Part::Throughput) {
        throughput::measure(options, &peers.rows, &mut results, &mut noise)?;
    }
    if wants(Part::Latency) {
        latency::measure(options, &peers.rows, &mut results, &mut noise)?;
    }
    if wants(Part::Start) {
        start::measure(options, &peers.rows, &mut results, &mut noise)?;
    }
    for figure in figures::Figure::ALL {
        if wants(figure.part()) {
            figures::measure(figure, options, &peers, &mut results)?;
            noise.look();
        }
    }
    results.steadiness = Some(noise.end());
    results.goals = goals::of(&results);
    let text = report::markdown(&results);
    println!("{text}");
    report::write(options, &results, &text)?;
    let failed = results.error_count();
    anyhow::ensure!(failed == 0, "{failed} answers were wrong: the figures above do not count");
    Ok(())
}

/// Ten thousand connections take as many files, here and in the servers, which inherit the limit.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    // Where that is refused, the row that needs it says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
}
