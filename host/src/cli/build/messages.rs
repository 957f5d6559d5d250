//! The messages of cargo on standard output with `--message-format json-render-diagnostics`: one
//! JSON object a line.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A line that is acted upon.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub(super) enum CargoMessage {
    /// One compiled target of one package; printed for those that were fresh too.
    CompilerArtifact(Artifact),
    /// Everything else: build scripts, the end.
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Artifact {
    package_id: String,
    manifest_path: PathBuf,
    target: ArtifactTarget,
    filenames: Vec<PathBuf>,
    /// Nothing had to be done for it.
    pub(super) fresh: bool,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct ArtifactTarget {
    name: String,
}

impl CargoMessage {
    /// Build scripts and wrappers of rustc may print anything: what is not a message is no error.
    pub(super) fn parse(line: &str) -> CargoMessage {
        serde_json::from_str(line).unwrap_or(CargoMessage::Other)
    }
}

impl Artifact {
    /// The name of the crate.
    pub(super) fn name(&self) -> &str {
        &self.target.name
    }

    /// The id of its package.
    pub(super) fn package(&self) -> &str {
        &self.package_id
    }

    /// The component, if this is what was linked for the package with this `Cargo.toml`.
    pub(super) fn component(&self, manifest: &Path) -> Option<&Path> {
        let wasm = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "wasm");
        (self.manifest_path == manifest)
            .then(|| self.filenames.iter().find(wasm).map(PathBuf::as_path))
            .flatten()
    }

    /// The directory of its package, if that is the user's own and not a registry's.
    pub(super) fn local_dir(&self) -> Option<&Path> {
        self.package_id.contains("path+file://").then(|| self.manifest_path.parent()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Recorded from cargo 1.95.0.
    const DEPENDENCY: &str = r#"{"reason":"compiler-artifact","package_id":"registry+https://github.com/rust-lang/crates.io-index#itoa@1.0.15","manifest_path":"/home/u/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/itoa-1.0.15/Cargo.toml","target":{"kind":["lib"],"crate_types":["lib"],"name":"itoa","src_path":"/home/u/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/itoa-1.0.15/src/lib.rs","edition":"2018","doc":true,"doctest":true,"test":true},"profile":{"opt_level":"3","debuginfo":0,"debug_assertions":false,"overflow_checks":false,"test":false},"features":[],"filenames":["/src/g/target/lacewing/wasm32-wasip2/release/deps/libitoa-0f3a.rlib","/src/g/target/lacewing/wasm32-wasip2/release/deps/libitoa-0f3a.rmeta"],"executable":null,"fresh":true}"#;
    const FUNCTION: &str = r#"{"reason":"compiler-artifact","package_id":"path+file:///src/g#g-x@0.1.0","manifest_path":"/src/g/Cargo.toml","target":{"kind":["cdylib"],"crate_types":["cdylib"],"name":"g_x","src_path":"/src/g/src/lib.rs","edition":"2024","doc":true,"doctest":false,"test":true},"profile":{"opt_level":"3","debuginfo":0,"debug_assertions":false,"overflow_checks":false,"test":false},"features":[],"filenames":["/src/g/target/lacewing/wasm32-wasip2/release/g_x.wasm"],"executable":null,"fresh":false}"#;
    const FINISHED: &str = r#"{"reason":"build-finished","success":true}"#;

    fn artifact(line: &str) -> Artifact {
        match CargoMessage::parse(line) {
            CargoMessage::CompilerArtifact(artifact) => artifact,
            CargoMessage::Other => panic!("not an artifact: {line}"),
        }
    }

    #[test]
    fn the_function_is_the_wasm_file_of_its_own_package() {
        let manifest = Path::new("/src/g/Cargo.toml");
        let function = artifact(FUNCTION);
        let component = Path::new("/src/g/target/lacewing/wasm32-wasip2/release/g_x.wasm");
        assert_eq!(function.component(manifest), Some(component));
        assert_eq!(function.component(Path::new("/src/other/Cargo.toml")), None);
        assert_eq!(artifact(DEPENDENCY).component(manifest), None);
        assert_eq!((function.name(), function.fresh), ("g_x", false));
    }

    #[test]
    fn only_path_packages_are_the_users_own() {
        assert_eq!(artifact(FUNCTION).local_dir(), Some(Path::new("/src/g")));
        assert_eq!(artifact(DEPENDENCY).local_dir(), None);
    }

    #[test]
    fn messages_without_an_artifact_are_passed_over() {
        for line in [FINISHED, "", "note: from a build script", r#"{"reason":"compiler-artifact"}"#]
        {
            assert_eq!(CargoMessage::parse(line), CargoMessage::Other, "{line}");
        }
    }
}
