//! `lacewing bench`: cold starts and throughput of a function, on this machine.
//!
//! ```text
//!   an app  -> build -> cold starts in this process        -> `lacewing up` as a child -> load
//!   a URL   --------------------------------------------------------------------------> load
//!                                                                                         |
//!                      table, --json, --report FILE.html  <-------------------------------+
//! ```

mod child;
mod cold;
mod report;
mod request;
mod results;
mod run;
mod table;
mod throughput;

use std::path::PathBuf;

use clap::{Args, ValueHint};
use http::Method;
use lacewing_load::target::LoadTarget;

pub(super) use run::run;

use super::invoke::{Header, Payload};

const EXAMPLES: &str = "\
Examples:
  lacewing bench                                 the app in this directory: GET / to its function
  lacewing bench hello.wasm --report bench.html  a component, and a page with the plots
  lacewing bench . shop --path '/items?max=3'    one function of several
  lacewing bench --url https://example.com/ --rate 100 --duration-s 30

An app runs in a host of its own on this machine: first its cold starts, then `lacewing up`
under load. Only measure a URL whose owner agrees to it.";

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// The app: a directory with a lacewing.toml, such a file, or a component (.wasm).
    #[arg(default_value = ".", value_hint = ValueHint::AnyPath, conflicts_with = "url")]
    pub path: PathBuf,

    /// The function; not needed where the app has only one.
    #[arg(conflicts_with = "url")]
    pub function: Option<String>,

    /// Put this URL under load instead, whatever serves it.
    #[arg(long, value_hint = ValueHint::Url)]
    pub url: Option<LoadTarget>,

    /// The request's method [default: GET, or POST with --data]
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub method: Option<Method>,

    /// The request's path and query [default: the function's first route without parameters]
    #[arg(long = "path", value_name = "PATH", conflicts_with = "url")]
    pub request_path: Option<String>,

    /// A header field of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<Header>,

    /// The request's body: text, @FILE, or - for standard input.
    #[arg(short, long, value_name = "DATA")]
    pub data: Option<Payload>,

    /// Connections, each with one request under way.
    #[arg(short, long, value_name = "N", default_value_t = 32,
        value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: u32,

    /// Threads that send.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,

    /// Seconds of each round, once at full speed and once at the fixed rate.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub duration_s: u32,

    /// Rounds; the results are their medians, and their spread shows how steady the machine was.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub rounds: u32,

    /// Requests per second of the fixed rate. With --url the load has this rate only
    /// [default: half of the rate at full speed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,

    /// Measurements of each cold start; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub starts: u32,

    /// Print the results as one JSON object.
    #[arg(long)]
    pub json: bool,

    /// Write an HTML page with plots, as one self-contained file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,
}
