//! The validation of routes, grants and CORS.

use std::{collections::HashSet, hash::Hash, net::IpAddr, ops::Range, time::Duration};

use http::{HeaderName, Method};
use ipnet::IpNet;
use lacewing_base::{
    Cors, GrantHost, HostPattern, HttpGrant, Methods, Route, RoutePath,
    cors::{Headers, Origin, Origins},
};

use super::super::explain::nearest;
use super::super::findings::Findings;
use super::super::raw::{RawCors, RawGrants, RawRoute};
use super::super::spanned::At;
use super::super::{Diagnostic, Written, WrittenGrants};

/// The methods that a name may be a misspelling of.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// A route of a function that has `cors`, or has not.
pub(super) fn route(
    raw: &At<RawRoute>,
    has_cors: bool,
    findings: &mut Findings,
) -> Option<Written<Route>> {
    let RawRoute { path, methods, host } = &raw.value;
    // A path that is not in a table has the place of the route.
    let span = if path.span.is_empty() { &raw.span } else { &path.span };
    let path = match path.value.parse::<RoutePath>() {
        Ok(path) => Some(path),
        Err(error) => {
            let mut finding = Diagnostic::error(error.to_string());
            if let Some(help) = error.help {
                finding = finding.help(help);
            }
            findings.at(span, finding);
            None
        }
    };
    let place = findings.place(span);
    let methods = match methods {
        None if has_cors => Some(Methods::Any),
        None => Some(Methods::Every),
        Some(methods) if methods.value.is_empty() => {
            let finding =
                Diagnostic::error("`methods` is empty, so the route would match no request");
            findings.at(&methods.span, finding.help("leave `methods` out for every method"));
            None
        }
        Some(raw) => Some(Methods::Only(read_methods(&raw.value, findings))),
    };
    let host = match host {
        None => Some(None),
        Some(host) => route_host(host, findings).map(Some),
    };
    Some(Written::new(Route { path: path?, methods: methods?, host: host? }, place))
}

fn route_host(raw: &At<String>, findings: &mut Findings) -> Option<HostPattern> {
    match raw.value.parse() {
        Ok(HostPattern::Any) => {
            let finding = Diagnostic::error("`host` takes a host name, not `*`");
            findings
                .at(&raw.span, finding.help("leave `host` out for every host name of the tenant"));
            None
        }
        Ok(host) => Some(host),
        Err(error) => {
            findings.at(&raw.span, Diagnostic::error(error.to_string()));
            None
        }
    }
}

fn read_methods(raw: &[At<String>], findings: &mut Findings) -> Vec<Method> {
    let mut methods = Distinct::default();
    for raw in findings.bounded("methods", raw) {
        let Some(method) = read_method(raw, findings) else { continue };
        if let Some(method) = methods.add(method) {
            findings
                .at(&raw.span, Diagnostic::warning(format!("`{method}` is in the list already")));
        }
    }
    methods.list
}

fn read_method(raw: &At<String>, findings: &mut Findings) -> Option<Method> {
    let name = raw.value.as_str();
    let suggest = |finding: Diagnostic| match nearest(name, METHODS) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding,
    };
    let finding = match Method::from_bytes(name.as_bytes()) {
        Ok(Method::CONNECT) => {
            Diagnostic::error("`CONNECT` asks for a tunnel, and no function can answer it")
        }
        Ok(method) if METHODS.contains(&name) => return Some(method),
        Ok(_) if name == "*" => Diagnostic::error("`*` is not a method")
            .help("leave `methods` out of a route for every method; write them out for CORS"),
        Ok(method) if !name.bytes().any(|byte| byte.is_ascii_lowercase()) => {
            let finding =
                Diagnostic::warning(format!("`{name}` is not a method that HTTP defines"));
            findings.at(&raw.span, suggest(finding));
            return Some(method);
        }
        Ok(_) => {
            let help = format!("write `{}`", name.to_ascii_uppercase());
            let finding =
                Diagnostic::error(format!("{name:?} is not a method: methods are in upper case"));
            if METHODS.contains(&name.to_ascii_uppercase().as_str()) {
                finding.help(help)
            } else {
                suggest(finding)
            }
        }
        Err(_) => suggest(Diagnostic::error(format!("{name:?} is not a method"))),
    };
    findings.at(&raw.span, finding);
    None
}

