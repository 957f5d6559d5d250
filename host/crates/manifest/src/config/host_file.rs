//! The host file: settings, and the tenants with their apps.

use std::{
    collections::HashMap,
    path::{Path, PathBuf, absolute},
    sync::Arc,
};

use lacewing_base::{HostPattern, file::Located, name::TenantName};

use super::egress::read_networks;
use super::raw::{RawHostFile, RawTenant};
use super::{HostOwners, LogFormat, Outline, STATE_DIR, Settings, Tenant, outline};
use crate::{
    App, Diagnostic, Findings, HOST_FILE_BYTES, ManifestText,
    raw::{At, Entries},
    schema_of,
};

/// Everything that a host serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFile {
    /// The host's settings.
    pub settings: Settings,
    /// The tenants, at least one, each with a name of its own, in the order of the file.
    pub tenants: Vec<Tenant>,
    /// The absolute path of the file; `None` for one that was made in memory.
    pub path: Option<PathBuf>,
}

/// The JSON Schema (draft 2020-12) of a host file.
pub fn json_schema() -> serde_json::Value {
    schema_of::<RawHostFile>()
}

impl HostFile {
    /// Whether the environment of some function has values that no manifest says.
    pub fn takes_outside_values(&self) -> bool {
        let mut functions = self.tenants.iter().flat_map(Tenant::functions);
        functions.any(|(_, function)| function.outside.is_used)
    }

    /// Reads a host file and the manifests that it names, one after the other. Blocks.
    ///
    /// Gives it with the warnings, the host file's before the manifests'. An app with an error in
    /// its manifest is refused by itself, and is among its tenant's [refused](Tenant::refused).
    ///
    /// # Errors
    /// What is wrong in the host file itself. With it comes everything that is wrong in the
    /// manifests, and the warnings.
    pub fn load(path: &Path) -> Result<(HostFile, Vec<Diagnostic>), Vec<Diagnostic>> {
        HostFile::parse(&text(path)?)
    }

    /// Reads a host file's text. Its path, which need not exist, says what the paths in it are
    /// relative to.
    ///
    /// # Errors
    /// As [`HostFile::load`].
    pub fn parse(text: &Arc<ManifestText>) -> Result<(HostFile, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (outline, findings) = read_outline(text);
        let read = outline.map(Outline::read);
        let (file, mut more) = read.map_or((None, Vec::new()), |(file, more)| (Some(file), more));
        if let (true, Some(file)) = (findings.refuse(), &file) {
            let refused = file.tenants.iter().flat_map(|tenant| &tenant.refused);
            more.extend(refused.flat_map(|app| app.findings.clone()));
        }
        more.sort_by_cached_key(|finding| finding.file.clone());
        match findings.conclude(file) {
            Ok((file, mut findings)) => {
                findings.append(&mut more);
                Ok((file, findings))
            }
            Err(mut findings) => {
                findings.append(&mut more);
                Err(findings)
            }
        }
    }

    /// Reads a host file by itself, and no manifest. Gives it with its warnings.
    ///
    /// # Errors
    /// The errors of the host file, with its warnings.
    pub fn outline(path: &Path) -> Result<(Outline, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (outline, findings) = read_outline(&text(path)?);
        findings.conclude(outline)
    }

    /// The host of a single app: the tenant `local`, which has every host name.
    ///
    /// # Errors
    /// Limits of the app that are over the settings' caps.
    pub fn local(app: App, settings: Settings) -> Result<HostFile, Vec<Diagnostic>> {
        let mut settings = settings;
        settings.state_dir.get_or_insert_with(|| app.root.join(STATE_DIR));
        settings.secrets.from_env = true;
        let name = "local".parse::<TenantName>();
        let name = name.map_err(|error| vec![Diagnostic::error(error.to_string())])?;
        let mut tenants = vec![Tenant::local(name, app)];
        let owners = HostOwners::of(&tenants);
        tenants.iter_mut().for_each(|tenant| tenant.refuse_wrong(&settings.caps, &owners));
        let refused = tenants.iter().flat_map(|tenant| &tenant.refused);
        let findings: Vec<_> = refused.flat_map(|app| app.findings.clone()).collect();
        if findings.is_empty() {
            Ok(HostFile { settings, tenants, path: None })
        } else {
            Err(findings)
        }
    }
}

