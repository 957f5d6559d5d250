//! The file descriptors that a host may have, and how many of them are left for clients'
//! connections.
//!
//! Connections, resident programs and outbound connections take one each. Were all of them taken by
//! connections, which are the clients' to open, nothing else could be opened: no artifact, no
//! compiler, and no connection to the admin address.

use lacewing_manifest::config::Settings;
use rustix::process::{Resource, getrlimit, setrlimit};

/// For what is there whatever the settings say: listeners, event loops, the admin address's
/// connections, compilers' pipes, a deploy's files.
const OTHERS: u64 = 256;

/// Outbound connections that a host may have.
const OUTBOUND: u64 = 1024;

/// The databases of tenants' state that are open, with the connections that each keeps.
const STATE: u64 = 64 * 12;

/// By default a process may have 1,024 where the system lets it ask for more. Asks for all that
/// there are, and gives how many that is; none where there is no limit.
pub(super) fn raise_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current
}

/// The connections that each listener may have open at once: as many as the settings say, or as the
/// limit leaves. Says so, where that is fewer.
pub(super) fn connections(settings: &Settings, limit: Option<u64>) -> u32 {
    let asked = settings.connections.max;
    let left = limit.map_or(asked, |limit| asked.min(left(settings, limit)));
    if left < asked {
        tracing::warn!(
            limit,
            asked,
            connections = left,
            "the limit on open files (RLIMIT_NOFILE) is too low for `connections.max`; accepting fewer connections at once: raise it with `ulimit -n`, or with `LimitNOFILE=` in a unit of systemd"
        );
    }
    left
}

/// The descriptors that a limit leaves for each listener: half of it at least, over all, whatever
/// else there is.
fn left(settings: &Settings, limit: u64) -> u32 {
    let else_taken = OTHERS + OUTBOUND + STATE + u64::from(settings.residency.max_functions);
    let left = limit.saturating_sub(else_taken.min(limit / 2));
    let each = left / u64::try_from(settings.listen.len()).unwrap_or(1).max(1);
    u32::try_from(each).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        let mut settings = Settings::new("".into());
        assert_eq!(connections(&settings, None), 10_000);
        assert_eq!(connections(&settings, Some(1 << 20)), 10_000);
        assert_eq!(connections(&settings, Some(13_048)), 10_000);
        assert_eq!(connections(&settings, Some(13_047)), 9_999);
        assert_eq!(connections(&settings, Some(1024)), 512);
        assert_eq!(connections(&settings, Some(1)), 1);
        settings.listen.push("[::1]:80".parse().unwrap());
        assert_eq!(connections(&settings, Some(1024)), 256);
        settings.residency.max_functions = 10;
        settings.connections.max = 20_000;
        assert_eq!(connections(&settings, Some(20_000)), (20_000 - 2058) / 2);
    }
}
