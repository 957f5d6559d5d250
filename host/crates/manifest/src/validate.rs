//! From the raw types to an [`App`] that cannot be wrong.

mod http;
mod secrets;
mod sql;
mod stores;

use std::{
    collections::HashSet,
    ops::Range,
    path::{Path, PathBuf, absolute},
    sync::Arc,
};

use lacewing_base::{
    Bucket, KvStore, LimitKey, Limits, Methods, SqlDatabase,
    file::{OpenError, Reach},
    name::{AppName, FunctionName},
};

use super::decode::{Decoded, Step};
use super::environment::{Environment, MAX_ENV_BYTES, Surroundings};
use super::explain::nearest;
use super::findings::Findings;
use super::raw::{RawBuild, RawDefaults, RawFunction, RawLimits, RawManifest};
use super::routing::Routes;
use super::source::{name_like, no_component};
use super::spanned::At;
use super::{App, Diagnostic, Function, ManifestText, Place, Source, Terms};

pub(crate) use http::read_network;
use stores::DeclaredStores;

/// The most that the environments of all functions of an app may take together in the host's
/// memory, in bytes. Each function has a copy of what `defaults` says, so that a small manifest
/// could ask for gigabytes.
const MAX_ENVS_BYTES: usize = 16 * 1024 * 1024;

/// The most methods that the routes of an app may name: the router has a table for each. HTTP and
/// WebDAV define some forty.
const MAX_METHODS: usize = 64;

/// Reads a manifest's text.
pub(super) fn app(
    text: &Arc<ManifestText>,
    terms: &Terms,
) -> Result<(App, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut findings = Findings::new(text);
    let app = match absolute(text.path()) {
        Ok(path) => findings
            .decode::<RawManifest>()
            .and_then(|raw| read_app(&raw, &path, terms, &mut findings)),
        Err(error) => {
            findings.whole(Diagnostic::error(format!("its path cannot be made absolute: {error}")));
            None
        }
    };
    findings.conclude(app)
}

fn read_app(
    raw: &Decoded<RawManifest>,
    path: &Path,
    terms: &Terms,
    findings: &mut Findings,
) -> Option<App> {
    let root = path.parent().unwrap_or(path);
    let reach = terms.reach(root);
    if raw.is_empty {
        let help = "it needs at least `app = \"NAME\"` and a table `[functions.NAME]` with `routes = [\"/\"]`";
        findings.whole(Diagnostic::error("the manifest is empty").help(help));
        return None;
    }
    let name = app_name(raw, root, findings);
    let manifest = &raw.value;
    if manifest.functions.0.is_empty() && !raw.is_removed(&["functions"]) && !findings.refuse() {
        let help = "add a table `[functions.NAME]` with `routes = [\"/\"]`";
        findings.whole(Diagnostic::error("the manifest has no functions").help(help));
    }
    let (names, env_reach) = (terms.env_names.as_ref(), terms.env_reach(root));
    let surroundings = &Surroundings { root, names, reach: env_reach };
    let defaults = Defaults::read(&manifest.defaults, surroundings, findings);
    let stores = &DeclaredStores::kv(&manifest.kv, name.as_ref(), findings);
    let buckets = &DeclaredStores::buckets(&manifest.buckets, name.as_ref(), findings);
    let databases = &DeclaredStores::sql(&manifest.sql, name.as_ref(), findings);
    let mut functions = Vec::new();
    let mut room = EnvRoom(Some(MAX_ENVS_BYTES));
    for (name, function) in &manifest.functions.0 {
        let defaults = &defaults;
        let reader = FunctionReader {
            raw,
            defaults,
            stores,
            buckets,
            databases,
            surroundings,
            root,
            reach: &reach,
            name,
            function,
        };
        functions.extend(reader.read(&mut room, findings));
    }
    check_routes(&functions, findings);
    let (root, manifest) = (root.to_owned(), Some(path.to_owned()));
    let kv_stores = stores.all().cloned().collect();
    let buckets = buckets.all().cloned().collect();
    Some(App { name: name?, functions, kv_stores, buckets, root, reach, manifest })
}

