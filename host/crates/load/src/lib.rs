//! The load generator, and the measurements beside a load.
//!
//! ```text
//!   LoadPlan ──> generator ──> Measured        pace: when the next request is due
//!                   │                          target: where it goes, and the connections
//!   Probe: one request at a time               series: a figure that was measured several times
//!   machine: what the figures were taken on, and how steady it was
//!   process: CPU time and memory of a server
//! ```
//!
//! `lacewing bench` and the benches of the repository share this crate. Nothing of the crate runs
//! in a host.

pub mod generator;
pub mod machine;
mod pace;
pub mod probe;
pub mod process;
pub mod series;
pub mod target;
mod template;

pub use template::RequestTemplate;
