//! `lacewing.toml` as it is written: types that the parser and the JSON Schema share.
//!
//! Docs here are the descriptions that editors and `docs/lacewing.toml.md` show. Nothing here is
//! checked beyond the keys and the types of the values.

use std::fmt;

use lacewing_base::Access;
use schemars::JsonSchema;
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};

pub(crate) use super::raw_limits::{RawCaps, RawLimits};
pub(crate) use super::spanned::{At, Entries};

/// The manifest of a Lacewing app: its functions, their routes, and the resources that they may
/// use.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(title = "lacewing.toml", extend("required" = ["app", "functions"]))]
pub(crate) struct RawManifest {
    /// The app's name: 1 to 63 lower-case letters, digits and hyphens. The name begins with a
    /// letter and does not end with a hyphen.
    #[schemars(schema_with = "name_schema")]
    pub(crate) app: Option<At<String>>,
    /// Values for all functions of the app. A function's own values win.
    pub(crate) defaults: RawDefaults,
    /// The key-value stores of the app, each under its name. A function uses a store with
    /// `grants.kv`.
    #[schemars(transform = names_as_keys)]
    pub(crate) kv: Entries<RawKv>,
    /// The buckets of the app, each under its name. A function uses a bucket with
    /// `grants.buckets`.
    #[schemars(transform = names_as_keys)]
    pub(crate) buckets: Entries<RawBucket>,
    /// The SQL databases of the app, each under its name. A function uses a database with
    /// `grants.sql`. Components of Spin open the one that is called `default`.
    #[schemars(transform = names_as_keys)]
    pub(crate) sql: Entries<RawSql>,
    /// The functions, each under its name.
    #[schemars(transform = names_as_keys)]
    pub(crate) functions: Entries<RawFunction>,
}

/// A key-value store. The store is charged.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Kv")]
pub(crate) struct RawKv {
    /// The keys and values of the store, with 64 bytes for each entry. An invocation that would
    /// write beyond it ends as `store_unavailable`.
    #[schemars(range(min = 1, max = 1_073_741_824), extend("default" = 1024))]
    pub(crate) max_mib: Option<At<Whole>>,
    /// The largest value. The call that sets a larger one fails.
    #[schemars(range(min = 1, max = 1024), extend("default" = 1024))]
    pub(crate) max_value_kib: Option<At<Whole>>,
}

/// A bucket of objects. The bucket is charged.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Bucket")]
pub(crate) struct RawBucket {
    /// The keys, attributes and bodies of all objects. An invocation that would write beyond it
    /// ends as `store_unavailable`.
    #[schemars(range(min = 1, max = 1_073_741_824), extend("default" = 10_240))]
    pub(crate) max_mib: Option<At<Whole>>,
    /// The body of one object. The call that writes more fails.
    #[schemars(range(min = 1, max = 1_048_576), extend("default" = 5120))]
    pub(crate) max_object_mib: Option<At<Whole>>,
}

/// A SQL database. A statement that goes beyond a limit fails.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Sql")]
pub(crate) struct RawSql {
    /// The file of the database. The tenant is charged.
    #[schemars(range(min = 1, max = 16_777_216), extend("default" = 1024))]
    pub(crate) max_mib: Option<At<Whole>>,
    /// The wall time of one statement. Its CPU time counts as the invocation's.
    #[schemars(range(min = 1, max = 900_000), extend("default" = 5000))]
    pub(crate) max_statement_ms: Option<At<Whole>>,
    /// The rows that one statement returns, with 32 bytes for each value. The invocation is
    /// charged.
    #[schemars(range(min = 1, max = 65_536), extend("default" = 4096))]
    pub(crate) max_result_kib: Option<At<Whole>>,
    /// The memory of one connection: its cache, the statement, and the rows that it sorts. The
    /// invocation is charged.
    #[schemars(range(min = 2, max = 1024), extend("default" = 16))]
    pub(crate) max_heap_mib: Option<At<Whole>>,
}

/// Values for all functions of the app. A function's own values win.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Defaults")]
pub(crate) struct RawDefaults {
    /// The limits of functions that do not set them.
    pub(crate) limits: RawLimits,
    /// Environment variables of every function. A function adds its own, and may replace these.
    pub(crate) env: Entries<At<RawEnv>>,
}