/// Whether the routes of an app can stand side by side.
fn check_routes(functions: &[Function], findings: &mut Findings) {
    let mut routes = Routes::default();
    let mut methods = HashSet::new();
    for function in functions {
        let owner = format!("function `{}`", function.name);
        for route in &function.routes {
            if let Some(clashing) = routes.add(&owner, route) {
                findings.error(|| clashing.finding());
            }
            if let Methods::Only(only) = &route.methods
                && methods.len() <= MAX_METHODS
            {
                methods.extend(only);
                if methods.len() > MAX_METHODS {
                    let message = format!(
                        "the routes of the app name {} methods up to here, and may name {MAX_METHODS}",
                        methods.len()
                    );
                    let help = "leave `methods` out of a route that takes every method";
                    findings.extend([Diagnostic::error(message).help(help).at(&route.place)]);
                }
            }
        }
    }
}

fn app_name(raw: &Decoded<RawManifest>, root: &Path, findings: &mut Findings) -> Option<AppName> {
    let Some(name) = &raw.value.app else {
        // Neither wrong nor under another name, such as `name`, which was found already.
        let is_there = |path: &Vec<Step>| matches!(&path[..], [Step::Key(key)] if nearest(key, &["app"]).is_some());
        if !raw.removed.iter().any(is_there) {
            let directory = root.file_name().unwrap_or_default().to_string_lossy();
            let help = format!("add `app = \"{}\"` as the first line", name_like(&directory));
            findings
                .whole(Diagnostic::error("the manifest does not say the app's name").help(help));
        }
        return None;
    };
    findings.name(name)
}

/// Reads one function.
struct FunctionReader<'a> {
    raw: &'a Decoded<RawManifest>,
    defaults: &'a Defaults,
    stores: &'a DeclaredStores<KvStore>,
    buckets: &'a DeclaredStores<Bucket>,
    databases: &'a DeclaredStores<SqlDatabase>,
    surroundings: &'a Surroundings<'a>,
    root: &'a Path,
    reach: &'a Reach,
    name: &'a At<String>,
    function: &'a RawFunction,
}

