//! The peers of the comparison, one file for each.

mod lacewing;
mod native;
mod raw;
mod spin;
mod wasmtime;
mod workerd;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use lacewing_benches::guest::{self, Layout};

use crate::{options::Options, row::Row};

/// The rows that can be measured here, and those that cannot.
pub(crate) struct Peers {
    pub(crate) rows: Vec<Row>,
    /// Name and reason.
    pub(crate) missing: Vec<(String, String)>,
    /// Name and version.
    pub(crate) versions: Vec<(String, String)>,
    /// The binary of this workspace.
    pub(crate) lacewing: PathBuf,
}

/// The bytes that several rows share.
#[derive(Clone)]
pub(crate) struct Components {
    /// `examples/hello`, as `lacewing build` makes it: the lean path.
    pub(crate) lean: PathBuf,
    /// wasi:http 0.2, laid out as rustc does it when nobody says otherwise.
    pub(crate) portable_02: PathBuf,
    /// wasi:http 0.3, the same.
    pub(crate) portable_03: PathBuf,
    /// wasi:http 0.2, with the layout of `lacewing build`.
    pub(crate) portable_02_lean: PathBuf,
    /// wasi:http 0.3, the same.
    pub(crate) portable_03_lean: PathBuf,
}

/// Builds what is measured, and looks for everybody else.
pub(crate) fn find(options: &Options) -> anyhow::Result<Peers> {
    let components = Components {
        lean: guest::example("hello"),
        portable_02: guest::guest("hello-02", Layout::Default),
        portable_03: guest::guest("hello-03", Layout::Default),
        portable_02_lean: guest::guest("hello-02", Layout::Lean),
        portable_03_lean: guest::guest("hello-03", Layout::Lean),
    };
    let beside = env::current_exe()?.with_file_name("lacewing");
    let binary = options.lacewing.clone().unwrap_or(beside);
    let binary = std::path::absolute(&binary)?;
    anyhow::ensure!(
        binary.is_file(),
        "{} is not there: `cargo build --release` makes it",
        binary.display()
    );
    let mut peers = Peers {
        rows: Vec::new(),
        missing: Vec::new(),
        versions: Vec::new(),
        lacewing: binary.clone(),
    };
    let own = env::current_exe()?;
    peers.rows.extend(native::rows(&own));
    peers.rows.push(raw::row(&own, &components));
    peers.rows.extend(lacewing::rows(&binary, &components));
    peers.version("lacewing", &binary, &["--version"]);
    type Rows = fn(&Path, &Components) -> Vec<Row>;
    let others: [(&str, &Option<PathBuf>, Rows); 3] = [
        ("wasmtime", &options.wasmtime, wasmtime::rows),
        ("workerd", &options.workerd, workerd::rows),
        ("spin", &options.spin, spin::rows),
    ];
    for (name, given, rows) in others {
        match executable(name, given.as_deref())? {
            Some(path) => {
                peers.version(name, &path, &["--version"]);
                peers.rows.extend(rows(&path, &components));
            }
            None => peers.missing.push((name.to_owned(), "not on PATH".to_owned())),
        }
    }
    if !options.rows.is_empty() {
        peers.rows.retain(|row| options.rows.iter().any(|name| row.id.starts_with(name.as_str())));
        anyhow::ensure!(!peers.rows.is_empty(), "no row has such a name: {:?}", options.rows);
    }
    Ok(peers)
}

impl Peers {
    fn version(&mut self, name: &str, path: &Path, args: &[&str]) {
        let output = Command::new(path).args(args).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let line = text.unwrap_or_default().lines().next().unwrap_or("unknown").to_owned();
        self.versions.push((name.to_owned(), line));
    }
}

/// The program that was given, or the one on PATH.
fn executable(name: &str, given: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(path) = given {
        let path = std::path::absolute(path)?;
        anyhow::ensure!(path.is_file(), "{} is not there", path.display());
        return Ok(Some(path.canonicalize().context("a path that is just there")?));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file()))
}
