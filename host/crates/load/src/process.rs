//! The CPU time and memory of a process and its children, read from `/proc`. On other systems
//! nothing is known.

use std::{collections::HashMap, fs, time::Duration};

/// The CPU time and memory that a tree of processes has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// CPU time, of user and kernel, to a hundredth of a second.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub resident_bytes: u64,
    /// The most resident memory that each of its processes has had, summed, in bytes.
    pub peak_bytes: u64,
}

/// Clock ticks in a second, in what the kernel tells about a process. It is 100 wherever Linux
/// runs.
const TICKS_PER_SECOND: u64 = 100;

/// The CPU time and memory of the process `pid` and of everything that it started. `None` where
/// that cannot be known.
pub fn used(pid: u32) -> Option<TreeUsage> {
    let mut sum = own(pid)?;
    for child in descendants(pid) {
        // It may be gone by now.
        if let Some(used) = own(child) {
            sum.cpu += used.cpu;
            sum.resident_bytes += used.resident_bytes;
            sum.peak_bytes += used.peak_bytes;
        }
    }
    Some(sum)
}

fn own(pid: u32) -> Option<TreeUsage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let fields = after_name(&stat)?;
    // utime and stime are the fields 14 and 15 of proc(5); the first one here is the third.
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(TreeUsage {
        cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
        resident_bytes: kibibytes(&status, "VmRSS:")? * 1024,
        peak_bytes: kibibytes(&status, "VmHWM:")? * 1024,
    })
}

/// The fields behind the name, which may contain spaces and parentheses itself.
fn after_name(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(") ")?.1.split(' ').collect())
}

fn kibibytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = after_name(&stat).and_then(|fields| fields.get(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(child);
        }
    }
    let (mut found, mut next) = (Vec::new(), vec![pid]);
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.push(child);
            next.push(child);
        }
    }
    found
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0";
        let fields = after_name(stat).unwrap();
        assert_eq!((fields[1], fields[11], fields[12]), ("1", "250", "50"));
    }

    #[test]
    fn children_are_counted_with_their_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (tree, alone) = (descendants(std::process::id()), own(child.id()));
        let sum = used(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree.contains(&child.id()), "{tree:?}");
        assert!(sum.peak_bytes > alone.unwrap().peak_bytes);
        assert_eq!(used(u32::MAX), None);
    }
}
