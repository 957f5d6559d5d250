//! The keys of the admin listener: `admin` and `admin_hosts`.

use std::net::{IpAddr, SocketAddr};

use lacewing_base::HostPattern;

use super::settings;
use crate::{Diagnostic, Findings, raw::At};

/// Where the listener is; none where it is off.
pub(super) fn read_address(raw: &At<String>, findings: &mut Findings) -> Option<SocketAddr> {
    if raw.value == "off" {
        return None;
    }
    let address = settings::read_address("admin", raw, findings)?;
    if !address.ip().to_canonical().is_loopback() {
        let message = format!(
            "`admin` is {address}, and every client that reaches it reads the metrics without a password"
        );
        let help = format!(
            "write `127.0.0.1:{}`, or keep the address in a network of your own",
            address.port()
        );
        findings.at(&raw.span, Diagnostic::warning(message).help(help));
    }
    Some(address)
}

/// A host name under which the listener answers, in lower case.
pub(super) fn read_host(raw: &At<String>, findings: &mut Findings) -> Option<String> {
    let (message, help) = match raw.value.parse::<HostPattern>() {
        Ok(HostPattern::Exact(name)) if is_address(&name) => {
            let message = format!("`admin` answers under every address, `{name}` included");
            findings.at(&raw.span, Diagnostic::warning(message).help("leave it out"));
            return None;
        }
        Ok(HostPattern::Exact(name)) => return Some(name.to_string()),
        Ok(HostPattern::Below(_) | HostPattern::Any) => (
            format!("`admin_hosts` takes whole host names, and no star as in `{}`", raw.value),
            "write each name by which `admin` is reached, such as `metrics.internal`".to_owned(),
        ),
        Err(error) => (
            error.to_string(),
            "`admin_hosts` takes host names such as `metrics.internal`".to_owned(),
        ),
    };
    findings.at(&raw.span, Diagnostic::error(message).help(help));
    None
}

/// Whether a host is an IP address.
fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}
