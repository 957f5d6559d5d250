//! A function from a build command of the user's: any language, any tool.

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use super::{
    BuildError, Built,
    cargo::pass_on,
    toolchain::{self, command},
};
use crate::cli::{
    console::{Console, ProgressLine},
    watch::Sources,
};

/// Runs `line` through `sh -c` in `dir`, and looks for `output`, which may be a path from there.
///
/// A command that leaves its output as it was found nothing to do: that is a fresh build, not a
/// failed one.
pub(super) fn build(
    dir: &Path,
    line: &str,
    output: &Path,
    console: &Console,
) -> Result<Built, BuildError> {
    let started = Instant::now();
    let component = dir.join(output);
    let before = stamp(&component);
    let mut shell = command(&"sh".into(), dir);
    shell.args(["-c", line]);
    let progress = console.progress(format!("running {line}"));
    let status = run(&mut shell, &progress)?;
    drop(progress);
    if !status.success() {
        return Err(BuildError::Command { command: line.to_owned(), status: status.to_string() });
    }
    if !component.is_file() {
        return Err(BuildError::NoOutput { command: line.to_owned(), output: component });
    }
    let fresh = before.is_some() && before == stamp(&component);
    let sources = sources(dir, &component);
    Ok(Built { component, fresh, took: started.elapsed(), sources })
}

/// The directory that the command runs in, but for what it makes.
pub(super) fn sources(dir: &Path, component: &Path) -> Sources {
    Sources { roots: vec![dir.to_owned()], ignored: ignored(dir, component), ..Sources::default() }
}

/// The fingerprint that tells one version of a file from the next.
fn stamp(path: &Path) -> Option<(u64, Option<std::time::SystemTime>)> {
    let stamp = |metadata: Metadata| (metadata.len(), metadata.modified().ok());
    path.metadata().ok().map(stamp)
}

/// Both of its outputs are shown on standard error: standard output is the command's own.
fn run(
    shell: &mut Command,
    progress: &ProgressLine,
) -> Result<std::process::ExitStatus, BuildError> {
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = shell.spawn().map_err(|error| toolchain::cannot_run(shell, error))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(|| pass_on(stdout, progress));
        pass_on(stderr, progress);
    });
    child.wait().map_err(|error| toolchain::cannot_run(shell, error))
}

/// The command's own files must not set off the next run: its output, and the directory that it is
/// in, unless the sources are in there too.
fn ignored(dir: &Path, component: &Path) -> Vec<PathBuf> {
    let parent = component.parent().filter(|parent| !dir.starts_with(parent));
    std::iter::once(component).chain(parent).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_dir(dir: &Path, line: &str) -> Result<Built, BuildError> {
        build(dir, line, Path::new("dist/x.wasm"), &Console::silent())
    }

    #[test]
    fn the_output_is_rebuilt_then_fresh() {
        let dir = tempfile::tempdir().unwrap();
        let line = "mkdir -p dist; test -e dist/x.wasm || echo x > dist/x.wasm";
        let first = in_dir(dir.path(), line).unwrap();
        assert_eq!((first.component, first.fresh), (dir.path().join("dist/x.wasm"), false));
        assert_eq!(first.sources.roots, [dir.path()]);
        assert_eq!(
            first.sources.ignored,
            [dir.path().join("dist/x.wasm"), dir.path().join("dist")]
        );
        assert!(in_dir(dir.path(), line).unwrap().fresh);
    }

    #[test]
    fn a_command_that_fails_is_named_with_its_status() {
        let dir = tempfile::tempdir().unwrap();
        let error = in_dir(dir.path(), "echo wrong >&2; exit 7").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the build command `echo wrong >&2; exit 7` failed (exit status: 7); its messages are above"
        );
    }

    #[test]
    fn a_command_without_output_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = in_dir(dir.path(), "true").unwrap_err();
        let output = dir.path().join("dist/x.wasm");
        assert_eq!(
            error.to_string(),
            format!(
                "the build command `true` succeeded, but did not make {}, which `output` promises",
                output.display()
            )
        );
    }

    #[test]
    fn a_command_sees_no_flags_that_are_meant_for_the_host() {
        let dir = tempfile::tempdir().unwrap();
        // cargo sets CARGO_MANIFEST_DIR for every test that it runs.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        in_dir(dir.path(), "mkdir dist; echo \"[$CARGO_MANIFEST_DIR]\" > dist/x.wasm").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("dist/x.wasm")).unwrap(), "[]\n");
    }
}
