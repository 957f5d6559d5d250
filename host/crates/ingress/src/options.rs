//! The bounds and times of the ingress.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;
#[cfg(doc)]
use lacewing_manifest::config::MemoryPlan;
use lacewing_manifest::config::{Connections, Settings};

const KIB: usize = 1024;

/// Limits of one listener. They protect the host; what a function may be sent is among its own
/// limits.
///
/// Those that a host file can set are said to be so, and have their defaults in [`Connections`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections open at once: [`Connections::max`]. When all are taken, those of the network
    /// and tenant with the most make room: idle ones first, then the newest whose function
    /// works (`canceled`). Where no one has more than the newcomer, new clients wait in the
    /// kernel's queue, which is bounded. Meanwhile each response asks its client to leave, so that
    /// places come free.
    pub connections: u32,
    /// Bytes of the heap that all connections of the listener may have together: a part of
    /// [`MemoryPlan`]. Connections of the network and tenant that have the most are closed,
    /// those that wait for their client first.
    pub heap_bytes: u64,
    /// From a connection's opening, or from the first byte of a later request, to the end of that
    /// request's head: [`Connections::header_timeout`]. The connection is closed.
    pub header_timeout: Duration,
    /// From the end of a response to the first byte of the next request:
    /// [`Connections::keep_alive`]. The connection is closed; at zero, by the response. An
    /// HTTP/2 connection on which nothing happens, and nothing could unless its client sends
    /// or reads something, is asked to end after between once and twice this time (at zero: a
    /// second), and closed after as long again.
    pub keep_alive: Duration,
    /// Between two pieces of a request's body: [`Connections::body_idle_timeout`]. `bad_request`
    /// (408).
    pub body_idle: Duration,
    /// From the beginning to the end of a request's body where it is buffered. Default 120 s.
    /// `bad_request` (408).
    pub body_read: Duration,
    /// While a client that did not take all that was sent to it takes less than 16 KiB more:
    /// [`Connections::body_idle_timeout`]. The connection is closed.
    pub write_idle: Duration,
    /// Header fields of a request: [`Connections::max_headers`]. `bad_request` (431).
    pub headers: usize,
    /// Bytes of a request's head: [`Connections::max_header_bytes`], at least 8 KiB. `bad_request`
    /// (431).
    pub header_bytes: usize,
    /// Bytes of a request's path and query. Default 8 KiB. `bad_request` (414).
    pub target_bytes: usize,
    /// Requests at once on one HTTP/2 connection: [`Connections::max_streams`]. The client waits;
    /// if it does not, the stream is refused.
    pub streams: u32,
    /// Streams on one HTTP/2 connection that the client has reset and that were not yet looked at.
    /// Default 32. One more, and the connection is closed: nobody who means well resets faster
    /// than we look.
    pub reset_streams: usize,
    /// The networks of proxies that say who asked: [`Settings::trusted_proxies`].
    pub trusted_proxies: Arc<[IpNet]>,
    /// From the beginning of a drain to the closing of idle connections. Default 100 ms. In it a
    /// client that had already sent its next request gets its answer, which asks it to leave.
    pub drain_linger: Duration,
    /// While a client whose request was refused goes on sending it. Default 1 s, and 16 MiB at the
    /// most. Were the connection closed at once, the client's system would throw the refusal
    /// away.
    pub close_linger: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options::with(&Connections::default())
    }
}

impl Options {
    /// The options of a host's settings; the rest by default.
    pub fn of(settings: &Settings) -> Options {
        let listeners = settings.listen.len().max(1) as u64;
        let heap_bytes = settings.memory_plan().connection_bytes / listeners;
        let trusted_proxies = settings.trusted_proxies.as_slice().into();
        Options { heap_bytes, trusted_proxies, ..Options::with(&settings.connections) }
    }

    fn with(connections: &Connections) -> Options {
        let Connections {
            max,
            header_timeout,
            body_idle_timeout,
            keep_alive,
            max_header_bytes,
            max_headers,
            max_streams,
        } = *connections;
        Options {
            connections: max,
            heap_bytes: 64 << 20,
            header_timeout,
            keep_alive,
            body_idle: body_idle_timeout,
            body_read: Duration::from_secs(120),
            write_idle: body_idle_timeout,
            headers: max_headers as usize,
            header_bytes: max_header_bytes as usize,
            target_bytes: 8 * KIB,
            streams: max_streams,
            reset_streams: 32,
            trusted_proxies: Arc::default(),
            drain_linger: Duration::from_millis(100),
            close_linger: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_own_effect() {
        let seconds = Duration::from_secs;
        let mut settings = Settings::new("/cache".into());
        settings.memory_bytes = Some(1 << 30);
        settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        settings.connections = Connections {
            max: 1,
            header_timeout: seconds(2),
            body_idle_timeout: seconds(3),
            keep_alive: seconds(4),
            max_header_bytes: 5000,
            max_headers: 6,
            max_streams: 7,
        };
        let expected = Options {
            connections: 1,
            header_timeout: seconds(2),
            body_idle: seconds(3),
            write_idle: seconds(3),
            keep_alive: seconds(4),
            header_bytes: 5000,
            headers: 6,
            streams: 7,
            heap_bytes: 128 << 20,
            trusted_proxies: Arc::new(["10.0.0.0/8".parse().unwrap()]),
            ..Options::default()
        };
        assert_eq!(Options::of(&settings), expected);
    }
}