impl FunctionReader<'_> {
    /// Looks at everything, also after something was wrong.
    fn read(&self, room: &mut EnvRoom, findings: &mut Findings) -> Option<Function> {
        let function = self.function;
        let name = findings.name::<FunctionName>(self.name);
        let source = self.source(findings);
        let routes = findings.bounded("routes", &function.routes);
        let has_cors = function.cors.is_some();
        let routes = routes.iter().filter_map(|route| http::route(route, has_cors, findings));
        let routes = routes.collect();
        let (limits, written_limits) = self.limits(findings);
        let Environment { variables: env, outside } = self.env(room, findings);
        let mut grants = http::grants(&function.grants, findings);
        grants.kv = self.stores.grants(&function.grants.kv, findings);
        grants.buckets = self.buckets.grants(&function.grants.buckets, findings);
        grants.secrets = secrets::grants(&function.grants.secrets, &env, findings);
        grants.sql = self.databases.grants(&function.grants.sql, findings);
        let cors_keys = ["functions", &self.name.value, "cors", "origins"];
        let cors = function
            .cors
            .as_ref()
            .and_then(|cors| http::cors(cors, self.raw.is_removed(&cors_keys), findings));
        let place = findings.place(&self.name.span);
        Some(Function {
            name: name?,
            source: source?,
            routes,
            limits,
            written_limits,
            env,
            outside,
            grants,
            cors,
            place,
        })
    }

    fn source(&self, findings: &mut Findings) -> Option<Source> {
        let function = self.function;
        let crate_dir = function.crate_dir.as_ref().map(|dir| ("crate", &dir.span));
        let component = function.component.as_ref().map(|file| ("component", &file.span));
        let build = function.build.as_ref().map(|build| ("build", &build.span));
        let given: Vec<(&str, &Range<usize>)> =
            [crate_dir, component, build].into_iter().flatten().collect();
        if let [(first, first_span), (second, second_span), ..] = given[..] {
            let message = format!(
                "function `{}` has both `{first}` and `{second}`, and its code comes from one place",
                self.name.value
            );
            let finding = Diagnostic::error(message).help("remove one of them");
            let first_place = findings.place(first_span);
            findings.at(second_span, finding.related(&first_place, format!("`{first}` is here")));
            return None;
        }
        match (&function.crate_dir, &function.component, &function.build) {
            (Some(dir), _, _) => self.crate_source(dir, findings),
            (_, Some(file), _) => self.component_source(file, findings),
            (_, _, Some(build)) => self.build_source(build, findings),
            (None, None, None) => self.default_source(findings),
        }
    }

    fn crate_source(&self, raw: &At<String>, findings: &mut Findings) -> Option<Source> {
        let dir = self.path(raw, findings)?;
        let problem = if !dir.is_dir() {
            format!("there is no directory `{}`", dir.display())
        } else if !dir.join("Cargo.toml").is_file() {
            format!("`{}` has no Cargo.toml, so it is not a Rust package", dir.display())
        } else {
            return Some(Source::Crate { dir });
        };
        let help = "`crate` names a package's directory, relative to the manifest";
        findings.at(&raw.span, Diagnostic::error(problem).help(help));
        None
    }

    fn component_source(&self, raw: &At<String>, findings: &mut Findings) -> Option<Source> {
        let path = self.path(raw, findings)?;
        let finding = match self.reach.locate(&path).and_then(|file| file.open()) {
            Ok(_) => return Some(Source::Component(path)),
            Err(OpenError::Outside) => {
                let message = format!(
                    "{:?} leads out of the app's folder, by its path or by a symbolic link",
                    raw.value
                );
                let help = "put the component into the folder that the manifest is in; the operator can allow another folder in the host file, with `component_dirs` of the tenant";
                Diagnostic::error(message).help(help)
            }
            Err(error) => {
                let help = "`component` names a file that is there, relative to the manifest; for one that a command makes, write `build = { command = \"...\", output = \"...\" }`";
                Diagnostic::error(no_component(&path, &error)).help(help)
            }
        };
        findings.at(&raw.span, finding);
        None
    }

    fn build_source(&self, raw: &At<RawBuild>, findings: &mut Findings) -> Option<Source> {
        let build = &raw.value;
        let output = self.path(&build.output, findings);
        let dir = match &build.dir {
            Some(dir) => self.path(dir, findings),
            None => Some(self.root.to_owned()),
        };
        if build.command.value.trim().is_empty() || build.command.value.contains('\0') {
            findings.at(
                &build.command.span,
                Diagnostic::error("`command` takes a command for the shell"),
            );
            return None;
        }
        let (output, dir) = (output?, dir?);
        if output.is_dir() {
            let message =
                format!("`{}` is a directory, and a component was expected", output.display());
            findings.at(&build.output.span, Diagnostic::error(message));
            return None;
        }
        if let Some(raw_dir) = build.dir.as_ref().filter(|_| !dir.is_dir()) {
            let message = format!("there is no directory `{}`", dir.display());
            findings.at(&raw_dir.span, Diagnostic::error(message));
            return None;
        }
        Some(Source::Build { command: build.command.value.clone(), output, dir })
    }

    /// The package beside the manifest.
    fn default_source(&self, findings: &mut Findings) -> Option<Source> {
        let keys = |key| ["functions", self.name.value.as_str(), key];
        if ["crate", "component", "build"].iter().any(|key| self.raw.is_removed(&keys(key))) {
            return None;
        }
        if self.root.join("Cargo.toml").is_file() {
            return Some(Source::Crate { dir: self.root.to_owned() });
        }
        let message =
            format!("function `{}` does not say where its code comes from", self.name.value);
        let help = "add `crate = \"DIR\"`, `component = \"FILE.wasm\"` or `build = { command = \"...\", output = \"FILE.wasm\" }`; without these keys the code is the Rust package beside the manifest, but there is no Cargo.toml";
        findings.at(&self.name.span, Diagnostic::error(message).help(help));
        None
    }

    /// The absolute path that a relative one means.
    fn path(&self, raw: &At<String>, findings: &mut Findings) -> Option<PathBuf> {
        let problem = match raw.value.as_str() {
            "" => "the path is empty",
            path if path.contains('\0') => "a path has no NUL in it",
            "." => return Some(self.root.to_owned()),
            path => return Some(self.root.join(path.strip_prefix("./").unwrap_or(path))),
        };
        findings.at(&raw.span, Diagnostic::error(problem));
        None
    }

    fn limits(&self, findings: &mut Findings) -> (Limits, Vec<(LimitKey, Place)>) {
        let own = read_limits(&self.function.limits, findings);
        warn_of_unused_cpu(&self.function.limits, findings);
        let mut limits = Limits::default();
        let mut written = Vec::new();
        for &key in LimitKey::ALL {
            let is_key = |limit: &&WrittenLimit| limit.key == key;
            if let Some(limit) =
                own.iter().find(is_key).or(self.defaults.limits.iter().find(is_key))
            {
                limits.set(key, limit.value);
                written.push((key, limit.place.clone()));
            }
        }
        (limits, written)
    }

    fn env(&self, room: &mut EnvRoom, findings: &mut Findings) -> Environment {
        if room.0.is_none() {
            return Environment::default();
        }
        let own = Environment::read(&self.function.env, self.surroundings, findings);
        if !room.take(own.held_bytes() + self.defaults.env_bytes, findings) {
            return Environment::default();
        }
        let env = own.over(&self.defaults.env);
        let bytes: usize = env.variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MAX_ENV_BYTES {
            let message = format!(
                "the environment of function `{}` has {bytes} bytes, over the {MAX_ENV_BYTES} that are copied into a sandbox",
                self.name.value
            );
            findings.at(&self.name.span, Diagnostic::error(message));
        }
        env
    }
}

