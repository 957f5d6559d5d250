//! Everything that a run has measured, as it is written to the JSON file.

use std::collections::BTreeMap;

use lacewing_load::{
    machine::{Machine, Steadiness},
    series::SeriesSummary,
};
use serde::Serialize;

use crate::{goals::Goal, options::Options, peers::Peers};

/// A run.
#[derive(Serialize)]
pub(crate) struct Results {
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// The command that was run.
    pub(crate) command: String,
    /// Of the repository, with `-dirty` where files differ from it.
    pub(crate) revision: String,
    pub(crate) machine: Machine,
    pub(crate) machine_name: String,
    pub(crate) steadiness: Option<Steadiness>,
    pub(crate) versions: Vec<(String, String)>,
    /// Rows that were not measured, and why.
    pub(crate) missing: Vec<(String, String)>,
    pub(crate) rows: Vec<About>,
    /// By row: each round's figures, in the order of the rounds.
    pub(crate) throughput: BTreeMap<String, Vec<Throughput>>,
    /// The load generator.
    pub(crate) generator: Option<String>,
    pub(crate) latency: BTreeMap<String, Vec<Latency>>,
    pub(crate) starts: BTreeMap<String, Starts>,
    pub(crate) figures: BTreeMap<String, Figure>,
    pub(crate) goals: Vec<Goal>,
}

/// The description of a row.
#[derive(Serialize)]
pub(crate) struct About {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) note: String,
}

/// One round of one row under full load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) per_second: f64,
    /// CPU time of the server, of user and kernel, for each request.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) idle_bytes: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) requests: u64,
    /// Wrong answers and failed connections, of the load and of the looks before and after it.
    pub(crate) errors: u64,
}

/// One round of one row at a fixed rate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) asked_per_second: u32,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    pub(crate) errors: u64,
    pub(crate) unsent: u64,
}

/// Process start to first response, in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Starts {
    pub(crate) empty_ms: SeriesSummary,
    pub(crate) cached_ms: SeriesSummary,
}

/// A figure that has no row.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub(crate) struct Figure {
    /// In words.
    pub(crate) title: String,
    pub(crate) unit: String,
    /// One for each round.
    pub(crate) values: Vec<f64>,
    /// The facts that a judgement needs.
    #[serde(default)]
    pub(crate) note: String,
    /// Answers that were wrong.
    #[serde(default)]
    pub(crate) errors: u64,
}

impl Results {
    pub(crate) fn new(machine: Machine, options: &Options, peers: &Peers) -> Results {
        let about = |row: &crate::row::Row| About {
            id: row.id.to_owned(),
            title: row.title.clone(),
            note: row.note.clone(),
        };
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Results {
            time: time.map_or(0, |time| time.as_secs()),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            revision: git(&["describe", "--always", "--dirty", "--abbrev=12"]),
            machine_name: options.machine.clone().unwrap_or_else(|| slug(&machine)),
            machine,
            steadiness: None,
            versions: peers.versions.clone(),
            missing: peers.missing.clone(),
            rows: peers.rows.iter().map(about).collect(),
            throughput: BTreeMap::new(),
            generator: None,
            latency: BTreeMap::new(),
            starts: BTreeMap::new(),
            figures: BTreeMap::new(),
            goals: Vec::new(),
        }
    }

    /// A row, or a figure, that could not be measured.
    pub(crate) fn miss(&mut self, id: &str, why: &anyhow::Error) {
        eprintln!("  left out: {why:#}");
        if !self.missing.iter().any(|(known, _)| known == id) {
            self.missing.push((id.to_owned(), format!("{why:#}")));
        }
    }

    pub(crate) fn is_missing(&self, id: &str) -> bool {
        self.missing.iter().any(|(known, _)| known == id)
    }

    /// A figure of a row under full load, round by round.
    pub(crate) fn rounds(
        &self,
        row: &str,
        value: impl Fn(&Throughput) -> f64,
    ) -> Option<SeriesSummary> {
        let rounds = self.throughput.get(row)?;
        Some(SeriesSummary::new(rounds.iter().map(value).collect()))
    }

    /// Everything that was answered wrongly.
    pub(crate) fn error_count(&self) -> u64 {
        let throughput = self.throughput.values().flatten().map(|round| round.errors);
        let latency = self.latency.values().flatten().map(|round| round.errors);
        let figures = self.figures.values().map(|figure| figure.errors);
        throughput.chain(latency).chain(figures).sum()
    }
}

fn git(args: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(env!("CARGO_MANIFEST_DIR"))
        .args(args)
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// `AMD EPYC 7B13` with two CPUs gives `amd-epyc-7b13-x2`.
fn slug(machine: &Machine) -> String {
    let mut slug = String::new();
    for c in machine.cpu.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            _ if slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    format!("{}-x{}", slug.trim_matches('-'), machine.cpus)
}
