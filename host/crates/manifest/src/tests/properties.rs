//! Properties of reading: any text ends as an app or as findings, and an app reads as it was
//! written.

use std::fmt::Write;

use lacewing_base::{Methods, RoutePath, route::canonical_path};
use proptest::{collection::vec, prelude::*};

use super::super::*;
use super::FULL;

/// Reads a text, and prints what is found in each way.
fn read(text: &str) -> Result<App, TestCaseError> {
    let text = ManifestText::new("lacewing.toml", text);
    let (app, findings) = match App::parse(&text) {
        Ok((app, findings)) => (Ok(app), findings),
        Err(findings) => {
            prop_assert!(findings.iter().any(Diagnostic::is_error), "{findings:?}");
            (Err(TestCaseError::reject("not a manifest")), findings)
        }
    };
    for finding in &findings {
        let printed = finding.to_string();
        prop_assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
        prop_assert!(serde_json::to_string(finding).is_ok());
        prop_assert!(finding.colored().to_string().len() > printed.len());
    }
    app
}

/// Pieces of manifests, whose sequences are now and then TOML.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(FULL.split_inclusive(['\n', '=', '.', ',']).collect::<Vec<_>>())
            .prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "[", "]", "[[", "{", "}", "=", "\"", "'''", "\n", ".", ",", "#", "true", "-1", "1e9", "0x1F", "nan",
            "2024-01-01", "99999999999999999999999999999999999999999999", "é", "\u{202e}", "\t", "\0", "\r\n",
            "functions", "routes", "limits", "memory_mib", "crate",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

proptest! {
    #[test]
    fn no_text_is_too_odd(pieces in vec(piece(), 0..60)) {
        let _ = read(&pieces.concat());
    }

    #[test]
    fn no_damage_is_too_odd(at in 0..FULL.len(), length in 0usize..40, instead in piece()) {
        let end = FULL.floor_char_boundary(at + length).max(at);
        let _ = read(&format!("{}{instead}{}", &FULL[..at], &FULL[end..]));
    }

    #[test]
    fn a_written_manifest_is_read_back(model in model()) {
        let app = read(&model.text())?;
        prop_assert_eq!(Model::of(&app), model);
    }

    #[test]
    fn no_route_is_too_odd(text in "\\PC{0,40}|(/|\\{|\\}|\\*|%|a|\\.|:){0,20}") {
        if let Ok(path) = text.parse::<RoutePath>() {
            let mut router = matchit::Router::new();
            prop_assert!(router.insert(path.as_str(), 0).is_ok());
            prop_assert!(router.insert(path.shape(), 1).is_err(), "the shape matches the same paths");
            if path.parameters().next().is_none() {
                let canonical = canonical_path(path.as_str());
                prop_assert_eq!(canonical.as_deref(), Ok(path.as_str()));
            }
        }
    }

    #[test]
    fn no_grant_is_too_odd(text in "\\PC{0,30}|(https?|\\*)://(\\*\\.)?[a-z0-9.:\\[\\]@/-]{0,20}") {
        match text.parse::<HttpGrant>() {
            Ok(grant) => prop_assert_eq!(grant.to_string().parse::<HttpGrant>(), Ok(grant)),
            Err(error) => prop_assert!(!error.to_string().is_empty() && error.help() != Some(String::new())),
        }
    }
}

/// The content of a manifest, without the order and the places.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    name: String,
    functions: Vec<FunctionModel>,
}

#[derive(Clone, Debug, PartialEq)]
struct FunctionModel {
    name: String,
    routes: Vec<(String, Option<String>, Vec<String>)>,
    limits: Vec<(LimitKey, u64)>,
    env: Vec<(String, String)>,
    http: Vec<String>,
}