/// A function. Its code comes from one of `crate`, `component` and `build`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Function")]
pub(crate) struct RawFunction {
    /// The directory of a Rust package, relative to the manifest. `lacewing build` compiles the
    /// package. The manifest's own directory by default, if it has a Cargo.toml.
    #[serde(rename = "crate")]
    pub(crate) crate_dir: Option<At<String>>,
    /// A WebAssembly component that exists already, relative to the manifest.
    pub(crate) component: Option<At<String>>,
    /// A command that makes the component.
    pub(crate) build: Option<At<RawBuild>>,
    /// The requests that the function answers. A function without routes can only be invoked by
    /// name.
    pub(crate) routes: Vec<At<RawRoute>>,
    /// The limits of one invocation, and of the number of invocations.
    pub(crate) limits: RawLimits,
    /// Environment variables. A name must not begin with `LACEWING_`.
    pub(crate) env: Entries<At<RawEnv>>,
    /// The servers that the function may reach, and the stores and secrets that it may use. None
    /// by default.
    pub(crate) grants: RawGrants,
    /// The pages of other origins that may call the function from a browser. With this table the
    /// host answers preflights. Without it the function answers them itself.
    pub(crate) cors: Option<At<RawCors>>,
}

/// The value of an environment variable: text, or a table that says where the value comes from.
#[derive(Clone, Debug)]
pub(crate) enum RawEnv {
    Text(String),
    From(RawEnvSource),
}

/// The place that the value of an environment variable comes from: one of the two.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "EnvSource")]
pub(crate) struct RawEnvSource {
    /// A variable of the host's own environment. In a host of many tenants the operator names
    /// those that a tenant may read.
    pub(crate) from_env: Option<At<String>>,
    /// A file of UTF-8, relative to the manifest; one line feed at its end is no part of the
    /// value. In a host of many tenants the file is in the app's folder, or in one that the
    /// operator names.
    pub(crate) from_file: Option<At<String>>,
}

/// A command that makes a component, in any language.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "Build")]
pub(crate) struct RawBuild {
    /// The command. A shell runs it in `dir`.
    pub(crate) command: At<String>,
    /// The component that the command makes, relative to the manifest.
    pub(crate) output: At<String>,
    /// The directory that the command runs in, relative to the manifest. The manifest's own
    /// directory by default.
    pub(crate) dir: Option<At<String>>,
}

/// A route: a path, or a table with a path.
#[derive(Clone, Debug)]
pub(crate) struct RawRoute {
    pub(crate) path: At<String>,
    pub(crate) methods: Option<At<Vec<At<String>>>>,
    pub(crate) host: Option<At<String>>,
}

/// A route: a path, and the methods and host that it is for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a path or a table")]
#[schemars(rename = "Route")]
struct RawRouteTable {
    /// The path: literal segments, `{name}` for one segment, and at the end `{*name}` for the rest
    /// of the path, which may be empty.
    #[schemars(regex(pattern = "^/"))]
    path: At<String>,
    /// The methods, such as `["GET", "POST"]`. `GET` includes `HEAD`. The host answers `OPTIONS`,
    /// unless `OPTIONS` is in the list. Every method by default; with `cors` every method but
    /// `OPTIONS`.
    methods: Option<At<Vec<At<String>>>>,
    /// The host name, such as `api.example.com`, or `*.example.com` for every name below it. Every
    /// host name of the tenant by default.
    host: Option<At<String>>,
}

/// The servers that a function may reach, and the stores and secrets that it may use.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Grants")]
pub(crate) struct RawGrants {
    /// The targets of outbound HTTP, each as `SCHEME://HOST` or `SCHEME://HOST:PORT`. The scheme
    /// is `http`, `https`, or `*` for both. The host is an address, a name, `*.example.com`
    /// for every name below it, or `*` for all. The port is the scheme's own by default, and
    /// `*` means every port.
    pub(crate) http: Vec<At<String>>,
    /// Private networks, such as `10.1.0.0/16`, that a name in `http` may resolve to. An address
    /// that `http` names needs no entry here. Under a host file the operator must allow the
    /// address as well.
    pub(crate) networks: Vec<At<String>>,
    /// The kv stores of the app that the function may use, each `"read"` or `"read-write"`.
    #[schemars(transform = access_as_values)]
    pub(crate) kv: Entries<At<String>>,
    /// The buckets of the app that the function may use, each `"read"` or `"read-write"`.
    #[schemars(transform = access_as_values)]
    pub(crate) buckets: Entries<At<String>>,
    /// The secrets of the app that the function may read, such as `["STRIPE_KEY"]`.
    /// `lacewing secret set` sets a secret; no deploy is needed. A name has upper-case letters,
    /// digits and underscores.
    #[schemars(inner(regex(pattern = "^[A-Z][A-Z0-9_]{0,63}$")), length(max = 64))]
    pub(crate) secrets: Vec<At<String>>,
    /// The SQL databases of the app that the function may use, each `"read"` or `"read-write"`.
    #[schemars(transform = access_as_values)]
    pub(crate) sql: Entries<At<String>>,
}

