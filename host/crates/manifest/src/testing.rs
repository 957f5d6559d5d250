//! The parts that tests of manifests and host files share.

use std::path::Path;

use super::{App, Diagnostic, ManifestText};

/// The findings about a manifest's text, as they are printed, with `ROOT` for the directory that it
/// is in.
pub(crate) fn report(text: &str) -> String {
    match App::parse(&ManifestText::new("lacewing.toml", text)) {
        Ok((_, findings)) | Err(findings) => print(&findings, &std::env::current_dir().unwrap()),
    }
}

/// Findings as they are printed, with `ROOT` for a directory.
pub(crate) fn print(findings: &[Diagnostic], root: &Path) -> String {
    let text: Vec<String> = findings.iter().map(Diagnostic::to_string).collect();
    text.join("\n\n").replace(root.to_str().unwrap(), "ROOT")
}

pub(crate) mod schema;
