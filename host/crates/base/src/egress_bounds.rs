//! The operator's bounds on outbound HTTP: how far a tenant's grants may lead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::{
    GrantHost,
    address::{Special, translated},
};

/// How far the grants of a tenant's manifests may lead. An app that asks for more is refused, and
/// each connection is looked at again when it is made.
///
/// The default is that of a host file that says nothing: every host on the public internet, and no
/// [special](Special) address.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EgressBounds {
    /// The special addresses that may be reached: loopback, private, link-local and so on. Keys:
    /// `egress.networks`, and the tenant's own on top of it. Default none.
    pub networks: Vec<IpNet>,
    /// The hosts that grants may name. Key: `egress.hosts` of the tenant. `None`, the default, is
    /// every host.
    pub hosts: Option<Vec<GrantHost>>,
}

/// An address that must not be reached, and its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    /// The address itself, or the IPv4 address that lies behind it.
    pub address: IpAddr,
    /// Its class.
    pub special: Special,
}

impl EgressBounds {
    /// No bounds: where the developer is the operator.
    pub fn none() -> EgressBounds {
        let networks = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        // A prefix of no bits fits every address.
        let networks = networks.into_iter().filter_map(|address| IpNet::new(address, 0).ok());
        EgressBounds { networks: networks.collect(), hosts: None }
    }

    /// Why an address must not be reached; none if it may be. An address that a translator leads
    /// elsewhere has to be allowed at both ends.
    pub fn refuses(&self, address: IpAddr) -> Option<OutOfBounds> {
        let refused = |address: IpAddr| {
            let address = address.to_canonical();
            let special = Special::of(address)?;
            let is_allowed = self.networks.iter().any(|network| network.contains(&address));
            (!is_allowed).then_some(OutOfBounds { address, special })
        };
        refused(address).or_else(|| refused(IpAddr::V4(translated(address)?)))
    }

    /// The class of some address of a network that must not be reached; none if all of it may be.
    pub fn refuses_within(&self, network: &IpNet) -> Option<Special> {
        let is_allowed = self.networks.iter().any(|allowed| allowed.contains(network));
        Special::within(network).filter(|_| !is_allowed)
    }

    /// Whether a host may be called, as far as its name tells.
    pub fn allows(&self, host: &GrantHost) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|allowed| allowed.covers(host)))
    }
}
