//! The S3 API of a host that serves.

use std::{net::SocketAddr, sync::Arc};

use lacewing_compat::s3::{S3Bounds, S3Key, S3Keys, S3Listener};
use lacewing_control::{Host, S3Grant};

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
pub(super) fn start(address: SocketAddr, host: &Arc<Host>) -> Result<S3Listener, Error> {
    let keys = Arc::new(HostKeys(host.clone()));
    let listener = S3Listener::start(address, keys, S3Bounds::default()).map_err(|error| {
        Error::System(std::io::Error::new(error.kind(), format!("`--s3 {address}`: {error}")))
    })?;
    host.egress().keep_from(listener.address());
    Ok(listener)
}
