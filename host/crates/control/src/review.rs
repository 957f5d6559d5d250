//! A comparison of a deployed function's grants with its component's imports.

use lacewing_manifest::{Diagnostic, Function, config::HostFile};
use lacewing_sandbox::engine::Import;

use super::Deployed;

/// Interfaces through which outbound HTTP goes: of wasi:http 0.2 and 0.3.
const OUTBOUND_HTTP: [&str; 2] = ["wasi:http/outgoing-handler", "wasi:http/client"];

/// Warnings for each function of `file`: grants that its component never uses, and imports that
/// nothing is granted to.
pub async fn review(file: &HostFile, deployed: &Deployed) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    for tenant in &file.tenants {
        for app in &tenant.apps {
            for function in &app.functions {
                let revision = deployed.revisions.iter().find(|revision| {
                    *revision.tenant.name() == tenant.name
                        && revision.origin.app == app.name
                        && revision.origin.function == function.name
                });
                let Some(revision) = revision else { continue };
                // An artifact that cannot be loaded a moment after its deploy is found by its first
                // request.
                let Ok(program) = revision.program().await else { continue };
                let bare = app.manifest.is_none();
                warnings.extend(review_function(function, &program.imports(), bare));
            }
        }
    }
    warnings
}

fn review_function(function: &Function, imports: &[Import], bare: bool) -> Vec<Diagnostic> {
    let outbound: Vec<&Import> = imports
        .iter()
        .filter(|import| OUTBOUND_HTTP.contains(&import.interface.as_str()))
        .collect();
    let name = &function.name;
    match (outbound.first(), function.grants.http.first()) {
        (None, Some(grant)) => vec![
            Diagnostic::warning(format!(
                "`{name}` has a grant of outbound HTTP, but its component imports neither {} nor {}",
                OUTBOUND_HTTP[0], OUTBOUND_HTTP[1]
            ))
            .at(&grant.place)
            .help("remove the grant, or send requests in the function"),
        ],
        (Some(import), None) => {
            let warning = Diagnostic::warning(format!(
                "`{name}` imports {import}, and has no grant of outbound HTTP: every request that it sends is denied"
            ));
            let help = if bare {
                "a component without a manifest is granted nothing: give it a lacewing.toml with `grants.http`".to_owned()
            } else {
                format!(
                    "name the servers that it may call: [functions.{name}.grants] http = [\"https://api.example.com\"]"
                )
            };
            vec![if bare { warning } else { warning.at(&function.place) }.help(help)]
        }
        (None, None) | (Some(_), Some(_)) => Vec::new(),
    }
}
