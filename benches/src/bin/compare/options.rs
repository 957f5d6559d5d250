//! Arguments.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::figures::Figure;

/// Compares this host with its peers, side by side on one machine.
#[derive(Debug, Parser)]
#[command(name = "compare", max_term_width = 100)]
pub(crate) struct Options {
    /// Rounds; each measures every row once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// Seconds that each measurement of a round takes.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,

    /// Only these rows, by their names or the beginnings of them: `native,lacewing`.
    #[arg(long, value_delimiter = ',')]
    pub(crate) rows: Vec<String>,

    /// Only these parts [default: all]
    #[arg(long, value_delimiter = ',')]
    pub(crate) parts: Vec<Part>,

    /// Process starts of each row, with and without a cache.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) starts: u32,

    /// Invocations that are suspended at once.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) suspended: u32,

    /// Where results are written [default: benches/results]
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// The machine's name in the results' file names [default: after its CPU]
    #[arg(long)]
    pub(crate) machine: Option<String>,

    /// The lacewing binary [default: the one beside this one]
    #[arg(long, value_name = "FILE")]
    pub(crate) lacewing: Option<PathBuf>,

    /// Where wasmtime is (`cargo install wasmtime-cli --version 48.0.8 --locked`) [default: on
    /// PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) wasmtime: Option<PathBuf>,

    /// Where workerd is (`npm install workerd`, then node_modules/.bin/workerd) [default: on PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) workerd: Option<PathBuf>,

    /// Where spin is [default: on PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) spin: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The parts that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Requests per second, CPU time, latency and memory under full load
    Throughput,
    /// Latency at half of the maximum rate
    Latency,
    /// Process start to first response
    Start,
    /// An invocation without a socket, beside raw Wasmtime
    InProcess,
    /// Two threads over one
    Threads,
    /// Programs under each way to interrupt them
    Compute,
    /// Invocations that wait in a hostcall
    Suspended,
    /// A guest whose init was run at its deploy
    Snapshot,
    /// The figures that other programs of this repository measure
    Others,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The servers that are in this tree
    #[command(hide = true)]
    Serve(ServeArgs),
    /// One figure, in a process of its own: prints JSON
    #[command(hide = true)]
    Figure {
        #[arg(value_enum)]
        figure: Figure,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[arg(value_enum)]
    pub(crate) what: Served,
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// The component that `raw` serves.
    #[arg(long)]
    pub(crate) component: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Served {
    /// On tokio's multi-threaded runtime, as hyper's own examples are.
    Native,
    /// On event loops, as the host.
    NativeLoops,
    Raw,
}
