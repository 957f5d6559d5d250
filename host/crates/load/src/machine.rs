//! The machine that measured, and how steady it was: a figure without them says little.

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::series::SeriesSummary;

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// As its maker calls it.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Of the machine, in bytes.
    pub memory_bytes: Option<u64>,
    /// Operating system and version of its kernel.
    pub system: String,
    /// Whether it is a guest of a hypervisor, whose other guests are noise.
    pub virtual_machine: bool,
    /// The load average of the last minute, before anything was measured.
    pub load_average: Option<f64>,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let cpuinfo = read("/proc/cpuinfo");
        let value = |key: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = read("/proc/meminfo");
        let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let memory_kib: Option<u64> =
            memory.and_then(|line| line.split_whitespace().next()?.parse().ok());
        let release = read("/proc/sys/kernel/osrelease");
        Machine {
            cpu: value("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_kib.map(|kib| kib * 1024),
            system: format!("{} {}", std::env::consts::OS, release.trim()).trim().to_owned(),
            virtual_machine: value("flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            load_average: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok()),
        }
    }

    /// In one line.
    #[allow(clippy::cast_precision_loss)]
    pub fn describe(&self) -> String {
        let mut text = format!("{}, {} CPUs", self.cpu, self.cpus);
        if let Some(bytes) = self.memory_bytes {
            text += &format!(", {:.0} GiB", bytes as f64 / f64::from(1 << 30));
        }
        text += &format!(", {}", self.system);
        if self.virtual_machine {
            text += ", virtual";
        }
        text
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// How steady the machine was while something was measured on it.
///
/// A loop of always the same work is timed again and again between the measurements. On a quiet
/// machine all of its times are the same; whatever they differ by is the machine's, not the
/// function's.
#[derive(Debug)]
pub struct Noise {
    loops_ms: Vec<f64>,
    before: Cpu,
}

/// The result of the noise.
#[derive(Clone, Debug, Serialize)]
pub struct Steadiness {
    /// Times of the loop, in milliseconds.
    pub loop_ms: SeriesSummary,
    /// How much longer the loop's 90th percentile took than its fastest, as a fraction.
    pub spread: f64,
    /// Of all CPU time, the fraction that the hypervisor gave to others.
    pub stolen: Option<f64>,
}

/// Time that the CPUs have had, and how much of it went to others, in ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    all: u64,
    stolen: u64,
}

/// Steps of the loop: some milliseconds.
const LOOP_STEPS: u64 = 2_000_000;
/// Loops in one look.
const LOOPS: usize = 10;
/// Above this spread, differences of a tenth between two figures say nothing.
const NOISY: f64 = 0.1;

impl Default for Noise {
    fn default() -> Noise {
        Noise::new()
    }
}

impl Noise {
    /// Starts to watch, with a first look.
    pub fn new() -> Noise {
        let mut noise = Noise { loops_ms: Vec::new(), before: Cpu::now() };
        noise.look();
        noise
    }

    /// Times the loop some more: some tens of milliseconds.
    pub fn look(&mut self) {
        for _ in 0..LOOPS {
            let started = Instant::now();
            black_box(spin(black_box(LOOP_STEPS)));
            self.loops_ms.push(milliseconds(started.elapsed()));
        }
    }

    /// The result.
    #[allow(clippy::cast_precision_loss)]
    pub fn end(mut self) -> Steadiness {
        self.look();
        let series = SeriesSummary::new(self.loops_ms.clone());
        self.loops_ms.sort_by(f64::total_cmp);
        let slow = self.loops_ms[self.loops_ms.len() * 9 / 10];
        let now = Cpu::now();
        let all = now.all.saturating_sub(self.before.all);
        let stolen = now.stolen.saturating_sub(self.before.stolen);
        Steadiness {
            spread: slow / series.min - 1.0,
            loop_ms: series,
            stolen: (all > 0).then(|| stolen as f64 / all as f64),
        }
    }
}

impl Steadiness {
    /// Whether small differences are to be distrusted.
    pub fn is_noisy(&self) -> bool {
        self.spread > NOISY
    }

    /// In one sentence.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "the same loop took {:.1} to {:.1} ms, and its slowest 10 % took {:.0} % longer than the fastest",
            self.loop_ms.min,
            self.loop_ms.max,
            self.spread * 100.0
        );
        if let Some(stolen) = self.stolen.filter(|stolen| *stolen >= 0.001) {
            text += &format!("; {:.1} % of CPU time went to other machines", stolen * 100.0);
        }
        if self.is_noisy() {
            text += ": noisy, do not trust small differences";
        }
        text
    }
}

impl Cpu {
    fn now() -> Cpu {
        let stat = read("/proc/stat");
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; what follows is counted in user already.
        Cpu { all: ticks.iter().take(8).sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }
}

/// Work that no compiler leaves out and that touches no memory: Marsaglia's xorshift.
fn spin(steps: u64) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..steps {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_shown_with_its_meaning() {
        let quiet = Steadiness {
            loop_ms: SeriesSummary::new(vec![10.0, 10.1]),
            spread: 0.01,
            stolen: None,
        };
        assert_eq!(
            quiet.describe(),
            "the same loop took 10.0 to 10.1 ms, and its slowest 10 % took 1 % longer than the fastest"
        );
        let noisy = Steadiness {
            loop_ms: SeriesSummary::new(vec![10.0, 14.0]),
            spread: 0.4,
            stolen: Some(0.05),
        };
        assert_eq!(
            noisy.describe(),
            "the same loop took 10.0 to 14.0 ms, and its slowest 10 % took 40 % longer than the fastest; 5.0 % of CPU time went to \
             other machines: noisy, do not trust small differences"
        );
    }

    #[test]
    fn every_look_is_counted() {
        let mut noise = Noise::new();
        noise.look();
        let end = noise.end();
        assert_eq!(end.loop_ms.count, 3 * LOOPS);
        assert!(end.spread >= 0.0 && end.loop_ms.min > 0.0);
    }
}
