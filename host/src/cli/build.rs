//! `lacewing build`: from a function's source to its component. `up` and the tests that need guests
//! come here too.
//!
//! Blocking: it runs compilers. Call it from a thread that may wait.

mod cargo;
mod command;
mod error;
mod messages;
mod package;
mod profile;
mod toolchain;
mod wasm_target;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::{Args, ValueHint};
use lacewing_base::file;
use lacewing_manifest::{App, Source};
use serde_json::json;

pub use error::BuildError;
pub use profile::{INITIAL_HEAP_BYTES, STACK_BYTES};
pub use toolchain::{GUEST_RUSTC, Toolchain};
pub use wasm_target::{FALLBACK_SCRIPT, WASM_TARGET};

use super::{Error, ExitCode, console::Console, load_app, print_result, watch::Sources};

const EXAMPLES: &str = "\
Examples:
  lacewing build                  the app in this directory
  lacewing build examples/hello   another one
  lacewing build --json           the components' paths, for a script

Environment:
  LACEWING_GUEST_RUSTC   the rustc that compiles functions, instead of the one that cargo finds

Functions are compiled for wasm32-wasip2. If this target is missing, rustup adds it.";

/// Arguments of `build`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BuildArgs {
    /// The app: a directory with a lacewing.toml, or such a file.
    #[arg(default_value = ".", value_hint = ValueHint::AnyPath)]
    path: PathBuf,

    /// Print a JSON object with each function's component on standard output.
    #[arg(long)]
    json: bool,
}

/// A function's component, as it is on disk now.
#[derive(Clone, Debug)]
pub struct Built {
    /// The component.
    pub component: PathBuf,
    /// It was there already, and nothing that it is made of had changed.
    pub fresh: bool,
    /// From the first command to the last.
    pub took: Duration,
    /// The files that it is made of.
    pub sources: Sources,
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let here = std::env::current_dir().unwrap_or_default();
        let path = file::plain(&self.component);
        let path = path.strip_prefix(&here).unwrap_or(&path);
        write!(f, "{} in {seconds:.1} s", path.display())
    }
}

pub(super) fn run(args: &BuildArgs, console: &Console) -> Result<ExitCode, Error> {
    let app = load_app(&args.path, console)?;
    let built = build_app(&app, &Toolchain::from_env(), console)?;
    if args.json {
        print_result(&format!("{:#}\n", as_json(&app, &built)))?;
    }
    Ok(ExitCode::Success)
}

fn as_json(app: &App, built: &[Built]) -> serde_json::Value {
    let function = |(function, built): (&lacewing_manifest::Function, &Built)| {
        json!({
            "function": function.name.as_str(),
            "component": built.component,
            "fresh": built.fresh,
            "took_ms": u64::try_from(built.took.as_millis()).unwrap_or(u64::MAX),
        })
    };
    let functions: Vec<_> = app.functions.iter().zip(built).map(function).collect();
    json!({ "app": app.name.as_str(), "functions": functions })
}

/// Builds every function of an app, in its order; a source that several functions share is built
/// once. Says for each one where its component is.
///
/// # Errors
/// That of the first function that is not built.
pub fn build_app(
    app: &App,
    toolchain: &Toolchain,
    console: &Console,
) -> Result<Vec<Built>, BuildError> {
    let mut all: Vec<Built> = Vec::with_capacity(app.functions.len());
    let mut known: HashMap<&Source, usize> = HashMap::new();
    for (index, function) in app.functions.iter().enumerate() {
        if let Some(same) = known.get(&function.source) {
            all.push(all[*same].clone());
            continue;
        }
        known.insert(&function.source, index);
        let built = build_source(&function.source, toolchain, console)?;
        let verb = if built.fresh { "Fresh" } else { "Built" };
        console.status(verb, format_args!("{}: {built}", function.name));
        all.push(built);
    }
    Ok(all)
}

/// The files of an app, for a watch: its manifest, and the files that its builds have reported.
/// Before a first build that succeeded, pass no builds.
pub fn app_sources(app: &App, built: &[Built], toolchain: &Toolchain) -> Sources {
    let mut sources = Sources::default();
    sources.roots.extend(app.manifest.clone());
    sources.files.extend(app.functions.iter().flat_map(|one| one.outside.files.clone()));
    for built in built {
        sources.extend(built.sources.clone());
    }
    if built.is_empty() {
        for function in &app.functions {
            sources.extend(match &function.source {
                Source::Crate { dir } => cargo::unbuilt_sources(dir, toolchain),
                Source::Build { dir, output, .. } => command::sources(dir, &dir.join(output)),
                Source::Component(path) => Sources::of(path),
            });
        }
    }
    sources
}

/// Makes the component of a source.
///
/// # Errors
/// Every [`BuildError`].
pub fn build_source(
    source: &Source,
    toolchain: &Toolchain,
    console: &Console,
) -> Result<Built, BuildError> {
    let started = Instant::now();
    match source {
        Source::Crate { dir } => build_crate(dir, toolchain, console),
        Source::Build { command, output, dir } => build_command(dir, command, output, console),
        Source::Component(path) => Ok(Built {
            component: path.clone(),
            fresh: true,
            took: started.elapsed(),
            sources: Sources::of(path),
        }),
    }
}

/// Builds the function whose Cargo package is in `dir`, for [`WASM_TARGET`], adding the target
/// where it is missing.
///
/// The component is below `lacewing` in cargo's target directory. The compiler's messages go to
/// `console` as they come.
///
/// # Errors
/// Every [`BuildError`] but those of a command.
pub fn build_crate(
    dir: &Path,
    toolchain: &Toolchain,
    console: &Console,
) -> Result<Built, BuildError> {
    cargo::build(dir, toolchain, console)
}

/// Builds a function with the user's own command, run by `sh` in `dir`; `output` is the component's
/// path, from `dir` unless absolute.
///
/// # Errors
/// The command does not start, fails, or leaves no output.
pub fn build_command(
    dir: &Path,
    line: &str,
    output: &Path,
    console: &Console,
) -> Result<Built, BuildError> {
    command::build(dir, line, output, console)
}
