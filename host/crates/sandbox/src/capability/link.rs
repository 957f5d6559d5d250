//! The list of the imports that this host has.

use wasmtime::{Engine, Result, component::Linker};
use wasmtime_wasi::WasiView;
use wasmtime_wasi_http::WasiHttpView;

use crate::engine::Import;

/// The packages that this host has, and the versions of each: minor versions, because WASI keeps `0.2.x` compatible.
const PACKAGES: &[(&str, &[&str])] = &[
    ("wasi:cli", &["0.2", "0.3"]),
    ("wasi:clocks", &["0.2", "0.3"]),
    ("wasi:filesystem", &["0.2", "0.3"]),
    ("wasi:http", &["0.2", "0.3"]),
    ("wasi:io", &["0.2"]),
    ("wasi:random", &["0.2", "0.3"]),
    ("wasi:sockets", &["0.2", "0.3"]),
];

/// A linker with everything that this host has. Whether a guest may use it is decided by what stands behind it: no folder is
/// preopened, no socket may be made, and outbound HTTP goes only where the manifest's grants allow.
///
/// WASI 0.3 is there if the engine has `tasks`.
pub(crate) fn linker<T: WasiView + WasiHttpView + 'static>(
    engine: &Engine,
    tasks: bool,
) -> Result<Linker<T>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    if tasks {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

/// Why this host does not have an import, as the rest of a sentence; `None` if it has the import's package.
pub(crate) fn missing(import: &Import) -> Option<String> {
    let package = import.interface.split('/').next().unwrap_or(&import.interface);
    let Some((_, versions)) = PACKAGES.iter().find(|(name, _)| *name == package) else {
        return Some("which this host does not have".to_owned());
    };
    let version = import.version.as_deref().unwrap_or("none");
    let is_minor =
        |minor: &&str| version.strip_prefix(*minor).is_some_and(|rest| rest.starts_with('.'));
    let known = versions.iter().find(|minor| is_minor(minor));
    if let (Some(minor), true) = (known, version.contains('-')) {
        return Some(candidate(minor));
    }
    known.is_none().then(|| {
        let have: Vec<String> = versions.iter().map(|version| format!("{version}.x")).collect();
        format!("and this host has {package} only in {}", have.join(" and "))
    })
}

/// Why this host does not have a release candidate of a version of WASI, as the rest of a sentence. Candidates differ from each
/// other and from the release.
pub(crate) fn candidate(minor: &str) -> String {
    format!(
        "a release candidate, and this host has WASI {minor} as it was released: build the component with tools of the release (for Spin, spin-sdk 7)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(interface: &str, version: Option<&str>) -> Import {
        Import { interface: interface.into(), version: version.map(Into::into) }
    }

    #[test]
    fn packages_are_known_by_their_minor_version() {
        assert_eq!(missing(&import("wasi:http/types", Some("0.2.6"))), None);
        assert_eq!(missing(&import("wasi:http/types", Some("0.3.0"))), None);
        assert_eq!(
            missing(&import("wasi:http/types", Some("0.3.0-rc-2026-01-06"))),
            Some("a release candidate, and this host has WASI 0.3 as it was released: build the component with tools of the release (for Spin, spin-sdk 7)".into())
        );
        assert_eq!(
            missing(&import("wasi:http/types", Some("0.4.0-rc-1"))),
            Some("and this host has wasi:http only in 0.2.x and 0.3.x".into())
        );
        assert_eq!(
            missing(&import("wasi:io/poll", Some("0.20.0"))),
            Some("and this host has wasi:io only in 0.2.x".into())
        );
        assert_eq!(
            missing(&import("acme:db/sql", None)),
            Some("which this host does not have".into())
        );
    }
}
