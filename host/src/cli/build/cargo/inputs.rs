//! The inputs of a Cargo build, as cargo knows them: dep-info, which has the inputs of build
//! scripts too, and configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Package, Toolchain};
use crate::cli::{build::messages::Artifact, watch::Sources};

/// The longest dep-info that is read: 16 MiB, some hundred thousand files.
const DEP_INFO_BYTES: u64 = 16 << 20;

/// The inputs of a component that was built: the function's package, every path package that was
/// compiled into it, what configures them, and the files that rustc and build scripts have read.
pub(super) fn of_built(package: &Package, artifacts: &[Artifact], component: &Path) -> Sources {
    let own = package.manifest.parent().map(Path::to_owned);
    let local = artifacts.iter().filter_map(|artifact| artifact.local_dir().map(Path::to_owned));
    let mut sources = of_packages(package, own.into_iter().chain(local));
    sources.files.extend(dep_info(component).unwrap_or_default());
    sources
}

/// The inputs of a package whose build failed: what is known without it.
pub(super) fn of_unbuilt(dir: &Path, toolchain: &Toolchain) -> Sources {
    let Ok(package) = Package::read(dir, toolchain) else { return Sources::of(dir) };
    let local = local_packages(&package, toolchain).unwrap_or_default();
    of_packages(&package, local.into_iter().chain([dir.to_owned()]))
}

fn of_packages(package: &Package, dirs: impl Iterator<Item = PathBuf>) -> Sources {
    let workspace = ["Cargo.toml", "Cargo.lock"].map(|file| package.workspace_root.join(file));
    let mut roots: Vec<PathBuf> = dirs.chain(workspace).collect();
    roots.sort();
    roots.dedup();
    let files = configuration(package);
    Sources { roots, files, ignored: vec![package.target_dir.clone()] }
}

/// The files that may configure cargo and rustup for a package: in its directory and in all above
/// it. <https://doc.rust-lang.org/cargo/reference/config.html#hierarchical-structure>
fn configuration(package: &Package) -> Vec<PathBuf> {
    const NAMES: [&str; 4] =
        [".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain"];
    let Some(dir) = package.manifest.parent() else { return Vec::new() };
    let mut files = Vec::new();
    for above in dir.ancestors() {
        let is_own = above.starts_with(&package.workspace_root);
        let named = NAMES.map(|name| above.join(name));
        // In a workspace they may be made later.
        files.extend(named.into_iter().filter(|file| is_own || file.exists()));
    }
    files
}

/// The files that cargo names beside a component, on one line: `component: file file`, with a
/// backslash before each blank of a name.
fn dep_info(component: &Path) -> Option<Vec<PathBuf>> {
    let file = fs::File::open(component.with_extension("d")).ok()?;
    let text = io::read_to_string(io::Read::take(file, DEP_INFO_BYTES)).ok()?;
    let (_, inputs) = text.lines().next()?.split_once(": ")?;
    Some(names(inputs).into_iter().map(PathBuf::from).collect())
}

fn names(inputs: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut rest = inputs.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, names.last_mut()) {
            ('\\', Some(name)) if rest.next_if_eq(&' ').is_some() => name.push(' '),
            (' ', _) => names.push(String::new()),
            (c, Some(name)) => name.push(c),
            (_, None) => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[derive(Deserialize)]
struct InputMetadata {
    packages: Vec<AnyPackage>,
}

#[derive(Deserialize)]
struct AnyPackage {
    manifest_path: PathBuf,
    /// None for a package of a path.
    source: Option<String>,
}

/// The directories of the path packages that a package may need.
fn local_packages(package: &Package, toolchain: &Toolchain) -> Option<Vec<PathBuf>> {
    let mut command = toolchain.cargo(package.manifest.parent()?);
    command.args(["metadata", "--offline", "--format-version=1", "--manifest-path"]);
    let output = command.arg(&package.manifest).output().ok()?;
    let InputMetadata { packages } = serde_json::from_slice(&output.stdout).ok()?;
    let local = packages.into_iter().filter(|package| package.source.is_none());
    Some(local.filter_map(|package| package.manifest_path.parent().map(Path::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_dep_info_may_hold_blanks() {
        assert_eq!(names("/a/b.rs /a/c\\ d.rs /e\\f"), ["/a/b.rs", "/a/c d.rs", "/e\\f"]);
        assert_eq!(names(""), <[&str; 0]>::default());
    }
}
