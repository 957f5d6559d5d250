//! The compiler that builds functions, and the environment that it runs in.
//!
//! Lacewing itself is often run by cargo (`cargo run`, `cargo test`), whose variables and whose
//! user's flags are meant for the host. Flags that would reach the functions by accident are taken
//! out here, in one place.

use std::{
    ffi::OsString,
    io,
    path::Path,
    process::{Command, Output, Stdio},
};

use super::BuildError;

/// The compiler for functions, where it is not the host's: a path to a `rustc`.
pub const GUEST_RUSTC: &str = "LACEWING_GUEST_RUSTC";

/// Variables of an outer cargo, or meant for it, that would change or break a function's build. A
/// function's own flags belong into its `.cargo/config.toml`.
const NOT_FOR_GUESTS: [&str; 7] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

/// The programs that build functions.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// `cargo`.
    pub cargo: OsString,
    /// The compiler, where it is not the one that cargo finds by itself.
    pub rustc: Option<OsString>,
    /// `rustup`.
    pub rustup: OsString,
}

impl Toolchain {
    /// The programs on the PATH; the compiler is `LACEWING_GUEST_RUSTC`, else `RUSTC`, else cargo's
    /// choice.
    pub fn from_env() -> Toolchain {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Toolchain {
            cargo: "cargo".into(),
            rustc: set(GUEST_RUSTC).or_else(|| set("RUSTC")),
            rustup: "rustup".into(),
        }
    }

    /// cargo in `dir`, in the environment for functions.
    pub fn cargo(&self, dir: &Path) -> Command {
        let mut command = command(&self.cargo, dir);
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
        command
    }

    pub(super) fn rustc(&self, dir: &Path) -> Command {
        command(self.rustc.as_ref().unwrap_or(&"rustc".into()), dir)
    }

    pub(super) fn rustup(&self, dir: &Path) -> Command {
        command(&self.rustup, dir)
    }
}

/// A program in `dir`, with no standard input, in the environment for functions.
pub(super) fn command(program: &OsString, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    for name in NOT_FOR_GUESTS {
        command.env_remove(name);
    }
    command
}

/// Runs a program to its end.
pub(super) fn output(command: &mut Command) -> Result<Output, BuildError> {
    command.output().map_err(|error| cannot_run(command, error))
}

/// Why a program did not start, with what to do about it.
pub(super) fn cannot_run(command: &Command, error: io::Error) -> BuildError {
    let program = command.get_program().to_string_lossy().into_owned();
    if error.kind() == io::ErrorKind::NotFound {
        BuildError::ProgramNotFound { program }
    } else {
        BuildError::Spawn { program, source: error }
    }
}
