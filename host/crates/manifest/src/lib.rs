//! `lacewing.toml`: raw, then validated into an [`App`] that cannot be wrong.
//!
//! ```text
//! file --read--> ManifestText --decode--> raw types --validate--> App + warnings
//!                                 |                      |
//!                                 +----- Diagnostics ----+-----> all that is wrong, each with its place
//! ```
//!
//! Nothing stops at the first finding: what cannot be decoded is taken out, and the rest is looked
//! at all the same.

pub mod config;
mod decode;
mod diagnostic;
mod environment;
mod explain;
mod findings;
pub(crate) mod raw;
mod raw_limits;
mod routing;
mod schema;
mod source;
mod spanned;
mod terms;
mod text;
mod validate;
mod written;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;
use lacewing_base::{
    Bucket, BucketGrant, Cors, Grants, HttpGrant, KvGrant, KvStore, LimitKey, Limits, Route,
    SecretName, SqlGrant,
    file::{Located, OpenError, Reach},
    name::{AppName, FunctionName},
};

pub use environment::{RESERVED_ENV, SECRET_ENV};
pub(crate) use findings::{Findings, FirstFindings};
pub(crate) use routing::Routes;
pub(crate) use schema::schema_of;

pub use diagnostic::{Diagnostic, Severity};
pub use environment::{EnvNames, Outside};
pub use schema::json_schema;
pub use source::Source;
pub use terms::Terms;
pub(crate) use text::HOST_FILE_BYTES;
pub use text::{MANIFEST_BYTES, ManifestText, Place, ReadError};
pub(crate) use validate::read_network;
pub use written::Written;

/// The name of a manifest in its directory.
pub const FILE_NAME: &str = "lacewing.toml";

/// The functions that one manifest deploys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Its functions, at least one, each with a name of its own, in the order of the manifest.
    pub functions: Vec<Function>,
    /// Its kv stores, in the order of the manifest.
    pub kv_stores: Vec<Arc<KvStore>>,
    /// Its buckets, in the order of the manifest.
    pub buckets: Vec<Arc<Bucket>>,
    /// The absolute path of the directory that the manifest's paths are relative to.
    pub root: PathBuf,
    /// Where components may lie.
    pub reach: Reach,
    /// The absolute path of the manifest; `None` for an app that was made from a bare component.
    pub manifest: Option<PathBuf>,
}

/// One function of an [`App`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: FunctionName,
    /// Where its component comes from.
    pub source: Source,
    /// The requests it answers; may be empty, for a function that is only invoked.
    pub routes: Vec<Written<Route>>,
    /// The limits of an invocation: those of the manifest, on the defaults, before any cap.
    pub limits: Limits,
    /// The limits that the manifest says itself, each with its place, in the order of
    /// [`LimitKey::ALL`].
    pub written_limits: Vec<(LimitKey, Place)>,
    /// Environment variables, each name once, in the order of the manifest, the app's before the
    /// function's.
    pub env: Vec<(String, String)>,
    /// The part of its environment that the manifest does not say.
    pub outside: Outside,
    /// The targets that it may reach.
    pub grants: WrittenGrants,
    /// The pages of other origins that may call it.
    pub cors: Option<Cors>,
    /// Where its name is written.
    pub place: Place,
}

impl Function {
    /// Sets an environment variable, whatever the manifest says.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.retain(|(other, _)| other != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self.outside.is_used = true;
    }
}

/// The grants of a function, each with its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenGrants {
    /// See [`Grants::http`].
    pub http: Vec<Written<HttpGrant>>,
    /// See [`Grants::networks`].
    pub networks: Vec<Written<IpNet>>,
    /// See [`Grants::kv`].
    pub kv: Vec<Written<KvGrant>>,
    /// See [`Grants::buckets`].
    pub buckets: Vec<Written<BucketGrant>>,
    /// See [`Grants::secrets`].
    pub secrets: Vec<Written<SecretName>>,
    /// See [`Grants::sql`].
    pub sql: Vec<Written<SqlGrant>>,
}

