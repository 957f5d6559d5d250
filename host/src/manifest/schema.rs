//! The JSON Schema of `lacewing.toml`, which editors complete and check by.

/// The JSON Schema of `lacewing.toml`.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(super::raw::RawManifest).to_value()
}
