//! From the raw types to an [`App`] that cannot be wrong.

use std::sync::Arc;

use super::{App, Diagnostic, ManifestText};

pub(super) fn app(text: &Arc<ManifestText>) -> Result<(App, Vec<Diagnostic>), Vec<Diagnostic>> {
    Err(vec![Diagnostic::error("manifests are not read yet").in_file(text.path())])
}
