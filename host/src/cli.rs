//! The command line: arguments -> command -> exit code.
//!
//! One file per command. A command returns [`Result<ExitCode, Error>`]; what it was asked for goes
//! to standard output, everything else (progress, warnings, the error) to standard error.

pub mod bench;
pub mod bucket;
pub mod build;
pub mod check;
mod completions;
pub mod console;
pub mod environment;
pub mod invoke;
pub mod kv;
pub mod new;
mod opened;
mod place;
mod project;
mod routed;
pub mod s3;
mod schema;
pub mod secret;
pub mod state;
mod tenant;
pub mod up;
pub mod watch;

use std::{ffi::OsString, io, io::Write, path::Path};

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use lacewing_control::{ClientError, DeployError, HostError};
use lacewing_ingress::ListenError;
use lacewing_manifest::{App, Diagnostic};
use lacewing_sandbox::engine;
use lacewing_telemetry::{admin::AdminError, logs::LogsError, messages::json_line};

use console::Console;

/// The status with which the process ends. The numbers are a promise: scripts read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The command did what it was asked for.
    Success = 0,
    /// It could not, for a reason that none of the others names.
    Failure = 1,
    /// The arguments are wrong.
    Usage = 2,
    /// A function was not built: compile error, build command, compiler or Wasm target missing.
    Build = 3,
    /// A manifest, a host file or a component is wrong.
    Invalid = 4,
    /// `invoke` ran the function, and its outcome is not `ok`.
    Outcome = 5,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        (code as u8).into()
    }
}

