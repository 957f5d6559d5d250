//! The sentence for a store, bucket or database that a function is not granted.

/// Says that `name` is not granted, and the names that are.
pub(super) fn not_granted<'a>(
    kind: &str,
    name: &str,
    granted: impl Iterator<Item = &'a str>,
) -> String {
    let granted: Vec<&str> = granted.collect();
    let granted = match granted.is_empty() {
        true => format!("the manifest grants no {kind} to the function"),
        false => format!("the function may use {}", granted.join(", ")),
    };
    format!("the {kind} {name:?} is not granted: {granted}")
}
