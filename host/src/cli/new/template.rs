//! The templates, one per kind of handler. Their files are in `host/templates`.

use std::fmt;

use clap::ValueEnum;
use lacewing_base::name::AppName;

use super::Sdk;

/// The kind of a new function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FunctionTemplate {
    /// Answers HTTP requests
    Http,
    /// Takes and returns JSON, typed and checked
    Json,
    /// Streams its response: server-sent events
    Streaming,
    /// Handles events
    Event,
    /// Is called with an input, answers with an output
    Call,
}

/// The differences between templates.
struct Files {
    manifest: &'static str,
    handler: &'static str,
    readme: &'static str,
}

macro_rules! files {
    ($kind:literal) => {
        Files {
            manifest: include_str!(concat!("../../../templates/", $kind, "/lacewing.toml")),
            handler: include_str!(concat!("../../../templates/", $kind, "/lib.rs")),
            readme: include_str!(concat!("../../../templates/", $kind, "/README.md")),
        }
    };
}

const CARGO_TOML: &str = include_str!("../../../templates/Cargo.toml.in");
const GITIGNORE: &str = include_str!("../../../templates/gitignore");

impl FunctionTemplate {
    /// The files of a new function: paths in its directory, and texts.
    pub(super) fn files(self, name: &AppName, sdk: &Sdk) -> Vec<(&'static str, String)> {
        let Files { manifest, handler, readme } = self.sources();
        let fill = |text: &str| text.replace("{{name}}", name.as_str());
        let dependencies = self.dependencies(&sdk.requirement());
        let cargo_toml = fill(CARGO_TOML).replace("{{dependencies}}\n", &dependencies);
        let mut files = vec![
            ("Cargo.toml", cargo_toml),
            ("lacewing.toml", fill(manifest)),
            ("src/lib.rs", fill(handler)),
            ("README.md", fill(readme)),
            (".gitignore", GITIGNORE.to_owned()),
        ];
        if let Some(config) = sdk.cargo_config() {
            files.push((".cargo/config.toml", config));
        }
        files
    }

    fn sources(self) -> Files {
        match self {
            FunctionTemplate::Http => files!("http"),
            FunctionTemplate::Json => files!("json"),
            FunctionTemplate::Streaming => files!("streaming"),
            FunctionTemplate::Event => files!("event"),
            FunctionTemplate::Call => files!("call"),
        }
    }

    /// The lines of `[dependencies]`.
    fn dependencies(self, sdk: &toml::Value) -> String {
        let serde = "serde = { version = \"1\", features = [\"derive\"] }\n";
        let others = match self {
            FunctionTemplate::Http | FunctionTemplate::Streaming => "",
            FunctionTemplate::Json | FunctionTemplate::Event | FunctionTemplate::Call => serde,
        };
        format!("lacewing-sdk = {sdk}\n{others}")
    }

    /// The commands to type after `new`, in the function's directory.
    pub(super) fn next_commands(self) -> &'static [&'static str] {
        match self {
            FunctionTemplate::Http | FunctionTemplate::Json | FunctionTemplate::Streaming => {
                &["cargo test", "lacewing up --watch"]
            }
            FunctionTemplate::Event => {
                &["cargo test", r#"lacewing invoke --event '{"data":{"key":"a.png","bytes":7}}'"#]
            }
            FunctionTemplate::Call => {
                &["cargo test", r#"lacewing invoke --call '{"numbers":[1,2,6]}'"#]
            }
        }
    }
}

impl fmt::Display for FunctionTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