fn model() -> impl Strategy<Value = Model> {
    let functions = prop::collection::btree_map("[a-z][a-z0-9]{0,8}", function(), 1..5);
    ("[a-z]([a-z0-9-]{0,20}[a-z0-9])?", functions).prop_map(|(name, functions)| {
        let named = functions.into_iter().enumerate().map(|(index, (name, mut function))| {
            // Routes of different functions do not clash if their first segments differ.
            for (path, _, _) in &mut function.routes {
                *path = format!("/{index}{path}");
            }
            FunctionModel { name, ..function }
        });
        Model { name, functions: named.collect() }
    })
}

fn function() -> impl Strategy<Value = FunctionModel> {
    let path = prop_oneof!["(/[a-z]{1,5}){0,2}/\\{[a-z]{1,5}\\}", "(/[a-z]{1,5}){1,3}/?"];
    let methods = prop::sample::subsequence(vec!["GET", "PUT", "POST", "PATCH"], 0..=4);
    let host = proptest::option::of("(\\*\\.)?[a-z]{1,5}\\.[a-z]{2,3}");
    let limit = prop::sample::select(LimitKey::ALL).prop_flat_map(|key| (Just(key), key.range()));
    let env = prop::collection::btree_map("[A-Z_]{1,10}", "[^\0]{0,20}", 0..4);
    let http = "(http|https|\\*)://(\\*\\.)?[a-z]{1,8}\\.(com|org)(:[1-9]00[0-9]|:\\*)?";
    let limits = vec(limit, 0..6).prop_map(|limits| {
        let limits: std::collections::BTreeMap<_, _> = limits.into_iter().collect();
        // A budget over the deadline is warned of, which is another test's.
        limits.into_iter().filter(|(key, _)| *key != LimitKey::CpuMs).collect()
    });
    (vec((path, host, methods), 0..2), limits, env, proptest::option::of(http)).prop_map(
        |(routes, limits, env, http)| FunctionModel {
            name: String::new(),
            routes: routes
                .into_iter()
                .take(1)
                .map(|(path, host, methods)| {
                    (path, host, methods.into_iter().map(str::to_owned).collect())
                })
                .collect(),
            limits,
            env: env.into_iter().collect(),
            http: http.into_iter().collect(),
        },
    )
}

impl Model {
    fn of(app: &App) -> Model {
        let function = |function: &Function| FunctionModel {
            name: function.name.to_string(),
            routes: function.routes.iter().map(|route| route_parts(route)).collect(),
            limits: function
                .written_limits
                .iter()
                .map(|(key, _)| (*key, function.limits.get(*key).unwrap()))
                .collect(),
            env: function.env.clone(),
            http: function.grants.http.iter().map(ToString::to_string).collect(),
        };
        Model {
            name: app.name.to_string(),
            functions: app.functions.iter().map(function).collect(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("app = {}\n", quoted(&self.name));
        for function in &self.functions {
            function.write(&mut text).unwrap();
        }
        text
    }
}

fn route_parts(route: &Route) -> (String, Option<String>, Vec<String>) {
    let methods = match &route.methods {
        Methods::Any | Methods::Every => Vec::new(),
        Methods::Only(methods) => methods.iter().map(ToString::to_string).collect(),
    };
    (route.path.to_string(), route.host.as_ref().map(ToString::to_string), methods)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl FunctionModel {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        let FunctionModel { name, routes, limits, env, http } = self;
        writeln!(text, "[functions.{name}]\nroutes = [")?;
        for (path, host, methods) in routes {
            write!(text, "  {{ path = {}", quoted(path))?;
            if let Some(host) = host {
                write!(text, ", host = {}", quoted(host))?;
            }
            if !methods.is_empty() {
                write!(text, ", methods = {methods:?}")?;
            }
            writeln!(text, " }},")?;
        }
        writeln!(text, "]\ngrants = {{ http = {http:?} }}\n[functions.{name}.limits]")?;
        for (key, value) in limits {
            writeln!(text, "{key} = {value}")?;
        }
        writeln!(text, "[functions.{name}.env]")?;
        env.iter().try_for_each(|(name, value)| writeln!(text, "{name} = {}", quoted(value)))
    }
}
