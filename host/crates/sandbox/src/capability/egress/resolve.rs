//! From a name to addresses, once.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
};

use tokio::sync::Semaphore;

/// A look-up under way.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Something that knows the addresses of names. A seam for tests, and for a resolver that caches.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a name, best first.
    fn resolve(&self, name: Arc<str>) -> Lookup;
}

/// Look-ups by the system's resolver at once. Each blocks a thread until the system gives up,
/// however long its asker waits, and other parts of the host need such threads too.
const MAX_LOOKUPS: usize = 64;

/// The system's resolver: `/etc/hosts`, DNS, whatever the machine is set to.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> SystemResolver {
        SystemResolver { lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Arc<str>) -> Lookup {
        let lookups = self.lookups.clone();
        Box::pin(async move {
            let permit = lookups.acquire_owned().await.map_err(io::Error::other)?;
            let lookup = move || {
                let addresses = (&*name, 0).to_socket_addrs();
                drop(permit);
                addresses.map(|addresses| addresses.map(|address| address.ip()).collect())
            };
            tokio::task::spawn_blocking(lookup).await.map_err(io::Error::other)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_this_machine() {
        let addresses = SystemResolver::default().resolve("localhost".into()).await.unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
        assert!(!addresses.is_empty());
    }
}
