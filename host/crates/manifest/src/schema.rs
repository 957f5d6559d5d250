//! JSON Schemas, which editors complete and check by.

use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};

use super::raw::RawManifest;

/// The JSON Schema (draft 2020-12) of `lacewing.toml`.
pub fn json_schema() -> serde_json::Value {
    schema_of::<RawManifest>()
}

/// The schema of a raw type.
pub(crate) fn schema_of<T: JsonSchema>() -> serde_json::Value {
    let settings = SchemaSettings::draft2020_12().with_transform(Tidy);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Takes out `null`, which stands for what is not written (TOML has no other way to write nothing),
/// and the line ends of the descriptions.
#[derive(Clone)]
struct Tidy;

impl Transform for Tidy {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(serde_json::Value::String(description)) = object.get_mut("description") {
            *description = description.replace('\n', " ");
        }
        if let Some(serde_json::Value::Array(types)) = object.get_mut("type") {
            types.retain(|kind| kind != "null");
            if let [only] = &types[..] {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        if let Some(serde_json::Value::Array(choices)) = object.get_mut("anyOf") {
            choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
            if let [serde_json::Value::Object(only)] = &choices[..] {
                let only = only.clone();
                object.remove("anyOf");
                for (key, value) in only {
                    object.entry(key).or_insert(value);
                }
            }
        }
        if object.get("default").is_some_and(serde_json::Value::is_null) {
            object.remove("default");
        }
    }
}
