//! Why a function was not built, in sentences that say what would be right.

use std::{io, path::PathBuf};

use super::{FALLBACK_SCRIPT, GUEST_RUSTC, WASM_TARGET};

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The directory is not a Cargo package.
    #[error("{} has no Cargo.toml: `crate` names the directory of a Cargo package", dir.display())]
    NoCargoToml {
        /// The directory.
        dir: PathBuf,
    },
    /// cargo does not understand the package.
    #[error("cargo cannot read {}: {message}", manifest.display())]
    Metadata {
        /// The package's `Cargo.toml`.
        manifest: PathBuf,
        /// The output of cargo.
        message: String,
    },
    /// The `Cargo.toml` is a virtual workspace's.
    #[error(
        "{} is a workspace without a package of its own: name the directory of one of its packages ({packages})",
        manifest.display()
    )]
    NoPackage {
        /// The workspace's `Cargo.toml`.
        manifest: PathBuf,
        /// The names of its packages.
        packages: String,
    },
    /// Nothing in the package can be the function.
    #[error(
        "the package `{package}` has neither a library nor a binary to compile: write the handler in src/lib.rs, or name its file in Cargo.toml:\n\n    [lib]\n    crate-type = [\"cdylib\"]\n    path = \"src/lib.rs\""
    )]
    NoTarget {
        /// The package's name.
        package: String,
    },
    /// Several targets can be the function.
    #[error(
        "the package `{package}` has {}: which one is the function? For a binary, add to its Cargo.toml:\n\n    [package]\n    default-run = \"NAME\"{}",
        candidates(*library, binaries),
        if *library { "\n\nor for the library:\n\n    [lib]\n    crate-type = [\"cdylib\"]" } else { "" },
    )]
    ManyTargets {
        /// The package's name.
        package: String,
        /// There is a library among them.
        library: bool,
        /// The binaries' names.
        binaries: String,
    },
    /// The code is wrong, or a dependency cannot be had.
    #[error("`{package}` did not compile; cargo's messages are above")]
    Compile {
        /// The package's name.
        package: String,
        /// The last of what cargo and rustc said. It was shown already.
        output: String,
    },
    /// cargo succeeded without a component.
    #[error("cargo built `{package}`, but reported no .wasm file")]
    NoComponent {
        /// The package's name.
        package: String,
    },
    /// The user's build command failed.
    #[error("the build command `{command}` failed ({status}); its messages are above")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
    },
    /// The user's build command did not make what it was to make.
    #[error("the build command `{command}` succeeded, but did not make {}, which `output` promises", output.display())]
    NoOutput {
        /// The command line.
        command: String,
        /// The file that is not there.
        output: PathBuf,
    },
    /// A program is not installed.
    #[error("cannot run `{program}`: it is not installed, or not on the PATH{}", advice(program))]
    ProgramNotFound {
        /// The program.
        program: String,
    },
    /// A program does not start.
    #[error("cannot run `{program}`")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// rustc does not answer a question about itself: it is too old for the target, or broken.
    #[error("`{command}` failed: {message}; functions need Rust 1.82 or newer")]
    Rustc {
        /// The command line.
        command: String,
        /// The text of the message.
        message: String,
    },
    /// rustup was run, and the target is still missing.
    #[error(
        "the target {WASM_TARGET} is not installed, and `{command}` did not add it: {message}. Where rustup's server is out of reach, {} helps",
        script()
    )]
    TargetNotAdded {
        /// The command line.
        command: String,
        /// The output of rustup.
        message: String,
    },
    /// The target is missing from a compiler that rustup did not install, or there is no rustup.
    #[error(
        "the target {WASM_TARGET} is not installed in {}, and there is no rustup that could add it: install Rust from https://rustup.rs, or see whether {} helps",
        sysroot.display(),
        script()
    )]
    TargetNotRustups {
        /// Where the compiler's standard libraries are.
        sysroot: PathBuf,
    },
    /// A file of ours cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn advice(program: &str) -> &'static str {
    match program {
        "sh" => "",
        _ => ". Functions are compiled by Rust's own tools: see https://rustup.rs",
    }
}

fn candidates(library: bool, binaries: &str) -> String {
    let library = if library { "a library, and the binaries " } else { "the binaries " };
    format!("{library}{binaries}")
}

fn script() -> String {
    format!(
        "the script {FALLBACK_SCRIPT} in Lacewing's source tree (Debian and its relatives; then set {GUEST_RUSTC}=/usr/bin/rustc)"
    )
}