/// The reason for which a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `new` did not make the function.
    #[error(transparent)]
    New(#[from] new::NewError),
    /// A manifest is wrong; the findings, warnings among them.
    #[error("the manifest is wrong")]
    Manifest(Vec<Diagnostic>),
    /// A function was not built.
    #[error(transparent)]
    Build(#[from] build::BuildError),
    /// Components, or routes, that cannot be served.
    #[error("nothing was deployed")]
    Deploy(Vec<DeployError>),
    /// A host file of which no app can be served. The reasons are reported before.
    #[error("every app of the host file is refused: nothing is left to serve")]
    EveryAppRefused,
    /// The engine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The admin's port.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The log.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// The file system's watch.
    #[error(transparent)]
    Watch(#[from] watch::WatchError),
    /// The runtime or its signals.
    #[error("the system refuses a resource that serving needs")]
    System(#[source] io::Error),
    /// The named function is not in the app.
    #[error("{0}")]
    NotThere(String),
    /// A file, or standard input, that the command was to read or write.
    #[error(transparent)]
    Input(io::Error),
    /// The app that `bench` was to measure cannot be measured.
    #[error("cannot send load to {target}")]
    Load {
        /// Its URL.
        target: String,
        /// Why not.
        source: io::Error,
    },
    /// The state directory.
    #[error(transparent)]
    Directory(#[from] lacewing_store::embedded::DirectoryError),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] lacewing_store::secrets::SecretError),
    /// An access key for S3.
    #[error(transparent)]
    S3Key(#[from] lacewing_control::S3KeyError),
    /// An entry, or the state as a whole.
    #[error("{0}")]
    State(String),
    /// A running host did not do what it was asked for.
    #[error(transparent)]
    Running(#[from] ClientError),
    /// The result could not be written.
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
}

impl Error {
    fn load(target: &impl std::fmt::Display, source: io::Error) -> Error {
        Error::Load { target: target.to_string(), source }
    }

    /// Tells the user, each finding on its own.
    fn report(&self, console: &Console) {
        match self {
            Error::Manifest(findings) => findings.iter().for_each(|found| console.finding(found)),
            Error::Deploy(errors) => errors.iter().for_each(|error| console.error(error)),
            other => console.error(other),
        }
    }

    /// The exit code that stands for this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Manifest(_) | Error::Deploy(_) | Error::EveryAppRefused => ExitCode::Invalid,
            Error::New(error) => error.exit_code(),
            Error::Build(_) => ExitCode::Build,
            Error::NotThere(_) => ExitCode::Usage,
            Error::Host(_)
            | Error::Listen(_)
            | Error::Admin(_)
            | Error::Logs(_)
            | Error::Watch(_)
            | Error::System(_)
            | Error::Input(_)
            | Error::Load { .. }
            | Error::Directory(_)
            | Error::Secret(_)
            | Error::S3Key(_)
            | Error::State(_)
            | Error::Running(_)
            | Error::Stdout(_) => ExitCode::Failure,
        }
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  failure
  2  wrong arguments
  3  a function was not built
  4  a manifest, a host file or a component is wrong
  5  invoke: the function's outcome is not ok

Start here:
  lacewing new hello && cd hello && lacewing up";

/// Edge functions, each invocation in its own WebAssembly sandbox.
#[derive(Debug, Parser)]
#[command(name = "lacewing", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Colour in messages. By default NO_COLOR and the kind of output decide.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build an app's functions and serve them.
    Up(up::UpArgs),
    /// Send one request, event or call to a function and print what comes back.
    Invoke(invoke::InvokeArgs),
    /// Check an app's manifest and components, or a host file's, against each other.
    Check(check::CheckArgs),
    /// Measure a function's cold starts and throughput, or put a URL under load.
    Bench(bench::BenchArgs),
    /// Make a new function from a template.
    New(new::NewArgs),
    /// Compile an app's functions.
    Build(build::BuildArgs),
    /// Read and write entries of key-value stores.
    Kv(kv::KvArgs),
    /// Read and write objects of buckets.
    Bucket(bucket::BucketArgs),
    /// Set, list and remove the secrets of an app.
    Secret(secret::SecretArgs),
    /// Make, list and remove the access keys of the S3 API.
    S3(s3::S3Args),
    /// Check or copy a state directory.
    State(state::StateArgs),
    /// Print a shell's completions.
    Completions(completions::CompletionsArgs),
    /// Print the JSON Schema of lacewing.toml, or of a host file, for editors.
    Schema(schema::SchemaArgs),
}

impl Command {
    fn run(self, console: &Console) -> Result<ExitCode, Error> {
        match self {
            Command::Up(args) => Ok(up::run(&args, console)),
            Command::Invoke(args) => invoke::run(&args, console),
            Command::Check(args) => check::run(&args, console),
            Command::Bench(args) => bench::run(&args, console),
            Command::New(args) => new::run(&args, console),
            Command::Build(args) => build::run(&args, console),
            Command::Kv(args) => kv::run(&args, console),
            Command::Bucket(args) => bucket::run(&args, console),
            Command::Secret(args) => secret::run(&args, console),
            Command::S3(args) => s3::run(&args, console),
            Command::State(args) => state::run(&args, console),
            Command::Completions(args) => completions::run(&args),
            Command::Schema(args) => schema::run(&args),
        }
    }
}

/// Parses the arguments (the program's name first), runs the command, reports its error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|argument| argument == engine::COMPILER_ARGUMENT) {
        return compile();
    }
    let mut command = environment::without_empty(Cli::command()).color(color_before_parsing(&args));
    let parsed = command
        .try_get_matches_from_mut(&args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| environment::naming_variable(error, &command, &args));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error, &args),
    };
    let console = Console::for_stderr(cli.color);
    cli.command.run(&console).unwrap_or_else(|error| {
        error.report(&console);
        error.exit_code()
    })
}

/// The command with which the host starts itself, to compile a component in a process of its own.
fn compile() -> ExitCode {
    match engine::compiler_child() {
        Ok(()) => ExitCode::Success,
        Err(error) => {
            let argument = engine::COMPILER_ARGUMENT;
            eprintln!(
                "{argument} starts the compiler of lacewing, and is not a command for users: {error}"
            );
            ExitCode::Failure
        }
    }
}

/// Help and version are printed through the same type as errors; only the latter fail.
fn report_usage(error: &clap::Error, args: &[OsString]) -> ExitCode {
    if error.use_stderr() && logs_json(args) {
        let text = error.to_string();
        let message = text.trim_end().strip_prefix("error: ").unwrap_or(&text);
        eprintln!("{}", json_line(tracing::Level::ERROR, message, &[]));
        return ExitCode::Usage;
    }
    // A closed output has no reader that could hear of it.
    let _ = error.print();
    if error.use_stderr() { ExitCode::Usage } else { ExitCode::Success }
}

/// Help and usage errors are coloured too, and are printed before there is a parsed `--color`.
fn color_before_parsing(args: &[OsString]) -> ColorChoice {
    match last_value(args, "--color") {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

/// Whether arguments that are not parsed, or the environment, ask for a log of JSON objects.
fn logs_json(args: &[OsString]) -> bool {
    let variable = std::env::var("LACEWING_LOG_FORMAT").ok().filter(|value| !value.is_empty());
    let is_up = args.iter().any(|argument| argument == "up");
    is_up && last_value(args, "--log-format").or(variable.as_deref()) == Some("json")
}

/// The last value of an option among arguments that are not parsed.
fn last_value<'a>(args: &'a [OsString], option: &str) -> Option<&'a str> {
    let mut args = args.iter().filter_map(|arg| arg.to_str());
    let mut last = None;
    while let Some(arg) = args.next() {
        let value = match arg.strip_prefix(option) {
            Some("") => args.next(),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        last = value.or(last);
    }
    last
}

/// Reads an app's manifest, a file or the directory that it is in, and shows its warnings.
///
/// # Errors
/// [`Error::Manifest`].
pub fn load_app(path: &Path, console: &Console) -> Result<App, Error> {
    let (app, warnings) = App::load(path).map_err(Error::Manifest)?;
    warnings.iter().for_each(|warning| console.finding(warning));
    Ok(app)
}

/// Writes a command's result. A reader that closed the pipe early (`| head`) has what it wanted.
///
/// # Errors
/// [`Error::Stdout`].
pub fn print_result(text: &str) -> Result<(), Error> {
    print_bytes(text.as_bytes())
}

/// As [`print_result`], for what need not be text.
///
/// # Errors
/// [`Error::Stdout`].
pub fn print_bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
