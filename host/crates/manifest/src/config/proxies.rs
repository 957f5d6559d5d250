//! The key `trusted_proxies`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Diagnostic, Findings, raw::At};

const KEY: &str = "trusted_proxies";

/// The networks whose clients are believed.
pub(super) fn read(raw: &[At<String>], findings: &mut Findings) -> Vec<IpNet> {
    let networks = findings.bounded(KEY, raw).iter();
    IpNet::aggregate(&networks.filter_map(|raw| read_one(raw, findings)).collect::<Vec<_>>())
}

fn read_one(raw: &At<String>, findings: &mut Findings) -> Option<IpNet> {
    let text = raw.value.as_str();
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let Some(network) = text.parse::<IpNet>().ok().or_else(address) else {
        let message =
            format!("`{KEY}` takes networks such as `10.1.0.0/16`, and addresses, not {text:?}");
        findings.at(&raw.span, Diagnostic::error(message));
        return None;
    };
    if network.prefix_len() == 0 {
        let message = format!("`{network}` in `{KEY}` holds every client: each may say who it is");
        let help = "write the networks of your proxies";
        findings.at(&raw.span, Diagnostic::warning(message).help(help));
    }
    Some(network.trunc())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Hosts;

    #[test]
    fn networks_and_addresses_are_taken_and_nothing_else() {
        let hosts = Hosts::new();
        let proxies = |list: &str| {
            let text = format!("trusted_proxies = [{list}]\ntenants.a.hosts = [\"*\"]\n");
            let (file, _) = hosts.load(&text).unwrap();
            file.settings.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(proxies("").is_empty());
        assert_eq!(proxies("\"10.1.0.0/16\", \"192.0.2.1\""), ["10.1.0.0/16", "192.0.2.1/32"]);
        assert_eq!(proxies("\"10.1.2.3/16\", \"::1\""), ["10.1.0.0/16", "::1/128"]);
        let report =
            hosts.report("trusted_proxies = [\"proxy.test\"]\ntenants.a.hosts = [\"*\"]\n");
        assert!(
            report.starts_with(
                "error: `trusted_proxies` takes networks such as `10.1.0.0/16`, and addresses, not \"proxy.test\"\n"
            ),
            "{report}"
        );
        let report = hosts.report("trusted_proxies = [\"0.0.0.0/0\"]\ntenants.a.hosts = [\"*\"]\n");
        assert!(report.contains("holds every client: each may say who it is"), "{report}");
    }
}
