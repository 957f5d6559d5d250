//! What the ingress may use, and how long it waits.

use std::time::Duration;

use crate::config::Settings;

const KIB: usize = 1024;

/// Limits of one listener. They protect the host; what a function may be sent is among its own limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections open at once. Default 10,000. When all are taken no more are accepted: new clients wait in the
    /// kernel's queue, which is bounded, and each response asks its client to leave, so that places come free.
    pub connections: u32,
    /// From a connection's opening, or the end of its last response, to the end of a request's header; so this is
    /// also how long a connection may idle. Default 30 s. The connection is closed. An HTTP/2 connection is, after
    /// twice this time, if it has no request, or none whose response its client reads.
    pub header_read: Duration,
    /// Between two pieces of a request's body. Default 30 s. `bad_request` (408).
    pub body_idle: Duration,
    /// From the beginning to the end of a request's body where it is buffered. Default 120 s. `bad_request` (408).
    pub body_read: Duration,
    /// While a client's socket takes nothing of what is sent to it. Default 30 s. The connection is closed.
    pub write_idle: Duration,
    /// Bytes of buffered request bodies at once, over all requests. Bodies up to 16 KiB are not counted; the number
    /// of connections bounds them. Default 256 MiB. `load_shed`.
    pub buffered_bytes: usize,
    /// Header fields of a request. Default 100. `bad_request` (431).
    pub headers: usize,
    /// Bytes of a request's line and header. Default 48 KiB, at least 8 KiB. `bad_request` (431).
    pub header_bytes: usize,
    /// Bytes of a request's path and query. Default 8 KiB. `bad_request` (414).
    pub target_bytes: usize,
    /// Requests at once on one HTTP/2 connection. Default 128. The client waits; if it does not, the stream is
    /// refused.
    pub streams: u32,
    /// Streams on one HTTP/2 connection that the client has reset and that were not yet looked at. Default 32.
    /// One more, and the connection is closed: nobody who means well resets faster than we look.
    pub reset_streams: usize,
    /// From the beginning of a drain to the closing of idle connections. Default 100 ms. In it a client that had
    /// already sent its next request gets its answer, which asks it to leave.
    pub drain_linger: Duration,
    /// While a client whose request was refused goes on sending it. Default 1 s, and 16 MiB at the most. Were the
    /// connection closed at once, the client's system would throw the refusal away.
    pub close_linger: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connections: 10_000,
            header_read: Duration::from_secs(30),
            body_idle: Duration::from_secs(30),
            body_read: Duration::from_secs(120),
            write_idle: Duration::from_secs(30),
            buffered_bytes: 256 * KIB * KIB,
            headers: 100,
            header_bytes: 48 * KIB,
            target_bytes: 8 * KIB,
            streams: 128,
            reset_streams: 32,
            drain_linger: Duration::from_millis(100),
            close_linger: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// What a host's settings say; the rest by default.
    pub fn of(settings: &Settings) -> Options {
        let connections = &settings.connections;
        Options {
            connections: connections.max,
            header_read: connections.header_timeout.max(connections.keep_alive),
            body_idle: connections.body_idle_timeout,
            write_idle: connections.body_idle_timeout,
            headers: connections.max_headers as usize,
            header_bytes: connections.max_header_bytes as usize,
            streams: connections.max_streams,
            ..Options::default()
        }
    }
}