/// The text of a host file. The operator says which file that is.
fn text(path: &Path) -> Result<Arc<ManifestText>, Vec<Diagnostic>> {
    ManifestText::read(&Located::anywhere(path), HOST_FILE_BYTES)
        .map_err(|error| vec![Diagnostic::error(error.to_string()).in_file(path)])
}

fn read_outline(text: &Arc<ManifestText>) -> (Option<Outline>, Findings) {
    let mut findings = Findings::new(text);
    let outline = match absolute(text.path()) {
        Ok(path) => read(text, path, &mut findings),
        Err(error) => {
            findings.whole(Diagnostic::error(format!("its path cannot be made absolute: {error}")));
            None
        }
    };
    (outline, findings)
}

fn read(text: &Arc<ManifestText>, path: PathBuf, findings: &mut Findings) -> Option<Outline> {
    let raw = findings.decode::<RawHostFile>()?;
    if raw.is_empty {
        let help = "it needs at least a table `[tenants.NAME]` with `hosts = [\"*\"]` and `apps = [\"DIR\"]`";
        findings.whole(Diagnostic::error("the host file is empty").help(help));
        return None;
    }
    // The relative path is what people recognise in a finding about a manifest.
    let root = text.path().parent().unwrap_or(Path::new(""));
    let settings = Settings::read(&raw.value, path.parent().unwrap_or(&path), findings);
    let tenants = &raw.value.tenants.0;
    if tenants.is_empty() && !raw.is_removed(&["tenants"]) {
        let help = "add a table `[tenants.NAME]` with `hosts = [\"*\"]` and `apps = [\"DIR\"]`";
        findings.whole(Diagnostic::error("the host file has no tenants").help(help));
    }
    let networks = read_networks(&raw.value.egress.networks, findings);
    let mut read = Vec::new();
    for (name, raw) in tenants {
        let tenant = Tenant::read(name, raw, &settings, &networks, findings);
        let manifests = outline::manifests(raw, root, &settings, findings);
        read.extend(tenant.map(|tenant| (tenant, manifests)));
    }
    check_hosts(&raw.value.tenants, findings);
    Some(Outline::new(settings, read, Some(path)))
}

/// No pattern may be in two tenants: the tenant of a request would be undecided.
fn check_hosts(tenants: &Entries<RawTenant>, findings: &mut Findings) {
    let mut owners: HashMap<HostPattern, (&At<String>, &At<String>)> = HashMap::new();
    for (name, tenant) in &tenants.0 {
        for host in &tenant.hosts {
            // Text that is no pattern was found already, and so was a pattern that a tenant names
            // twice.
            let Ok(pattern) = host.value.parse::<HostPattern>() else { continue };
            let (owner, other) = *owners.entry(pattern).or_insert((name, host));
            if owner.value != name.value {
                let message =
                    format!("`{}` is a host name of tenant `{}` already", host.value, owner.value);
                let other = findings.place(&other.span);
                findings.at(&host.span, Diagnostic::error(message).related(&other, "it is here"));
            }
        }
    }
}

/// The `cache_dir` that a host file names, without reading all of it: keys that stand in no table
/// stand before the first one. `None` where there is none, or where it takes more to tell.
pub fn cache_dir_of(path: &Path) -> Option<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Top {
        cache_dir: Option<PathBuf>,
    }
    let text = text(path).ok()?;
    let text = text.text();
    let tables = text.starts_with('[').then_some(0).or_else(|| text.find("\n["));
    // Text that is cut off within a value is no TOML any more.
    let top: Top = toml::from_str(&text[..tables.unwrap_or(text.len())]).ok()?;
    let path = absolute(path).ok()?;
    Some(path.parent()?.join(top.cache_dir?))
}

/// The `log.format` that a host file names, whatever else is in it. `None` where the file is not
/// TOML.
pub fn log_format_of(path: &Path) -> Option<LogFormat> {
    let file: toml::Table = toml::from_str(text(path).ok()?.text()).ok()?;
    match file.get("log")?.get("format")?.as_str()? {
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// Whether a file has tenants, and so is a host file whatever its name.
pub fn is_host_file(path: &Path) -> bool {
    let is_toml = path.is_file() && path.extension().is_some_and(|extension| extension == "toml");
    let file = || toml::from_str::<toml::Table>(text(path).ok()?.text()).ok();
    is_toml && file().is_some_and(|file| file.contains_key("tenants"))
}
