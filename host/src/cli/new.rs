//! `lacewing new`: a function from a template, ready to build.

mod template;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueHint};
use lacewing_base::name::AppName;

use super::{Error, ExitCode, console::Console};

pub use template::FunctionTemplate;

const EXAMPLES: &str = "\
Examples:
  lacewing new hello                    answers HTTP requests
  lacewing new prices --template json   takes and returns JSON, typed and checked
  lacewing new ticks -t streaming       sends server-sent events
  lacewing new thumbnails -t event      handles events
  lacewing new mean -t call             is called with an input, answers with an output";

/// Arguments of `new`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct NewArgs {
    /// The name of the app, of its function and of the Cargo package.
    pub name: AppName,

    /// The kind of the function.
    #[arg(short, long, value_enum, default_value_t = FunctionTemplate::Http)]
    pub template: FunctionTemplate,

    /// The new directory [default: the name]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,

    /// The directory of the lacewing-sdk that this machine uses, instead of the one in the
    /// repository.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub sdk: Option<PathBuf>,
}

/// Why there is no new function.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// A Cargo package of this name would not compile.
    #[error(
        "a Cargo package cannot be called `{0}`, which Rust or the template uses itself: choose another name"
    )]
    ReservedName(AppName),
    /// There is something already.
    #[error("{} is not empty: name a directory that is, or is not there yet, with --dir", .0.display())]
    NotEmpty(PathBuf),
    /// There is no directory.
    #[error("{} is a file: name another place with --dir", .0.display())]
    NotADirectory(PathBuf),
    /// `--sdk` is something else.
    #[error("{} is not the lacewing-sdk: it has no Cargo.toml with `name = \"lacewing-sdk\"`", .0.display())]
    NotTheSdk(PathBuf),
    /// A file or directory cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl NewError {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            NewError::ReservedName(_) | NewError::NotTheSdk(_) => ExitCode::Usage,
            NewError::NotEmpty(_) | NewError::NotADirectory(_) | NewError::Write { .. } => {
                ExitCode::Failure
            }
        }
    }
}

/// Names that a Cargo package cannot have beside what templates depend on, and Rust's keywords.
const RESERVED: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "lacewing-sdk",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

pub(super) fn run(args: &NewArgs, console: &Console) -> Result<ExitCode, Error> {
    let dir = create(args)?;
    console
        .status("Created", format_args!("{} from the template `{}`", dir.display(), args.template));
    console.line("Next:");
    if dir != Path::new(".") {
        console.line(format_args!("  cd {}", dir.display()));
    }
    for command in args.template.next_commands() {
        console.line(format_args!("  {command}"));
    }
    Ok(ExitCode::Success)
}

/// Writes the files; returns the directory.
///
/// # Errors
/// Nothing is written unless the name, the directory and the SDK are right.
pub fn create(args: &NewArgs) -> Result<PathBuf, NewError> {
    if RESERVED.contains(&args.name.as_str()) {
        return Err(NewError::ReservedName(args.name.clone()));
    }
    let dir = args.dir.clone().unwrap_or_else(|| args.name.as_str().into());
    let sdk = Sdk::find(args.sdk.as_deref())?;
    check_vacant(&dir)?;
    for (file, text) in args.template.files(&args.name, &sdk) {
        write(&dir.join(file), &text)?;
    }
    if in_a_workspace(&dir) {
        append_workspace(&dir.join("Cargo.toml"))?;
    }
    Ok(dir)
}

fn check_vacant(dir: &Path) -> Result<(), NewError> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(NewError::NotEmpty(dir.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(NewError::NotADirectory(dir.to_owned()))
        }
        Err(source) => Err(NewError::Write { path: dir.to_owned(), source }),
    }
}

fn write(path: &Path, text: &str) -> Result<(), NewError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, text))
        .map_err(|source| NewError::Write { path: path.to_owned(), source })
}

/// The lacewing-sdk of a new function. What the function's author commits names no path of a
/// machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sdk {
    /// The repository's.
    Repository,
    /// One on this machine.
    Local(PathBuf),
}

impl Sdk {
    /// The one that was named, else the one in the source tree that this program was built in,
    /// while it is there, else the repository's.
    fn find(named: Option<&Path>) -> Result<Sdk, NewError> {
        let in_source_tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk");
        let path = match named {
            Some(path) if is_sdk(path) => path.to_owned(),
            Some(path) => return Err(NewError::NotTheSdk(path.to_owned())),
            None if is_sdk(&in_source_tree) => in_source_tree,
            None => return Ok(Sdk::Repository),
        };
        Ok(Sdk::Local(path.canonicalize().unwrap_or(path)))
    }

    /// The dependency in `Cargo.toml`. A local one has the version that `.cargo/config.toml` then
    /// gives a path to: cargo would fetch a repository, even one that it does not use.
    fn requirement(&self) -> toml::Value {
        match self {
            Sdk::Repository => {
                let git = ("git".to_owned(), env!("CARGO_PKG_REPOSITORY").into());
                toml::Table::from_iter([git]).into()
            }
            Sdk::Local(_) => env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// The text of `.cargo/config.toml`.
    fn cargo_config(&self) -> Option<String> {
        let Sdk::Local(path) = self else { return None };
        let path = toml::Value::from(path.to_string_lossy().into_owned());
        Some(format!(
            "# Where this machine has lacewing-sdk. Not to be committed: elsewhere, write `{}` into Cargo.toml.\n[patch.crates-io]\nlacewing-sdk = {{ path = {path} }}\n",
            format_args!("lacewing-sdk = {}", Sdk::Repository.requirement()),
        ))
    }
}

fn is_sdk(dir: &Path) -> bool {
    fs::read_to_string(dir.join("Cargo.toml"))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "name = \"lacewing-sdk\""))
}

/// Whether cargo would take a package in `dir` for a forgotten member of a workspace above it.
fn in_a_workspace(dir: &Path) -> bool {
    let Ok(dir) = dir.canonicalize() else { return false };
    let is_workspace = |above: &Path| {
        fs::read_to_string(above.join("Cargo.toml"))
            .ok()
            .and_then(|text| text.parse::<toml::Table>().ok())
            .is_some_and(|table| table.contains_key("workspace"))
    };
    dir.ancestors().skip(1).any(is_workspace)
}

fn append_workspace(cargo_toml: &Path) -> Result<(), NewError> {
    let text = "\n# Not a member of the workspace above. To make it one, add it to the members there and delete this.\n[workspace]\n";
    let appended = fs::read_to_string(cargo_toml).unwrap_or_default() + text;
    write(cargo_toml, &appended)
}

#[cfg(test)]
mod tests;