/// The pages of other origins that may call the function from a browser. The host answers their
/// preflights and sets the response headers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Cors", extend("required" = ["origins"]))]
pub(crate) struct RawCors {
    /// The origins of the pages, such as `https://example.com`, `https://*.example.com`, or `*` for
    /// all.
    pub(crate) origins: Option<At<Vec<At<String>>>>,
    /// The methods that the pages may use. GET, HEAD and POST by default.
    pub(crate) methods: Option<At<Vec<At<String>>>>,
    /// The request headers that the pages may send, besides those that browsers always allow; `*`
    /// for all.
    pub(crate) headers: Vec<At<String>>,
    /// The response headers that the pages may read, besides those that browsers always show; `*`
    /// for all.
    pub(crate) expose: Vec<At<String>>,
    /// Whether browsers send cookies and authorization. Not allowed together with `*`.
    #[schemars(extend("default" = false))]
    pub(crate) credentials: Option<At<bool>>,
    /// The time for which a browser may remember the answer to a preflight. The browser decides by
    /// default.
    #[schemars(range(min = 0, max = 86_400))]
    pub(crate) max_age_s: Option<At<Whole>>,
}

/// A whole number. Larger ones than fit are taken as the largest, which is outside of every range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) i128);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
        struct WholeVisitor;

        impl Visitor<'_> for WholeVisitor {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E>(self, value: i64) -> Result<Whole, E> {
                Ok(Whole(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Whole, E> {
                Ok(Whole(value.into()))
            }

            fn visit_i128<E>(self, value: i128) -> Result<Whole, E> {
                Ok(Whole(value))
            }
        }

        deserializer.deserialize_i128(WholeVisitor)
    }
}

impl JsonSchema for Whole {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Whole".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer" })
    }
}

impl<'de> Deserialize<'de> for RawRoute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawRoute, D::Error> {
        struct RouteVisitor;

        impl<'de> Visitor<'de> for RouteVisitor {
            type Value = RawRoute;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a table")
            }

            fn visit_str<E>(self, path: &str) -> Result<RawRoute, E> {
                // The span is that of the route, which the caller has.
                Ok(RawRoute {
                    path: At { value: path.to_owned(), span: 0..0 },
                    methods: None,
                    host: None,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawRoute, A::Error> {
                let table = RawRouteTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawRoute { path: table.path, methods: table.methods, host: table.host })
            }
        }

        deserializer.deserialize_any(RouteVisitor)
    }
}

impl JsonSchema for RawRoute {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RouteOrPath".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A path, or a table with a path.",
            "anyOf": [
                {
                    "description": "The path: literal segments, `{name}` for one segment, and at the end `{*name}` for the rest of the path, which may be empty.",
                    "type": "string",
                    "pattern": "^/",
                },
                generator.subschema_for::<RawRouteTable>(),
            ],
        })
    }
}

impl<'de> Deserialize<'de> for RawEnv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawEnv, D::Error> {
        struct EnvVisitor;

        impl<'de> Visitor<'de> for EnvVisitor {
            type Value = RawEnv;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawEnv, E> {
                Ok(RawEnv::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawEnv, A::Error> {
                RawEnvSource::deserialize(MapAccessDeserializer::new(map)).map(RawEnv::From)
            }
        }

        deserializer.deserialize_any(EnvVisitor)
    }
}

impl JsonSchema for RawEnv {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Env".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The value, or a table that says where the value comes from.",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<RawEnvSource>()],
        })
    }
}

/// The schema of a name of a tenant, app or function.
pub(crate) fn name_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "pattern": NAME_PATTERN })
}

/// Says of a table that its keys are names.
pub(crate) fn names_as_keys(schema: &mut schemars::Schema) {
    schema.insert("propertyNames".to_owned(), serde_json::json!({ "pattern": NAME_PATTERN }));
}

/// Says of a table that its values are kinds of access.
fn access_as_values(schema: &mut schemars::Schema) {
    let names = Access::NAMES.iter().map(|(name, _)| serde_json::json!({ "const": name }));
    let names: Vec<serde_json::Value> = names.collect();
    schema.insert("additionalProperties".to_owned(), serde_json::json!({ "oneOf": names }));
}

/// The names that [`lacewing_base::name`] takes.
pub(crate) const NAME_PATTERN: &str = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$";