pub(super) fn grants(raw: &RawGrants, findings: &mut Findings) -> WrittenGrants {
    let mut grants = WrittenGrants::default();
    let mut known = HashSet::new();
    for raw in findings.bounded("http", &raw.http) {
        match raw.value.parse::<HttpGrant>() {
            Ok(grant) if known.contains(&grant) => {
                let message = format!("`{grant}` is granted already");
                findings.at(&raw.span, Diagnostic::warning(message));
            }
            Ok(grant) => {
                known.insert(grant.clone());
                grants.http.push(Written::new(grant, findings.place(&raw.span)));
            }
            Err(error) => {
                let mut finding = Diagnostic::error(error.to_string());
                if let Some(help) = error.help() {
                    finding = finding.help(help);
                }
                findings.at(&raw.span, finding);
            }
        }
    }
    for raw in findings.bounded("networks", &raw.networks) {
        let place = findings.place(&raw.span);
        let network = read_network(raw, findings);
        grants.networks.extend(network.map(|network| Written::new(network, place)));
    }
    if let (true, Some(first)) = (raw.http.is_empty(), raw.networks.first()) {
        let finding = Diagnostic::warning("`networks` has no effect without `http`");
        let help = "`networks` lists private networks that a host in `http` may be in: add the host to `http`";
        findings.at(&first.span, finding.help(help));
    }
    warn_of_localhost(&grants, findings);
    grants
}

/// A network in CIDR notation, of a manifest or a host file.
pub(crate) fn read_network(raw: &At<String>, findings: &mut Findings) -> Option<IpNet> {
    let text = raw.value.as_str();
    let Ok(network) = text.parse::<IpNet>() else {
        let finding = Diagnostic::error(format!(
            "{text:?} is not a network in CIDR notation, such as `10.1.0.0/16`"
        ));
        let finding = match text.parse::<IpAddr>() {
            Ok(address) => {
                finding.help(format!("write `{}` for this one address", IpNet::from(address)))
            }
            Err(_) => finding,
        };
        findings.at(&raw.span, finding);
        return None;
    };
    let trimmed = network.trunc();
    if trimmed != network {
        let message =
            format!("`{network}` has bits set after its prefix, and is taken as `{trimmed}`");
        findings.at(&raw.span, Diagnostic::warning(message).help(format!("write `{trimmed}`")));
    }
    if trimmed.prefix_len() == 0 {
        let message = format!(
            "`{trimmed}` holds every address: the host's own, its neighbours' and the cloud's metadata service's as well"
        );
        findings
            .at(&raw.span, Diagnostic::warning(message).help("write the networks that are needed"));
    }
    Some(trimmed)
}

/// `localhost` is a name, and the address that it resolves to needs its own grant.
fn warn_of_localhost(grants: &WrittenGrants, findings: &mut Findings) {
    let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    if grants
        .networks
        .iter()
        .any(|network| loopback.iter().any(|address| network.contains(address)))
    {
        return;
    }
    let is_localhost = |grant: &&Written<HttpGrant>| matches!(&grant.host, GrantHost::Name(HostPattern::Exact(name)) if &**name == "localhost");
    for grant in grants.http.iter().filter(is_localhost) {
        let message = format!("`{grant}` resolves to a loopback address, which is not granted");
        let by_address = HttpGrant { host: GrantHost::Address(loopback[0]), ..grant.value.clone() };
        let help = format!(
            "add `networks = [\"127.0.0.0/8\", \"::1/128\"]`, or write and call `{by_address}`"
        );
        findings.extend([Diagnostic::warning(message).help(help).at(&grant.place)]);
    }
}

