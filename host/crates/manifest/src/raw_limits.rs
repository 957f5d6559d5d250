//! Tables of limits and of caps as they are written: one key for each [`LimitKey`].

use std::{borrow::Cow, fmt};

use lacewing_base::LimitKey;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::raw::{At, Whole};

/// The limits of one invocation of a function, and of the number of its invocations.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawLimits(Vec<(LimitKey, At<Whole>)>);

/// Upper bounds on limits, under the limits' own keys, and on the parts of an app.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawCaps {
    limits: RawLimits,
    /// Functions of one app.
    pub(crate) functions: Option<At<Whole>>,
    /// Routes of one app, over all its functions.
    pub(crate) routes: Option<At<Whole>>,
}

impl RawLimits {
    /// The written values, in the order of the file.
    pub(crate) fn written(&self) -> impl Iterator<Item = (LimitKey, &At<Whole>)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// The written value of a key.
    pub(crate) fn get(&self, key: LimitKey) -> Option<&At<Whole>> {
        self.written().find(|(written, _)| *written == key).map(|(_, value)| value)
    }
}

impl RawCaps {
    /// The written caps of limits, in the order of the file.
    pub(crate) fn written(&self) -> impl Iterator<Item = (LimitKey, &At<Whole>)> {
        self.limits.written()
    }
}

/// The keys of caps that are not limits'.
const APP_KEYS: [&str; 2] = ["functions", "routes"];

/// The keys of caps.
static CAP_KEYS: [&str; LimitKey::COUNT + APP_KEYS.len()] = {
    let mut keys = [""; LimitKey::COUNT + APP_KEYS.len()];
    let mut index = 0;
    while index < keys.len() {
        keys[index] = if index < LimitKey::COUNT {
            LimitKey::NAMES[index]
        } else {
            APP_KEYS[index - LimitKey::COUNT]
        };
        index += 1;
    }
    keys
};

impl<'de> Deserialize<'de> for RawLimits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawLimits, D::Error> {
        let table = deserializer.deserialize_map(Table(LimitKey::NAMES))?;
        Ok(RawLimits(table.into_iter().filter_map(limit).collect()))
    }
}

impl<'de> Deserialize<'de> for RawCaps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawCaps, D::Error> {
        let mut caps = RawCaps::default();
        for (key, value) in deserializer.deserialize_map(Table(&CAP_KEYS))? {
            match key {
                "functions" => caps.functions = Some(value),
                "routes" => caps.routes = Some(value),
                _ => caps.limits.0.extend(limit((key, value))),
            }
        }
        Ok(caps)
    }
}

fn limit((name, value): (&'static str, At<Whole>)) -> Option<(LimitKey, At<Whole>)> {
    let key = LimitKey::ALL.iter().find(|key| key.as_str() == name)?;
    Some((*key, value))
}

/// A table of whole numbers under known keys.
struct Table(&'static [&'static str]);

impl<'de> Visitor<'de> for Table {
    type Value = Vec<(&'static str, At<Whole>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(key) = map.next_key_seed(KnownKey(self.0))? {
            values.push((key, map.next_value()?));
        }
        Ok(values)
    }
}

/// One of the known keys.
struct KnownKey(&'static [&'static str]);

impl<'de> serde::de::DeserializeSeed<'de> for KnownKey {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KnownKey {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<&'static str, E> {
        let known = self.0.iter().find(|known| **known == text);
        known.copied().ok_or_else(|| E::unknown_field(text, self.0))
    }
}

impl JsonSchema for RawLimits {
    fn schema_name() -> Cow<'static, str> {
        "Limits".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let limits = LimitKey::ALL.iter().map(|key| (key.as_str(), limit_schema(*key, true)));
        let description = "The limits of one invocation of a function, and of the number of its invocations. An app that asks for more than a cap of the host allows is refused.";
        table_schema(description, limits)
    }
}

impl JsonSchema for RawCaps {
    fn schema_name() -> Cow<'static, str> {
        "Caps".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let limits = LimitKey::ALL.iter().map(|key| (key.as_str(), limit_schema(*key, false)));
        let functions =
            number_schema("Functions of one app. A larger app is refused.", 1, 1_000_000);
        let routes = number_schema(
            "Routes of one app, over all its functions. A larger app is refused.",
            1,
            1_000_000,
        );
        let apps = [("functions", functions), ("routes", routes)];
        let description = "Upper bounds on the limits of functions, under the keys of these limits, and on the parts of an app. The host has the defaults below; a tenant has the host's caps by default.";
        table_schema(description, limits.chain(apps))
    }
}

fn table_schema(
    description: &str,
    keys: impl Iterator<Item = (&'static str, serde_json::Value)>,
) -> Schema {
    schemars::json_schema!({
        "description": description,
        "type": "object",
        "properties": serde_json::Map::from_iter(keys.map(|(key, value)| (key.to_owned(), value))),
        "additionalProperties": false,
    })
}

fn limit_schema(key: LimitKey, with_default: bool) -> serde_json::Value {
    let range = key.range();
    let description = key.description().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let mut schema = number_schema(&description, *range.start(), *range.end());
    if let (Some(default), true) = (key.default_value(), with_default) {
        schema["default"] = default.into();
    }
    schema
}

fn number_schema(description: &str, minimum: u64, maximum: u64) -> serde_json::Value {
    serde_json::json!({
        "description": description,
        "type": "integer",
        "minimum": minimum,
        "maximum": maximum,
    })
}