/// The values of functions that do not say otherwise.
struct Defaults {
    limits: Vec<WrittenLimit>,
    env: Environment,
    /// The bytes that one copy of it takes.
    env_bytes: usize,
}

/// The bytes that are left for the environments of an app's functions; `None` once one did not fit.
struct EnvRoom(Option<usize>);

impl EnvRoom {
    /// Whether there is room for another one.
    fn take(&mut self, bytes: usize, findings: &mut Findings) -> bool {
        let Some(room) = self.0 else { return false };
        self.0 = room.checked_sub(bytes);
        if self.0.is_none() {
            let message = format!(
                "the environments of all functions take more than {} MiB together",
                MAX_ENVS_BYTES >> 20
            );
            let help = "every function gets a copy of `defaults.env`: set each variable only for the functions that read it";
            findings.whole(Diagnostic::error(message).help(help));
        }
        self.0.is_some()
    }
}

struct WrittenLimit {
    key: LimitKey,
    value: u64,
    place: Place,
}

impl Defaults {
    fn read(
        raw: &RawDefaults,
        surroundings: &Surroundings<'_>,
        findings: &mut Findings,
    ) -> Defaults {
        warn_of_unused_cpu(&raw.limits, findings);
        let env = Environment::read(&raw.env, surroundings, findings);
        Defaults { limits: read_limits(&raw.limits, findings), env_bytes: env.held_bytes(), env }
    }
}

fn read_limits(raw: &RawLimits, findings: &mut Findings) -> Vec<WrittenLimit> {
    let mut limits = Vec::new();
    for (key, raw) in raw.written() {
        if let Some(value) = findings.number(key.as_str(), raw, key.range()) {
            limits.push(WrittenLimit { key, value, place: findings.place(&raw.span) });
        }
    }
    limits
}

/// A CPU budget over the deadline is never spent.
fn warn_of_unused_cpu(raw: &RawLimits, findings: &mut Findings) {
    if let (Some(cpu), Some(deadline)) = (raw.get(LimitKey::CpuMs), raw.get(LimitKey::DeadlineMs))
        && cpu.value.0 > deadline.value.0
    {
        let message = format!(
            "`cpu_ms` is above `deadline_ms` ({}), so the deadline always comes first",
            deadline.value.0
        );
        let deadline = findings.place(&deadline.span);
        findings
            .at(&cpu.span, Diagnostic::warning(message).related(&deadline, "the deadline is here"));
    }
}
