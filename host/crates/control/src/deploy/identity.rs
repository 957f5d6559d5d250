//! Identifiers of revisions.

use std::sync::Arc;

use lacewing_base::Route;
use lacewing_manifest::{Function, Written};

use super::Refusal;

/// The version of the serialised form below. A change of the form changes every identifier, and so
/// needs a new number.
const FORMAT: u8 = 5;

/// The limits, environment and grants of a function, serialised. Functions with equal settings
/// share them.
pub(super) fn settings(function: &Function) -> Result<Vec<u8>, Refusal> {
    let Function { limits, env, grants, .. } = function;
    Ok(postcard::to_stdvec(&(limits, env, grants.grants()))?)
}

/// Twelve hexadecimal digits of a hash over the component and everything that it is run with.
pub(super) fn revision_id(digest: &blake3::Hash, function: &Function) -> Result<Arc<str>, Refusal> {
    let routes: Vec<&Route> = function.routes.iter().map(Written::as_ref).collect();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[FORMAT]);
    hasher.update(digest.as_bytes());
    hasher.update(&settings(function)?);
    hasher.update(&postcard::to_stdvec(&(&function.cors, routes))?);
    Ok(hasher.finalize().to_hex()[..12].into())
}
