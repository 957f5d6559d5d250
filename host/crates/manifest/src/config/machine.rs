//! The memory of the machine, as far as this process may use it.

use std::{fs, path::Path};

/// Memory, in bytes: the machine's, or what a control group leaves of it. Where neither can be
/// read, a GiB.
pub(super) fn memory_bytes() -> u64 {
    const UNKNOWN: u64 = 1 << 30;
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| total_bytes(&text)).unwrap_or(UNKNOWN);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    group_limits(&groups).fold(machine, u64::min)
}

/// `MemTotal` of `/proc/meminfo`.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The limits of the control groups that this process is in, and of those above them: version 2 and
/// 1.
fn group_limits(groups: &str) -> impl Iterator<Item = u64> {
    let files = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or("/"));
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        let path = Path::new(path.trim_start_matches('/'));
        path.ancestors().map(|group| Path::new(root).join(group).join(file)).collect()
    });
    // Without a limit the file says `max`, or is not there.
    let limits = files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.collect::<Vec<u64>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_reports_its_memory() {
        let text = "MemTotal:        8039424 kB\nMemFree:          100 kB\n";
        assert_eq!(total_bytes(text), Some(8_039_424 * 1024));
        assert_eq!(total_bytes("MemFree: 1 kB\n"), None);
        assert!(memory_bytes() >= 64 << 20);
    }

    #[test]
    fn groups_without_limits_are_none() {
        assert_eq!(group_limits("0::/no/such/group\n7:cpu:/x\nnonsense\n").next(), None);
    }
}
