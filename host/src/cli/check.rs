//! `lacewing check`: manifests and components against each other, of an app or of all tenants,
//! without a server.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueHint};
use lacewing_control::{Host, layouts, missing_secrets, review, review_layouts};
use lacewing_manifest::Diagnostic;
use lacewing_runtime::function::Revision;
use lacewing_sandbox::engine::Import;
use lacewing_telemetry::{
    InvocationLog, Sink,
    logs::{self, LogOptions},
};
use serde_json::json;

use super::{
    Error, ExitCode,
    console::Console,
    environment::CacheArgs,
    print_result,
    project::{self, Project},
};

const EXAMPLES: &str = "\
Examples:
  lacewing check                  the app in this directory
  lacewing check hello.wasm       a component alone: what it exports and imports
  lacewing check host.toml        the tenants of a host file, and their apps
  lacewing check --json           the findings with file, line and column, for an editor or script";

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// A directory with a lacewing.toml, such a file, a component, or a host file.
    #[arg(default_value = ".", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,

    /// Fail on warnings too.
    #[arg(long)]
    pub deny_warnings: bool,

    /// Print the findings as JSON on standard output.
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    cache: CacheArgs,
}

/// Runs `check`: everything that `up` does before it binds a port.
pub(super) fn run(args: &CheckArgs, console: &Console) -> Result<ExitCode, Error> {
    match findings(args, console) {
        Ok((checked, warnings)) => report(args, console, Some(&checked[..]), &warnings, &[]),
        Err(Error::Manifest(findings)) if args.json => report(args, console, None, &findings, &[]),
        Err(Error::Deploy(errors)) if args.json => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            report(args, console, None, &[], &errors)
        }
        Err(error) => Err(error),
    }
}

/// A revision that passed, with what its component imports.
type Checked = (Arc<Revision>, Vec<Import>);

fn findings(args: &CheckArgs, console: &Console) -> Result<(Vec<Checked>, Vec<Diagnostic>), Error> {
    let mut loaded = Project::or_host_at(&args.path).load(args.cache.settings())?;
    if let Some(cache_dir) = &args.cache.cache_dir {
        loaded.file.settings.cache_dir.clone_from(cache_dir);
    }
    let scratch = tempfile::tempdir().map_err(Error::System)?;
    project::keep_state_apart(&mut loaded.file.settings, scratch.path());
    let refused = loaded.file.tenants.iter().flat_map(|tenant| &tenant.refused);
    let findings: Vec<Diagnostic> = refused.flat_map(|app| app.findings.clone()).collect();
    if !findings.is_empty() {
        return Err(Error::Manifest([loaded.warnings, findings].concat()));
    }
    let built = project::build(&loaded.file, console)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::System)?;
    let _logs = logs::init(&LogOptions::for_command())?;
    let sink = Sink::memory();
    let host = Host::new(loaded.file.settings.clone(), sink.clone(), InvocationLog::None)?;
    runtime.block_on(async {
        let deploy = host.deploy(&loaded.file, &built.components);
        project::deploying_and_told(console, &sink, deploy).await?;
        let deployed = host.deployed();
        loaded.warnings.extend(review(&loaded.file, &deployed).await);
        loaded.warnings.extend(review_layouts(&deployed));
        loaded.warnings.extend(missing_secrets(&deployed));
        loaded.warnings.extend(host.unusable_key());
        let mut checked = Vec::new();
        for revision in &deployed.revisions {
            let program = revision
                .program()
                .await
                .map_err(|error| Error::System(std::io::Error::other(error)))?;
            checked.push((revision.clone(), program.imports()));
        }
        Ok((checked, loaded.warnings))
    })
}

fn report(
    args: &CheckArgs,
    console: &Console,
    checked: Option<&[Checked]>,
    findings: &[Diagnostic],
    errors: &[String],
) -> Result<ExitCode, Error> {
    let revisions = checked.unwrap_or_default();
    if args.json {
        let functions: Vec<_> = revisions.iter().map(describe).collect();
        let document = json!({ "functions": functions, "findings": findings, "errors": errors });
        print_result(&format!("{document:#}\n"))?;
    } else {
        findings.iter().for_each(|finding| console.finding(finding));
        for revision in revisions {
            console.status("Checked", summary(revision));
        }
    }
    let failed = checked.is_none() || (args.deny_warnings && !findings.is_empty());
    Ok(if failed { ExitCode::Invalid } else { ExitCode::Success })
}

fn describe((revision, imports): &Checked) -> serde_json::Value {
    let imports: Vec<String> = imports.iter().map(ToString::to_string).collect();
    json!({
        "app": revision.origin.app.as_str(),
        "function": revision.origin.function.as_str(),
        "revision": &*revision.origin.revision,
        "component": revision.component.file.path(),
        "digest": format!("blake3:{}", revision.component.digest),
        "exports": revision.exports().names(),
        "imports": imports,
        "memories": layouts(revision),
    })
}

fn summary((revision, imports): &Checked) -> String {
    let exports = revision.exports().names().join(", ");
    let imports = imports.len();
    format!("{}: exports {exports}; imports {imports} interfaces", revision.origin)
}
