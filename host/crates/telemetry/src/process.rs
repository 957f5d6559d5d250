//! The process as the kernel sees it, read from `/proc` at each scrape, under the names that every
//! Prometheus client library uses. Figures that cannot be read are left out.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, gauge::ConstGauge},
};

#[derive(Debug)]
pub(super) struct Process;

/// `/proc/self/stat` counts time in this unit on every architecture that Linux has kept
/// (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |key| status_field(&status, key).map(|kib| kib * 1024);
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory size in bytes", kib("VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes", kib("VmSize:")),
            ("process_threads", "Number of threads", status_field(&status, "Threads:")),
            ("process_open_fds", "Number of open file descriptors", open_fds()),
            ("process_max_fds", "Maximum number of open file descriptors", max_fds()),
        ] {
            if let Some(value) = value {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)?;
            }
        }
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        if let Some(started) = started_s(&stat, &boot) {
            let help = "Start time of the process since Unix epoch in seconds";
            let name = "process_start_time_seconds";
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(started).encode(metric)?;
        }
        if let Some(ticks) = cpu_ticks(&stat) {
            let help = "Total user and system CPU time spent in seconds";
            encoder
                .encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&(ticks / TICKS_PER_SECOND), None)?;
        }
        Ok(())
    }
}

/// The number behind a key of `/proc/self/status`.
fn status_field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Without the one that reading the directory opens.
fn open_fds() -> Option<u64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64)
}

fn max_fds() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    status_field(&limits, "Max open files")
}

/// User and system time, the 14th and 15th fields; the second one may contain spaces and
/// parentheses.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The 22nd field counts from the machine's start, which `/proc/stat` has in seconds of Unix time.
fn started_s(stat: &str, boot: &str) -> Option<f64> {
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let booted: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
    Some(booted + ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let status = "Name:\tx\nVmSize:\t  20 kB\nVmRSS:\t    10 kB\nThreads:\t3\n";
        assert_eq!(status_field(status, "VmRSS:"), Some(10));
        assert_eq!(status_field(status, "Threads:"), Some(3));
        assert_eq!(status_field("", "VmRSS:"), None);
        let stat = "1 (a) b) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 1 1";
        assert_eq!(cpu_ticks(stat), Some(300.0));
        assert_eq!(cpu_ticks(""), None);
        assert_eq!(started_s(stat, "cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_001.0));
        assert_eq!(started_s(stat, ""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_files() {
        let text = std::sync::Arc::new(crate::Metrics::new())
            .expose(crate::metrics::Exposition::Prometheus);
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            assert!(line.is_some_and(|value| value.parse::<u64>().unwrap() > 0), "{name}: {text}");
        }
        assert!(text.contains("\n# TYPE process_cpu_seconds_total counter\n"), "{text}");
        assert!(text.contains("\nprocess_start_time_seconds "), "{text}");
    }
}