impl WrittenGrants {
    /// The grants themselves.
    pub fn grants(&self) -> Grants {
        Grants {
            http: self.http.iter().map(|grant| grant.value.clone()).collect(),
            networks: self.networks.iter().map(|network| network.value).collect(),
            kv: self.kv.iter().map(|grant| grant.value.clone()).collect(),
            buckets: self.buckets.iter().map(|grant| grant.value.clone()).collect(),
            secrets: self.secrets.iter().map(|name| name.value.clone()).collect(),
            sql: self.sql.iter().map(|grant| grant.value.clone()).collect(),
        }
    }
}

impl App {
    /// Reads a manifest: `path` is the file, or a directory that holds a `lacewing.toml`. Its
    /// developer is the operator: paths in it lead anywhere.
    ///
    /// Gives the app with the warnings, in the order of the file.
    ///
    /// # Errors
    /// Everything that is wrong, as far as it can be told, with the warnings.
    pub fn load(path: &Path) -> Result<(App, Vec<Diagnostic>), Vec<Diagnostic>> {
        App::load_on(path, &Terms::free())
    }

    /// The same, on the operator's terms. Blocks for as long as the file system does.
    ///
    /// # Errors
    /// As [`App::load`].
    pub fn load_on(path: &Path, terms: &Terms) -> Result<(App, Vec<Diagnostic>), Vec<Diagnostic>> {
        let inside = path.join(FILE_NAME);
        // A directory that is itself called `lacewing.toml` is most probably a mistake.
        let is_project = path.is_dir() && (!path.ends_with(FILE_NAME) || inside.exists());
        let path = if is_project { &inside } else { path };
        let text =
            terms.manifest(path).and_then(|file| ManifestText::read(&file, terms.most_bytes));
        let text = text.map_err(|error| vec![unreadable(&error, path, is_project)])?;
        validate::app(&text, terms)
    }

    /// Reads a manifest's text. Its path, which need not exist, says what the paths in it are
    /// relative to.
    ///
    /// # Errors
    /// As [`App::load`].
    pub fn parse(text: &Arc<ManifestText>) -> Result<(App, Vec<Diagnostic>), Vec<Diagnostic>> {
        validate::app(text, &Terms::free())
    }

    /// The app of a bare component: one function, named after the file, that answers every request
    /// under the default limits.
    ///
    /// # Errors
    /// What is not a file.
    pub fn for_component(path: &Path) -> Result<(App, Vec<Diagnostic>), Vec<Diagnostic>> {
        source::app_of_component(path).map(|app| (app, Vec::new())).map_err(|error| vec![error])
    }

    /// The path that tells an app from others while its manifest cannot be read: the directory that
    /// a manifest of the usual name is in, and otherwise the manifest itself. `path` is what
    /// names the app: any of these.
    pub fn home_of(path: &Path) -> &Path {
        match path.parent() {
            Some(parent) if path.ends_with(FILE_NAME) => parent,
            _ => path,
        }
    }

    /// The [home](App::home_of) of this one; `None` for an app that was made from a bare component.
    pub fn home(&self) -> Option<&Path> {
        self.manifest.as_deref().map(App::home_of)
    }

    /// The file of a component that a function of it names.
    pub fn component(&self, path: &Path) -> Result<Located, OpenError> {
        self.reach.locate(path)
    }

    /// The function of a name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name.as_str() == name)
    }
}

fn unreadable(error: &ReadError, path: &Path, is_project: bool) -> Diagnostic {
    let finding = Diagnostic::error(error.to_string()).in_file(path);
    match error {
        ReadError::Missing if is_project => {
            finding.help("`lacewing new` makes a directory with a manifest")
        }
        ReadError::Wasm => {
            finding.help("a component can be served without a manifest: `lacewing up FILE.wasm`")
        }
        ReadError::TooLarge { .. } => finding.help(
            "make several apps of it; in a host file, `max_manifest_kib` is the most for every manifest",
        ),
        ReadError::Outside => finding.help("put the manifest itself into the app's folder"),
        _ => finding,
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
