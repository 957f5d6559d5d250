//! The state that a command works with: a directory that this process opens, or the state of a
//! running host.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueHint};
use lacewing_control::AdminClient;
use lacewing_store::embedded::{DirectoryError, EmbeddedOptions, EmbeddedStore};

use super::Error;

/// The variable with the token of a host that is named by its URL.
const TOKEN: &str = "LACEWING_TOKEN";

/// State that is open.
pub(super) enum OpenState {
    /// No host has the directory.
    Directory(EmbeddedStore),
    /// A host has it, and does as this command asks.
    Host(AdminClient),
}

impl OpenState {
    /// Opens a directory, or finds the host that has it open.
    pub(super) fn open(dir: &Path) -> Result<OpenState, Error> {
        if !dir.is_dir() {
            return Err(Error::NotThere(format!(
                "there is no state directory {}: `lacewing up` makes one when a function is granted a store, bucket or database",
                dir.display()
            )));
        }
        match EmbeddedStore::open(dir, EmbeddedOptions::default()) {
            Ok(store) => Ok(OpenState::Directory(store)),
            Err(DirectoryError::InUse { .. }) => {
                Ok(OpenState::Host(AdminClient::of_directory(dir)?))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A running host that is named by its address, and not by its directory.
#[derive(Debug, Args)]
pub(super) struct RemoteArgs {
    /// The admin listener of a running host, as in `http://127.0.0.1:9180`. Its token is in the
    /// variable LACEWING_TOKEN, or in a file.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    url: Option<String>,
    /// A file with the token: a copy of the host's `lacewing.admin`, or the token alone.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "url")]
    token_file: Option<PathBuf>,
}

impl RemoteArgs {
    /// A client of the host that is named; `None` if none is.
    pub(super) fn client(&self) -> Result<Option<AdminClient>, Error> {
        let Some(url) = &self.url else { return Ok(None) };
        let token = match &self.token_file {
            Some(file) => token_in(file)?,
            None => std::env::var(TOKEN).map_err(|_| {
                Error::NotThere(format!(
                    "the host at {url} asks for a token: set {TOKEN}, or name a file with `--token-file`"
                ))
            })?,
        };
        Ok(Some(AdminClient::at(url, token.trim())?))
    }

    /// Whether a host is named.
    pub(super) fn is_there(&self) -> bool {
        self.url.is_some()
    }
}

/// The token in a file of either form.
fn token_in(file: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(file).map_err(|error| {
        Error::Input(io::Error::new(error.kind(), format!("{}: {error}", file.display())))
    })?;
    let document: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let token = document.as_ref().and_then(|document| document["token"].as_str());
    Ok(token.map_or(text.clone(), str::to_owned))
}
