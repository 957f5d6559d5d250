//! The operator's bounds on outbound HTTP: how far a manifest's grants may lead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use lacewing_base::{
    GrantHost, HttpGrant,
    address::{Special, translated},
    name::TenantName,
};

use super::raw::RawTenantEgress;
use crate::{Diagnostic, Findings, Function, Written, raw::At, read_network};

/// How far the grants of a tenant's manifests may lead. An app that asks for more is refused, and each connection is
/// looked at again when it is made.
///
/// The default is that of a host file that says nothing: every host on the public internet, and no
/// [special](Special) address.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EgressBounds {
    /// The special addresses that may be reached: loopback, private, link-local and so on. Keys: `egress.networks`, and the
    /// tenant's own on top of it. Default none.
    pub networks: Vec<IpNet>,
    /// The hosts that grants may name. Key: `egress.hosts` of the tenant. `None`, the default, is every host.
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

    /// The bounds of a tenant in a host file, on top of the networks that every tenant may reach.
    pub(super) fn read(
        raw: &RawTenantEgress,
        everyones: &[IpNet],
        findings: &mut Findings,
    ) -> EgressBounds {
        let networks = [everyones, &read_networks(&raw.networks, findings)].concat();
        let hosts = raw.hosts.as_ref().map(|hosts| read_hosts(&hosts.value, findings));
        EgressBounds { networks: IpNet::aggregate(&networks), hosts }
    }

    /// Why an address must not be reached; none if it may be. An address that a translator leads elsewhere has to be allowed at
    /// both ends.
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

    /// The grants of a function that ask for more than these bounds.
    pub(super) fn check<'a>(&'a self, function: &'a Function) -> impl Iterator<Item = Beyond<'a>> {
        let http = function.grants.http.iter();
        let http = http.filter_map(|grant| self.check_grant(grant));
        let networks = function.grants.networks.iter().filter_map(|network| {
            Some(Beyond::Network { network, special: self.refuses_within(network)? })
        });
        http.chain(networks)
    }

    fn check_grant<'a>(&self, grant: &'a Written<HttpGrant>) -> Option<Beyond<'a>> {
        if !self.allows(&grant.host) {
            return Some(Beyond::Host { grant });
        }
        let GrantHost::Address(address) = grant.host else { return None };
        Some(Beyond::Address { grant, refused: self.refuses(address)? })
    }
}

/// A grant that asks for more than the bounds of its tenant.
pub(super) enum Beyond<'a> {
    /// Hosts that are not named.
    Host { grant: &'a Written<HttpGrant> },
    /// An address.
    Address { grant: &'a Written<HttpGrant>, refused: OutOfBounds },
    /// A network.
    Network { network: &'a Written<IpNet>, special: Special },
}

impl Beyond<'_> {
    /// The finding about a grant of this function.
    pub(super) fn finding(&self, tenant: &TenantName, function: &Function) -> Diagnostic {
        let name = &function.name;
        let leads = |what: &str, special: Special, network: &IpNet| {
            let message = format!(
                "{what} of function `{name}` leads to {special}, which tenant `{tenant}` may not reach"
            );
            let help = format!(
                "the operator allows it with `networks = [\"{network}\"]` in `[tenants.{tenant}.egress]` of the host file"
            );
            Diagnostic::error(message).help(help)
        };
        match self {
            Beyond::Host { grant } => {
                let message = format!(
                    "grant `{grant}` of function `{name}` is for hosts that tenant `{tenant}` may not call"
                );
                let host = &grant.host;
                let help = format!(
                    "the operator allows them with `\"{host}\"` among the `hosts` of `[tenants.{tenant}.egress]` in the host file"
                );
                Diagnostic::error(message).at(&grant.place).help(help)
            }
            Beyond::Address { grant, refused: OutOfBounds { address, special } } => {
                let what = format!("grant `{grant}`");
                leads(&what, *special, &IpNet::from(*address)).at(&grant.place)
            }
            Beyond::Network { network, special } => {
                let what = format!("network `{network}`");
                leads(&what, *special, network).at(&network.place)
            }
        }
    }
}

/// The networks of a host file's `networks`.
pub(super) fn read_networks(raw: &[At<String>], findings: &mut Findings) -> Vec<IpNet> {
    let raw = findings.bounded("networks", raw);
    raw.iter().filter_map(|raw| read_network(raw, findings)).collect()
}

fn read_hosts(raw: &[At<String>], findings: &mut Findings) -> Vec<GrantHost> {
    let mut hosts = Vec::new();
    for raw in findings.bounded("hosts", raw) {
        match raw.value.parse::<GrantHost>() {
            Ok(host) => hosts.push(host),
            Err(error) => findings.at(&raw.span, Diagnostic::error(error.to_string())),
        }
    }
    hosts
}