pub(super) fn cors(
    raw: &At<RawCors>,
    origins_are_wrong: bool,
    findings: &mut Findings,
) -> Option<Cors> {
    let RawCors { origins, methods, headers, expose, credentials, max_age_s } = &raw.value;
    let origins = match origins {
        Some(origins) => read_origins(origins, findings),
        None if origins_are_wrong => None,
        None => {
            let finding = Diagnostic::error("`cors` does not say the origins");
            findings.at(
                &raw.span,
                finding.help(
                    "add `origins = [\"https://example.com\"]`, or `origins = [\"*\"]` for all",
                ),
            );
            None
        }
    };
    let methods = match methods {
        None => vec![Method::GET, Method::HEAD, Method::POST],
        Some(methods) => read_methods(&methods.value, findings),
    };
    let headers = read_headers("headers", headers, findings);
    let expose = read_headers("expose", expose, findings);
    let max_age = max_age_s
        .as_ref()
        .and_then(|raw| findings.number("max_age_s", raw, 0..=Cors::MAX_AGE.as_secs()));
    let with_credentials = credentials.as_ref().filter(|credentials| credentials.value);
    if let Some(credentials) = with_credentials {
        let open = [
            ("origins", origins == Some(Origins::Any)),
            ("headers", headers == Headers::Any),
            ("expose", expose == Headers::Any),
        ];
        for (key, _) in open.into_iter().filter(|(_, open)| *open) {
            credentials_with_star(key, &credentials.span, findings);
        }
    }
    let max_age = max_age.map(Duration::from_secs);
    Some(Cors {
        origins: origins?,
        methods,
        headers,
        expose,
        credentials: with_credentials.is_some(),
        max_age,
    })
}

fn credentials_with_star(key: &str, span: &Range<usize>, findings: &mut Findings) {
    let finding = Diagnostic::error(format!(
        "`credentials = true` cannot stand beside `{key} = [\"*\"]`: browsers refuse it"
    ));
    findings.at(span, finding.help(format!("name the {key}, or leave `credentials` out")));
}

fn read_origins(raw: &At<Vec<At<String>>>, findings: &mut Findings) -> Option<Origins> {
    if raw.value.is_empty() {
        let finding = Diagnostic::error("`origins` is empty, so no page could call");
        findings.at(&raw.span, finding.help("name the origins, or leave `cors` out"));
        return None;
    }
    if let Some(star) = raw.value.iter().find(|origin| origin.value == "*") {
        if raw.value.len() > 1 {
            findings.at(
                &star.span,
                Diagnostic::error("`*` means every origin, and must be the only entry"),
            );
        }
        return Some(Origins::Any);
    }
    let mut origins: Distinct<Origin> = Distinct::default();
    for raw in findings.bounded("origins", &raw.value) {
        match raw.value.parse() {
            Ok(origin) => {
                if let Some(origin) = origins.add(origin) {
                    let message = format!("`{origin}` is in the list already");
                    findings.at(&raw.span, Diagnostic::warning(message));
                }
            }
            Err(error) => findings.at(&raw.span, Diagnostic::error(error.to_string())),
        }
    }
    Some(Origins::Only(origins.list))
}

fn read_headers(key: &str, raw: &[At<String>], findings: &mut Findings) -> Headers {
    if let Some(star) = raw.iter().find(|header| header.value == "*") {
        if raw.len() > 1 {
            findings.at(
                &star.span,
                Diagnostic::error("`*` means every header, and must be the only entry"),
            );
        }
        return Headers::Any;
    }
    let mut headers = Distinct::default();
    for raw in findings.bounded(key, raw) {
        match raw.value.parse::<HeaderName>() {
            Ok(header) => {
                if let Some(header) = headers.add(header) {
                    let message = format!("`{header}` is in the list already");
                    findings.at(&raw.span, Diagnostic::warning(message));
                }
            }
            Err(_) => findings
                .at(&raw.span, Diagnostic::error(format!("{:?} is not a header name", raw.value))),
        }
    }
    Headers::Only(headers.list)
}

/// A list in which nothing is twice, in the order of the file.
struct Distinct<T> {
    list: Vec<T>,
    known: HashSet<T>,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Distinct { list: Vec::new(), known: HashSet::new() }
    }
}

impl<T: Clone + Eq + Hash> Distinct<T> {
    /// Adds something, or gives it back if it is there already.
    fn add(&mut self, one: T) -> Option<T> {
        if !self.known.insert(one.clone()) {
            return Some(one);
        }
        self.list.push(one);
        None
    }
}
