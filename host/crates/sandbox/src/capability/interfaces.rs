//! The interfaces of all capabilities, by their names and versions.

use super::extension::Capability;
use crate::engine::Import;

/// A package or an interface, with the minor versions of it that this host has: WASI keeps `0.2.x`
/// compatible. A draft, such as `0.2.0-draft2`, is one version.
pub(crate) type Versions = (&'static str, &'static [&'static str]);

/// The interfaces of one capability.
pub(super) struct OfCapability {
    packages: &'static [Versions],
    during_init: &'static [Versions],
    why_not_during_init: fn(&str) -> &'static str,
}

pub(super) const fn of<C: Capability>() -> OfCapability {
    OfCapability {
        packages: C::PACKAGES,
        during_init: C::DURING_INIT,
        why_not_during_init: C::why_not_during_init,
    }
}

/// The interfaces of a list of capabilities.
pub(crate) struct Interfaces(&'static [OfCapability]);

impl Interfaces {
    pub(super) const fn new(capabilities: &'static [OfCapability]) -> Interfaces {
        Interfaces(capabilities)
    }

    /// Why this host does not have an import, as the rest of a sentence; `None` if it has the
    /// import's package.
    pub(crate) fn missing(&self, import: &Import) -> Option<String> {
        let package = package_of(&import.interface);
        let mut packages = self.0.iter().flat_map(|capability| capability.packages);
        let has = |(name, _): &&Versions| *name == package || *name == &*import.interface;
        let Some((_, versions)) = packages.find(has) else {
            return Some(match instead(package, &import.interface) {
                Some(instead) => format!("which this host does not have: {instead}"),
                None => "which this host does not have".to_owned(),
            });
        };
        let version = import.version.as_deref().unwrap_or("none");
        if versions.contains(&version) {
            return None;
        }
        let known = versions.iter().find(|minor| is_minor(minor, version));
        if let (Some(minor), true) = (known, version.contains('-')) {
            return Some(candidate(minor));
        }
        known.is_none().then(|| {
            let have = versions.iter().map(|version| match version.contains('-') {
                true => (*version).to_owned(),
                false => format!("{version}.x"),
            });
            let have: Vec<String> = have.collect();
            format!("and this host has {package} only in {}", have.join(" and "))
        })
    }

    /// Whether an init may call the interface of this name and version.
    pub(crate) fn is_for_init(&self, name: &str) -> bool {
        let Some((interface, version)) = name.split_once('@') else { return false };
        let mut allowed = self.0.iter().flat_map(|capability| capability.during_init);
        allowed.any(|(known, versions)| {
            *known == interface && versions.iter().any(|minor| is_minor(minor, version))
        }) && !version.contains('-')
    }

    /// The reason for which an init may not call an interface.
    pub(crate) fn why_not_during_init(&self, interface: &str) -> &'static str {
        let package = package_of(interface);
        let has = |capability: &&OfCapability| {
            capability.packages.iter().any(|(name, _)| package_of(name) == package)
        };
        match self.0.iter().find(has) {
            Some(capability) => (capability.why_not_during_init)(package),
            None => "it means nothing before the function is invoked",
        }
    }
}

/// What a component uses instead of an interface of Spin that this host does not have, as a
/// sentence.
fn instead(package: &str, interface: &str) -> Option<&'static str> {
    let name = match package {
        "fermyon:spin" => interface.split_once('/')?.1,
        _ => package.strip_prefix("spin:")?,
    };
    Some(match name {
        "redis" => "it connects to no Redis server. Use a kv store of the app (Spin's key-value)",
        "mqtt" => "it connects to no MQTT broker. Send messages by outbound HTTP (wasi:http)",
        "postgres" | "mysql" => {
            "it connects to no SQL server. Use a kv store of the app (Spin's key-value), or the server's HTTP interface (wasi:http)"
        }
        "llm" => "it runs no language models. Call a model's server by outbound HTTP (wasi:http)",
        _ => return None,
    })
}

/// The package of an interface, which may have a version.
fn package_of(interface: &str) -> &str {
    interface.split(['/', '@']).next().unwrap_or(interface)
}

fn is_minor(minor: &str, version: &str) -> bool {
    version.strip_prefix(minor).is_some_and(|rest| rest.starts_with('.'))
}

/// Why this host does not have a release candidate of a version of WASI, as the rest of a sentence.
/// Candidates differ from each other and from the release.
pub(crate) fn candidate(minor: &str) -> String {
    format!(
        "a release candidate, and this host has WASI {minor} as it was released: build the component with tools of the release (for Spin, spin-sdk 7)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::INTERFACES;

    fn import(interface: &str, version: Option<&str>) -> Import {
        Import { interface: interface.into(), version: version.map(Into::into) }
    }

    #[test]
    fn packages_are_known_by_their_minor_version() {
        assert_eq!(INTERFACES.missing(&import("wasi:http/types", Some("0.2.6"))), None);
        assert_eq!(INTERFACES.missing(&import("wasi:http/types", Some("0.3.0"))), None);
        assert_eq!(
            INTERFACES.missing(&import("wasi:http/types", Some("0.3.0-rc-2026-01-06"))),
            Some("a release candidate, and this host has WASI 0.3 as it was released: build the component with tools of the release (for Spin, spin-sdk 7)".into())
        );
        assert_eq!(
            INTERFACES.missing(&import("wasi:http/types", Some("0.4.0-rc-1"))),
            Some("and this host has wasi:http only in 0.2.x and 0.3.x".into())
        );
        assert_eq!(
            INTERFACES.missing(&import("wasi:io/poll", Some("0.20.0"))),
            Some("and this host has wasi:io only in 0.2.x".into())
        );
        assert_eq!(INTERFACES.missing(&import("wasi:keyvalue/store", Some("0.2.0-draft2"))), None);
        assert_eq!(
            INTERFACES.missing(&import("wasi:keyvalue/store", Some("0.2.0-draft3"))),
            Some("and this host has wasi:keyvalue only in 0.2.0-draft and 0.2.0-draft2".into())
        );
        assert_eq!(INTERFACES.missing(&import("fermyon:spin/key-value", Some("2.0.0"))), None);
        assert_eq!(
            INTERFACES.missing(&import("acme:spin/redis", Some("2.0.0"))),
            Some("which this host does not have".into())
        );
        assert_eq!(INTERFACES.missing(&import("spin:key-value/key-value", Some("3.0.0"))), None);
        assert_eq!(
            INTERFACES.missing(&import("acme:db/sql", None)),
            Some("which this host does not have".into())
        );
    }

    #[test]
    fn servers_that_spin_connects_to_have_a_sentence_each() {
        for (interfaces, sentence) in [
            (
                ["fermyon:spin/redis", "spin:redis/redis"],
                "it connects to no Redis server. Use a kv store of the app (Spin's key-value)",
            ),
            (
                ["fermyon:spin/mqtt", "spin:mqtt/mqtt"],
                "it connects to no MQTT broker. Send messages by outbound HTTP (wasi:http)",
            ),
            (
                ["fermyon:spin/postgres", "spin:postgres/postgres"],
                "it connects to no SQL server. Use a kv store of the app (Spin's key-value), or the server's HTTP interface (wasi:http)",
            ),
            (
                ["fermyon:spin/mysql", "spin:mysql/mysql"],
                "it connects to no SQL server. Use a kv store of the app (Spin's key-value), or the server's HTTP interface (wasi:http)",
            ),
            (
                ["fermyon:spin/llm", "spin:llm/llm"],
                "it runs no language models. Call a model's server by outbound HTTP (wasi:http)",
            ),
        ] {
            for interface in interfaces {
                let missing = INTERFACES.missing(&import(interface, Some("2.0.0")));
                let expected = format!("which this host does not have: {sentence}");
                assert_eq!(missing, Some(expected), "{interface}");
            }
        }
    }

    #[test]
    fn imports_that_depend_on_time_and_place_are_not_for_an_init() {
        for name in ["wasi:cli/stdout@0.2.6", "wasi:random/insecure-seed@0.3.0"] {
            assert!(INTERFACES.is_for_init(name), "{name}");
        }
        for name in [
            "wasi:random/random@0.2.6",
            "wasi:random/insecure@0.2.6",
            "wasi:clocks/wall-clock@0.2.6",
            "wasi:cli/environment@0.3.0-rc-2026-01-06",
            "wasi:cli/environment@0.20.0",
            "wasi:cli/environment",
        ] {
            assert!(!INTERFACES.is_for_init(name), "{name}");
        }
    }
}
