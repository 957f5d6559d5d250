//! The bounds on outbound HTTP in a host file, and the grants of manifests that lead beyond them.

use ipnet::IpNet;
use lacewing_base::{
    EgressBounds, GrantHost, HttpGrant, address::Special, egress_bounds::OutOfBounds,
    name::TenantName,
};

use super::raw::RawTenantEgress;
use crate::{Diagnostic, Findings, Function, Written, raw::At, read_network};

/// The bounds of a tenant in a host file, on top of the networks that every tenant may reach.
pub(super) fn read_bounds(
    raw: &RawTenantEgress,
    everyones: &[IpNet],
    findings: &mut Findings,
) -> EgressBounds {
    let networks = [everyones, &read_networks(&raw.networks, findings)].concat();
    let hosts = raw.hosts.as_ref().map(|hosts| read_hosts(&hosts.value, findings));
    EgressBounds { networks: IpNet::aggregate(&networks), hosts }
}

/// The grants of a function that ask for more than these bounds.
pub(super) fn beyond<'a>(
    bounds: &'a EgressBounds,
    function: &'a Function,
) -> impl Iterator<Item = Beyond<'a>> {
    let http = function.grants.http.iter();
    let http = http.filter_map(|grant| check_grant(bounds, grant));
    let networks = function.grants.networks.iter().filter_map(|network| {
        Some(Beyond::Network { network, special: bounds.refuses_within(network)? })
    });
    http.chain(networks)
}

fn check_grant<'a>(bounds: &EgressBounds, grant: &'a Written<HttpGrant>) -> Option<Beyond<'a>> {
    if !bounds.allows(&grant.host) {
        return Some(Beyond::Host { grant });
    }
    let GrantHost::Address(address) = grant.host else { return None };
    Some(Beyond::Address { grant, refused: bounds.refuses(address)? })
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
