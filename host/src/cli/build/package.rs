//! The Cargo package of a function: where it is, and which of its targets is the function.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{
    BuildError,
    toolchain::{self, Toolchain},
};

/// One package, as `cargo metadata` describes it.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest: PathBuf,
    pub(super) target: FunctionTarget,
    pub(super) workspace_root: PathBuf,
    /// cargo's own; functions are built below it.
    pub(super) target_dir: PathBuf,
}

/// The target that is compiled into the component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FunctionTarget {
    /// The library, as a `cdylib` whether or not its `Cargo.toml` names that crate type.
    Library,
    /// The binary of this name.
    Binary(String),
}

#[derive(Deserialize)]
struct PackageMetadata {
    packages: Vec<RawPackage>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<RawTarget>,
    default_run: Option<String>,
}

#[derive(Deserialize)]
struct RawTarget {
    name: String,
    kind: Vec<String>,
}

impl Package {
    /// Reads the package in `dir`. cargo is asked about the workspace only, so the network is left
    /// alone.
    pub(super) fn read(dir: &Path, toolchain: &Toolchain) -> Result<Package, BuildError> {
        let manifest = dir.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(BuildError::NoCargoToml { dir: dir.to_owned() });
        }
        let manifest = std::path::absolute(&manifest).unwrap_or(manifest);
        let mut command = toolchain.cargo(dir);
        command.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"]);
        command.arg(&manifest);
        let output = toolchain::output(&mut command)?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            let message = message.trim();
            let message = message.strip_prefix("error: ").unwrap_or(message).to_owned();
            return Err(BuildError::Metadata { manifest, message });
        }
        match serde_json::from_slice(&output.stdout) {
            Ok(metadata) => Package::find(metadata, &manifest),
            Err(error) => Err(BuildError::Metadata { manifest, message: error.to_string() }),
        }
    }

    fn find(metadata: PackageMetadata, manifest: &Path) -> Result<Package, BuildError> {
        let PackageMetadata { packages, workspace_root, target_directory } = metadata;
        let same = |path: &Path| same_file(path, manifest);
        let Some(found) = packages.iter().find(|package| same(&package.manifest_path)) else {
            let packages = packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>();
            return Err(BuildError::NoPackage {
                manifest: manifest.to_owned(),
                packages: packages.join(", "),
            });
        };
        Ok(Package {
            name: found.name.clone(),
            manifest: found.manifest_path.clone(),
            target: found.function_target()?,
            workspace_root,
            target_dir: target_directory,
        })
    }
}

/// cargo prints paths as it was given them; links on the way to them may differ.
fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

impl RawPackage {
    /// A `cdylib` is the function; else the binary that is run by default; else the only candidate.
    fn function_target(&self) -> Result<FunctionTarget, BuildError> {
        let is = |target: &RawTarget, kind: &str| target.kind.iter().any(|k| k == kind);
        if self.targets.iter().any(|target| is(target, "cdylib")) {
            return Ok(FunctionTarget::Library);
        }
        if let Some(name) = &self.default_run {
            return Ok(FunctionTarget::Binary(name.clone()));
        }
        let library = self.targets.iter().find(|target| target.is_library());
        let binaries: Vec<&str> = self
            .targets
            .iter()
            .filter(|target| is(target, "bin"))
            .map(|target| target.name.as_str())
            .collect();
        match (library, binaries.as_slice()) {
            (Some(_), []) => Ok(FunctionTarget::Library),
            (None, [name]) => Ok(FunctionTarget::Binary((*name).to_owned())),
            (None, []) => Err(BuildError::NoTarget { package: self.name.clone() }),
            (library, names) => Err(BuildError::ManyTargets {
                package: self.name.clone(),
                library: library.is_some(),
                binaries: names.join(", "),
            }),
        }
    }
}

impl RawTarget {
    fn is_library(&self) -> bool {
        const OTHERS: [&str; 6] = ["bin", "bench", "custom-build", "example", "proc-macro", "test"];
        !self.kind.iter().any(|kind| OTHERS.contains(&kind.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(targets: &[(&str, &str)], default_run: Option<&str>) -> RawPackage {
        let target = |&(name, kind): &(&str, &str)| RawTarget {
            name: name.to_owned(),
            kind: vec![kind.to_owned()],
        };
        RawPackage {
            name: "shop".to_owned(),
            manifest_path: "/src/shop/Cargo.toml".into(),
            targets: targets.iter().map(target).collect(),
            default_run: default_run.map(str::to_owned),
        }
    }

    fn chosen(targets: &[(&str, &str)], default_run: Option<&str>) -> FunctionTarget {
        package(targets, default_run).function_target().unwrap()
    }

    #[test]
    fn the_only_candidate_is_the_function() {
        let test_too = [("shop", "lib"), ("build-script-build", "custom-build"), ("api", "test")];
        assert_eq!(chosen(&test_too, None), FunctionTarget::Library);
        assert_eq!(chosen(&[("shop", "bin")], None), FunctionTarget::Binary("shop".to_owned()));
    }

    #[test]
    fn a_cdylib_comes_before_a_binary() {
        assert_eq!(chosen(&[("shop", "cdylib"), ("seed", "bin")], None), FunctionTarget::Library);
    }

    #[test]
    fn default_run_selects_the_binary() {
        let both = [("shop", "lib"), ("shop", "bin")];
        assert_eq!(chosen(&both, Some("shop")), FunctionTarget::Binary("shop".to_owned()));
        let error = package(&both, None).function_target().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the package `shop` has a library, and the binaries shop: which one is the function? For a binary, add to its Cargo.toml:\n\n    [package]\n    default-run = \"NAME\"\n\nor for the library:\n\n    [lib]\n    crate-type = [\"cdylib\"]"
        );
    }

    #[test]
    fn a_package_without_a_candidate_gets_advice() {
        let error = package(&[("derive", "proc-macro")], None).function_target().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the package `shop` has neither a library nor a binary to compile: write the handler in src/lib.rs, or name its file in Cargo.toml:\n\n    [lib]\n    crate-type = [\"cdylib\"]\n    path = \"src/lib.rs\""
        );
    }

    #[test]
    fn a_workspace_without_a_package_names_its_members() {
        let metadata = PackageMetadata {
            packages: vec![package(&[], None)],
            workspace_root: "/src".into(),
            target_directory: "/src/target".into(),
        };
        let error = Package::find(metadata, Path::new("/src/Cargo.toml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/src/Cargo.toml is a workspace without a package of its own: name the directory of one of its packages (shop)"
        );
    }
}
