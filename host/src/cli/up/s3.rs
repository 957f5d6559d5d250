//! The S3 API of a host that serves.

use std::{net::SocketAddr, sync::Arc};

use lacewing_compat::s3::{S3Bounds, S3Figures, S3Key, S3Keys, S3Listener};
use lacewing_control::{Host, S3Grant};
use lacewing_manifest::config::Connections;

use crate::cli::Error;

/// The access keys of a host.
struct HostKeys(Arc<Host>);

impl S3Keys for HostKeys {
    fn find(&self, access_key: &str) -> Option<S3Key> {
        let S3Grant { tenant, key, state, declared } = self.0.s3_grant(access_key)?;
        let (secret, buckets, access) = (key.secret, key.buckets, key.access);
        Some(S3Key { secret, tenant, state, declared, buckets, access })
    }
}

/// Serves the buckets of a host.
pub(super) fn start(
    address: SocketAddr,
    host: &Arc<Host>,
    connections: &Connections,
) -> Result<S3Listener, Error> {
    let keys = Arc::new(HostKeys(host.clone()));
    let default = S3Bounds::default();
    let bounds = S3Bounds {
        connections: default.connections.min(connections.max as usize),
        head: connections.header_timeout,
        pause: connections.body_idle_timeout,
        ..default
    };
    let listener = S3Listener::start(address, keys, bounds).map_err(|error| {
        Error::System(std::io::Error::new(error.kind(), format!("`--s3 {address}`: {error}")))
    })?;
    host.egress().keep_from(listener.address());
    watch(host, listener.figures());
    Ok(listener)
}

fn watch(host: &Host, figures: &S3Figures) {
    type Read = fn(&S3Figures) -> u64;
    let metrics = host.metrics();
    let of = |read: Read| {
        let figures = figures.clone();
        move || read(&figures)
    };
    let help = "Open connections of S3 clients";
    metrics.add_gauge("s3_connections_open", help, of(S3Figures::connections));
    let counters: [(&'static str, &'static str, Read); 3] = [
        ("s3_requests_done", "S3 requests that were answered without an error", S3Figures::done),
        ("s3_requests_refused", "S3 requests with a fault of the client (4xx)", S3Figures::refused),
        ("s3_requests_failed", "S3 requests with a fault of the host (5xx)", S3Figures::failed),
    ];
    for (name, help, read) in counters {
        metrics.add_counter(name, help, of(read));
    }
}
