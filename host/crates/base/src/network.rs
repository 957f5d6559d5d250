//! The network of a client: the unit of shares between clients without a name.

use std::net::{IpAddr, Ipv6Addr};

/// The address of an IPv4 client, or the /64 of an IPv6 client, which has as many addresses of it
/// as it likes.
pub fn client_network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}
