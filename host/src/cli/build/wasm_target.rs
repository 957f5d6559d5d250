//! The standard library of `wasm32-wasip2`, for the rustc that cargo will use: there, or added.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    BuildError,
    toolchain::{self, Toolchain},
};
use crate::cli::console::Console;

/// The target that functions are compiled for.
pub const WASM_TARGET: &str = "wasm32-wasip2";

/// The script for where rustup cannot help, in the source tree.
pub const FALLBACK_SCRIPT: &str = ".ci/wasm-target-from-debian";

/// Makes sure that the compiler that builds the crate in `dir` can compile for [`WASM_TARGET`].
///
/// Does nothing where it can. Otherwise says what is done and why, and has rustup do it. Builds
/// that share `lock_dir` take turns, in this process and in others.
pub(super) fn ensure(
    dir: &Path,
    lock_dir: &Path,
    toolchain: &Toolchain,
    console: &Console,
) -> Result<(), BuildError> {
    if has_std(&libdir(dir, toolchain)?) {
        return Ok(());
    }
    let _turn = lock(lock_dir)?;
    let libdir = libdir(dir, toolchain)?;
    if has_std(&libdir) { Ok(()) } else { add(dir, &libdir, toolchain, console) }
}

fn lock(dir: &Path) -> Result<std::fs::File, BuildError> {
    let path = dir.join(".wasm-target.lock");
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::File::create(&path))
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|source| BuildError::Write { path, source })
}

fn add(
    dir: &Path,
    libdir: &Path,
    toolchain: &Toolchain,
    console: &Console,
) -> Result<(), BuildError> {
    let sysroot = PathBuf::from(ask_rustc(dir, toolchain, &["--print", "sysroot"])?);
    let Some(name) = rustup_toolchain(&sysroot) else {
        return Err(BuildError::TargetNotRustups { sysroot });
    };
    let mut rustup = toolchain.rustup(dir);
    rustup.args(["target", "add", "--toolchain", name, WASM_TARGET]);
    let command = display(&rustup);
    console.status(
        "Adding",
        format_args!(
            "the target {WASM_TARGET}, which functions are compiled for and {name} does not have: `{command}`"
        ),
    );
    let progress = console.progress(format!("downloading the standard library for {WASM_TARGET}"));
    let output = toolchain::output(&mut rustup).map_err(|error| match error {
        BuildError::ProgramNotFound { .. } => {
            BuildError::TargetNotRustups { sysroot: sysroot.clone() }
        }
        other => other,
    })?;
    drop(progress);
    // The file's presence now decides: another process may have been quicker.
    if has_std(libdir) {
        return Ok(());
    }
    Err(BuildError::TargetNotAdded { command, message: last_words(&output.stderr) })
}

/// The name of rustup's toolchain with this sysroot: `~/.rustup/toolchains/NAME`.
fn rustup_toolchain(sysroot: &Path) -> Option<&str> {
    let parent = sysroot.parent()?.file_name()?;
    if parent == "toolchains" { sysroot.file_name().and_then(OsStr::to_str) } else { None }
}

fn libdir(dir: &Path, toolchain: &Toolchain) -> Result<PathBuf, BuildError> {
    ask_rustc(dir, toolchain, &["--print", "target-libdir", "--target", WASM_TARGET])
        .map(PathBuf::from)
}

fn ask_rustc(dir: &Path, toolchain: &Toolchain, args: &[&str]) -> Result<String, BuildError> {
    let mut rustc = toolchain.rustc(dir);
    let output = toolchain::output(rustc.args(args))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(BuildError::Rustc { command: display(&rustc), message: last_words(&output.stderr) })
}

fn has_std(libdir: &Path) -> bool {
    let is_std = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    };
    std::fs::read_dir(libdir).is_ok_and(|entries| entries.flatten().any(is_std))
}

fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The last words of a program that gave up: its first line that is an error, else its last one.
fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find(|line| line.starts_with("error"));
    let said = error.or_else(|| lines.next_back()).unwrap_or("it said nothing");
    said.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests;
