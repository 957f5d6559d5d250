//! The validation of grants for secrets.

use lacewing_base::{SecretName, secret::MAX_APP_SECRETS};

use super::super::findings::Findings;
use super::super::spanned::At;
use super::super::{Diagnostic, Written};

/// The grants of a function with this environment.
pub(super) fn grants(
    raw: &[At<String>],
    env: &[(String, String)],
    findings: &mut Findings,
) -> Vec<Written<SecretName>> {
    if let Some(first) = raw.get(MAX_APP_SECRETS) {
        let message =
            format!("`secrets` has {} items, and an app has {MAX_APP_SECRETS} secrets", raw.len());
        findings.at(&first.span, Diagnostic::error(message));
    }
    let mut grants: Vec<Written<SecretName>> = Vec::new();
    for raw in raw.iter().take(MAX_APP_SECRETS) {
        let Some(name) = read_name(raw, findings) else { continue };
        if grants.iter().any(|grant| grant.value == name) {
            let message = format!("`{name}` is granted already");
            findings.at(&raw.span, Diagnostic::warning(message));
            continue;
        }
        // Interfaces of others have one name space for both.
        let same = env.iter().find(|(variable, _)| variable.eq_ignore_ascii_case(name.as_str()));
        if let Some((variable, _)) = same {
            let message = format!(
                "`{variable}` is a variable of the function's environment, and `{name}` is a secret"
            );
            let help = "remove the variable from `env`: a secret is no part of the environment";
            findings.at(&raw.span, Diagnostic::error(message).help(help));
        }
        grants.push(Written::new(name, findings.place(&raw.span)));
    }
    grants
}

fn read_name(raw: &At<String>, findings: &mut Findings) -> Option<SecretName> {
    let error = match raw.value.parse() {
        Ok(name) => return Some(name),
        Err(error) => error,
    };
    let mut finding = Diagnostic::error(format!("{error}"));
    if let Some(like) = SecretName::like(&raw.value) {
        finding = finding.help(format!("write `\"{like}\"`"));
    } else if raw.value.contains(char::is_whitespace) || raw.value.len() > 64 {
        finding = finding.help("the list has names of secrets, and never their values");
    }
    findings.at(&raw.span, finding);
    None
}
