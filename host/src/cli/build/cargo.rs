//! A function from a Cargo package.
//!
//! `cargo rustc` for the one target that is the function, in release, in a target directory of its own: cargo
//! holds a lock on a target directory while it builds, and the host's may be held by whoever runs us.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use super::{
    BuildError, Built,
    messages::{Artifact, Message},
    package::{FunctionTarget, Package},
    profile,
    toolchain::{self, Toolchain},
    wasm_target::{self, WASM_TARGET},
};
use crate::cli::{
    console::{Console, Progress},
    watch::Sources,
};

/// How much of the compiler's messages an error keeps: the last 64 KiB. All of them were shown already.
const KEPT_OUTPUT_BYTES: usize = 64 * 1024;

/// Builds the function whose `Cargo.toml` is in `dir`.
pub(super) fn build(
    dir: &Path,
    toolchain: &Toolchain,
    console: &Console,
) -> Result<Built, BuildError> {
    let started = Instant::now();
    let package = Package::read(dir, toolchain)?;
    let target_dir = target_dir(&package);
    wasm_target::ensure(dir, &target_dir, toolchain, console)?;

    let mut cargo = toolchain.cargo(dir);
    cargo.args(arguments(&package, &target_dir, console.color()));
    // Intermediate files stay beside the rest even where the user's configuration moves them.
    cargo.env("CARGO_BUILD_BUILD_DIR", &target_dir);
    let progress = console.progress(format!("building {}", package.name));
    let run = run(&mut cargo, &progress)?;
    drop(progress);
    if !run.success {
        return Err(BuildError::Compile { package: package.name, output: run.stderr });
    }

    let component = run.artifacts.iter().rev().find_map(|artifact| {
        artifact.component(&package.manifest).map(|path| (path.to_owned(), artifact.fresh))
    });
    let (component, fresh) =
        component.ok_or(BuildError::NoComponent { package: package.name.clone() })?;
    let sources = sources(&package, &run.artifacts);
    Ok(Built { component, fresh, took: started.elapsed(), sources })
}

/// Below cargo's own. Where several workspaces share that (`CARGO_TARGET_DIR`), each has its own here: two functions of
/// the same name would overwrite each other's component.
fn target_dir(package: &Package) -> PathBuf {
    let dir = package.target_dir.join("lacewing");
    if package.target_dir.starts_with(&package.workspace_root) {
        return dir;
    }
    let root = package.workspace_root.as_os_str().as_encoded_bytes();
    dir.join(&blake3::hash(root).to_hex()[..16])
}

fn arguments(package: &Package, target_dir: &Path, color: bool) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    add(&["rustc", "--release", "--quiet", "--message-format=json-render-diagnostics"]);
    add(&["--color", if color { "always" } else { "never" }, "--target", WASM_TARGET]);
    for setting in profile::release_settings(&package.workspace_root) {
        add(&["--config", &setting]);
    }
    match &package.target {
        FunctionTarget::Library => add(&["--lib", "--crate-type=cdylib"]),
        FunctionTarget::Binary(name) => add(&["--bin", name]),
    }
    args.extend(["--manifest-path".into(), package.manifest.clone().into()]);
    args.extend(["--target-dir".into(), target_dir.into(), "--".into()]);
    args.extend(profile::layout_flags().map(OsString::from));
    args
}

struct Run {
    success: bool,
    artifacts: Vec<Artifact>,
    stderr: String,
}

/// Runs cargo; shows its messages as they come, and how many crates it has been through.
fn run(cargo: &mut Command, progress: &Progress) -> Result<Run, BuildError> {
    cargo.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = cargo.spawn().map_err(|error| toolchain::cannot_run(cargo, error))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (artifacts, stderr) = std::thread::scope(|scope| {
        let passed_on = scope.spawn(|| pass_on(stderr, progress));
        let artifacts = read_artifacts(stdout, progress);
        // The thread reads lines and prints them; were it to panic, the messages would be lost, not the build.
        (artifacts, passed_on.join().unwrap_or_default())
    });
    let status = child.wait().map_err(|error| toolchain::cannot_run(cargo, error))?;
    Ok(Run { success: status.success(), artifacts, stderr })
}

fn read_artifacts(stdout: Option<impl Read>, progress: &Progress) -> Vec<Artifact> {
    let mut artifacts = Vec::new();
    let mut compiled = 0;
    for line in
        stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()).map_while(Result::ok)
    {
        if let Message::CompilerArtifact(artifact) = Message::parse(&line) {
            compiled += usize::from(!artifact.fresh);
            progress.set(format!("compiled {} ({compiled} crates)", artifact.name()));
            artifacts.push(artifact);
        }
    }
    artifacts
}

/// Shows each line and returns the last of them, up to [`KEPT_OUTPUT_BYTES`].
pub(super) fn pass_on(pipe: Option<impl Read>, progress: &Progress) -> String {
    let mut kept = String::new();
    let Some(pipe) = pipe else { return kept };
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        progress.line(&line);
        kept.push_str(&line);
        kept.push('\n');
        if kept.len() > 2 * KEPT_OUTPUT_BYTES {
            let excess = kept.len() - KEPT_OUTPUT_BYTES;
            kept.drain(..kept.ceil_char_boundary(excess));
        }
    }
    kept
}

/// The function's package, every path package that was compiled into it, and what configures them.
fn sources(package: &Package, artifacts: &[Artifact]) -> Sources {
    let own = package.manifest.parent().map(Path::to_owned);
    let local = artifacts.iter().filter_map(|artifact| artifact.local_dir().map(Path::to_owned));
    let workspace = ["Cargo.toml", "Cargo.lock"].map(|file| package.workspace_root.join(file));
    let mut roots: Vec<PathBuf> = own.into_iter().chain(local).chain(workspace).collect();
    roots.sort();
    roots.dedup();
    Sources { roots, ignored: vec![package.target_dir.clone()] }
}

#[cfg(test)]
mod tests;
