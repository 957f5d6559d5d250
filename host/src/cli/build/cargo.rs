//! A function from a Cargo package.
//!
//! `cargo rustc` for the one target that is the function, in release, in a target directory of its
//! own: cargo holds a lock on a target directory while it builds, and the host's may be held by
//! whoever runs us.

mod inputs;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    time::Instant,
};

use super::{
    BuildError, Built,
    messages::{Artifact, CargoMessage},
    package::{FunctionTarget, Package},
    profile,
    toolchain::{self, Toolchain},
    wasm_target::{self, WASM_TARGET},
};
use crate::cli::{
    console::{Console, ProgressLine},
    watch::Sources,
};

/// How much of the compiler's messages an error keeps: the last 64 KiB. All of them were shown
/// already.
const KEPT_OUTPUT_BYTES: usize = 64 * 1024;

/// The files that a function whose build failed is made of, as far as they are known without it.
pub(super) fn unbuilt_sources(dir: &Path, toolchain: &Toolchain) -> Sources {
    inputs::of_unbuilt(dir, toolchain)
}

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
    let run = run(&mut cargo, || count_packages(&package, toolchain), &progress)?;
    drop(progress);
    if !run.success {
        return Err(BuildError::Compile { package: package.name, output: run.stderr });
    }

    let component = run.artifacts.iter().rev().find_map(|artifact| {
        artifact.component(&package.manifest).map(|path| (path.to_owned(), artifact.fresh))
    });
    let (component, fresh) =
        component.ok_or(BuildError::NoComponent { package: package.name.clone() })?;
    let sources = inputs::of_built(&package, &run.artifacts, &component);
    Ok(Built { component, fresh, took: started.elapsed(), sources })
}

/// Below cargo's own. Where several workspaces share that (`CARGO_TARGET_DIR`), each has its own
/// here: two functions of the same name would overwrite each other's component.
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
fn run(
    cargo: &mut Command,
    count: impl FnOnce() -> Option<usize> + Send,
    progress: &ProgressLine,
) -> Result<Run, BuildError> {
    cargo.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = cargo.spawn().map_err(|error| toolchain::cannot_run(cargo, error))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (artifacts, stderr) = std::thread::scope(|scope| {
        let passed_on = scope.spawn(|| pass_on(stderr, progress));
        let artifacts = read_artifacts(stdout, progress, |total| {
            scope.spawn(move || total.set(count()));
        });
        // The thread reads lines and prints them; were it to panic, the messages would be lost, not
        // the build.
        (artifacts, passed_on.join().unwrap_or_default())
    });
    let status = child.wait().map_err(|error| toolchain::cannot_run(cargo, error))?;
    Ok(Run { success: status.success(), artifacts, stderr })
}

/// `count_total` is called when cargo has compiled something: from then on its `Cargo.lock` is
/// there.
fn read_artifacts(
    stdout: Option<impl Read>,
    progress: &ProgressLine,
    count_total: impl FnOnce(Arc<OnceLock<Option<usize>>>),
) -> Vec<Artifact> {
    let total = Arc::new(OnceLock::new());
    let mut count_total = Some(count_total);
    let mut artifacts = Vec::new();
    let mut packages = BTreeSet::new();
    let lines = stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
    for line in lines.map_while(Result::ok) {
        let CargoMessage::CompilerArtifact(artifact) = CargoMessage::parse(&line) else { continue };
        if let Some(count) = count_total.take_if(|_| progress.is_shown()) {
            count(total.clone());
        }
        packages.insert(artifact.package().to_owned());
        let of_total = match total.get() {
            Some(Some(total)) if *total >= packages.len() => format!(" of {total}"),
            _ => String::new(),
        };
        if artifact.name() != "build-script-build" {
            let compiled = packages.len();
            progress.set(format!("compiled {}, {compiled}{of_total} crates", artifact.name()));
        }
        artifacts.push(artifact);
    }
    artifacts
}

/// How many packages go into a function, its own among them.
fn count_packages(package: &Package, toolchain: &Toolchain) -> Option<usize> {
    let mut tree = toolchain.cargo(package.manifest.parent()?);
    tree.args(["tree", "--frozen", "--edges=normal,build", "--prefix=none", "--format={p}"]);
    tree.args(["--target", WASM_TARGET, "--manifest-path"]).arg(&package.manifest);
    let output = tree.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    // A package that several others need is marked where it comes again.
    let packages: BTreeSet<&str> =
        text.lines().map(|line| line.trim_end_matches(" (*)")).filter(|l| !l.is_empty()).collect();
    Some(packages.len())
}

/// Shows each line and returns the last of them, up to [`KEPT_OUTPUT_BYTES`].
pub(super) fn pass_on(pipe: Option<impl Read>, progress: &ProgressLine) -> String {
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

#[cfg(test)]
mod tests;
