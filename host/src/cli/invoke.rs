//! `lacewing invoke`: one request, event or call from the shell.

mod event;
mod run;

use std::{
    io::{self, Read},
    path::PathBuf,
    str::FromStr,
};

use clap::{Args, ValueHint};
use http::{HeaderName, HeaderValue, Method};
use lacewing_manifest::RESERVED_ENV;

use super::environment::CacheArgs;

pub(super) use run::run;

const EXAMPLES: &str = "\
Examples:
  lacewing invoke                                             GET / to the app's only function
  lacewing invoke . shop --path '/items?max=3' -H 'accept: application/json'
  lacewing invoke . shop --path /items --data @item.json      POST, because there is a body
  lacewing invoke . resize --event '{\"type\":\"upload\",\"data\":{\"key\":\"a.png\"}}'
  echo '{\"n\":7}' | lacewing invoke . square --call -          a direct call, its input from a pipe

The exit code is 0 if the function answered. It is 5 if the outcome is not ok, or if the answer to
an event or a call is an error.";

/// Arguments of `invoke`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InvokeArgs {
    /// The app: a directory with a lacewing.toml, such a file, or a component (.wasm).
    #[arg(default_value = ".", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,

    /// The function; not needed where the app has only one.
    pub function: Option<String>,

    /// The request's method [default: GET, or POST with --data]
    #[arg(short = 'X', long, value_name = "METHOD", conflicts_with_all = ["event", "call"])]
    pub method: Option<Method>,

    /// The request's path and query [default: /]
    #[arg(long = "path", value_name = "PATH", conflicts_with_all = ["event", "call"])]
    pub request_path: Option<String>,

    /// A header field of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", conflicts_with_all = ["event", "call"])]
    pub headers: Vec<Header>,

    /// The request's body: text, @FILE, or - for standard input.
    #[arg(short, long, value_name = "DATA", conflicts_with_all = ["event", "call"])]
    pub data: Option<Payload>,

    /// Send a CloudEvent instead, or a JSON array of them: JSON, @FILE, or -. Missing attributes
    /// are filled in.
    #[arg(long, value_name = "JSON", conflicts_with = "call")]
    pub event: Option<Payload>,

    /// Call the function directly instead, with this input: JSON, @FILE, or -.
    #[arg(long, value_name = "JSON")]
    pub call: Option<Payload>,

    /// An environment variable besides those of the manifest; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<EnvVar>,

    /// Print result, outcome, time, fuel and memory as one JSON object. Its `body_encoding` is
    /// json, text, or base64 for a body of other bytes.
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    cache: CacheArgs,
}

impl InvokeArgs {
    /// The method that was given, or else GET; with a body POST.
    pub fn method(&self) -> Method {
        let implied = if self.data.is_some() { Method::POST } else { Method::GET };
        self.method.clone().unwrap_or(implied)
    }

    /// The path and query of the request.
    pub fn path_with_query(&self) -> &str {
        self.request_path.as_deref().unwrap_or("/")
    }
}

/// Data on the command line, as curl has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The argument itself.
    Text(String),
    /// A file's contents: `@FILE`.
    File(PathBuf),
    /// The content of standard input: `-`.
    Stdin,
}

impl FromStr for Payload {
    type Err = String;

    fn from_str(text: &str) -> Result<Payload, String> {
        match text.strip_prefix('@') {
            Some("") => {
                Err("a file's name belongs behind `@`, or `-` for standard input".to_owned())
            }
            Some("-") => Ok(Payload::Stdin),
            Some(file) => Ok(Payload::File(file.into())),
            None if text == "-" => Ok(Payload::Stdin),
            None => Ok(Payload::Text(text.to_owned())),
        }
    }
}

impl Payload {
    /// Its bytes.
    ///
    /// # Errors
    /// The file or standard input cannot be read; the error names it.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let named = |name: &str, error: io::Error| {
            io::Error::new(error.kind(), format!("cannot read {name}: {error}"))
        };
        match self {
            Payload::Text(text) => Ok(text.clone().into_bytes()),
            Payload::File(path) => {
                std::fs::read(path).map_err(|error| named(&path.display().to_string(), error))
            }
            Payload::Stdin => {
                let mut bytes = Vec::new();
                let read = io::stdin().lock().read_to_end(&mut bytes);
                read.map(|_| bytes).map_err(|error| named("standard input", error))
            }
        }
    }
}

/// A header field: `accept: text/html`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: HeaderName,
    /// Its value, without spaces around it.
    pub value: HeaderValue,
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Header, String> {
        let (name, value) =
            text.split_once(':').ok_or("a header field is `name: value`, with a colon")?;
        let name = HeaderName::from_str(name.trim())
            .map_err(|_| format!("`{name}` is not the name of a header field"))?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| {
            format!("the value of `{name}` has characters that no header field may have")
        })?;
        Ok(Header { name, value })
    }
}

/// An environment variable: `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// The part before the first `=`.
    pub name: String,
    /// The part behind it.
    pub value: String,
}

impl FromStr for EnvVar {
    type Err = String;

    fn from_str(text: &str) -> Result<EnvVar, String> {
        match text.split_once('=') {
            Some((name, _)) if name.starts_with(RESERVED_ENV) => Err(format!(
                "`{name}` is reserved: the host sets all variables that begin with `{RESERVED_ENV}`"
            )),
            Some((name, value)) if !name.is_empty() => {
                Ok(EnvVar { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("an environment variable is `NAME=VALUE`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn parse(args: &[&str]) -> Result<InvokeArgs, String> {
        InvokeArgs::augment_args(Command::new("invoke").no_binary_name(true))
            .try_get_matches_from(args)
            .and_then(|matches| InvokeArgs::from_arg_matches(&matches))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_is_get_unless_it_has_a_body_or_a_method() {
        assert_eq!(parse(&[]).unwrap().method(), Method::GET);
        assert_eq!(parse(&["-d", "x"]).unwrap().method(), Method::POST);
        assert_eq!(parse(&["-d", "x", "-X", "PUT"]).unwrap().method(), Method::PUT);
        assert_eq!(parse(&[]).unwrap().path_with_query(), "/");
    }

    #[test]
    fn positions_are_the_app_then_the_function() {
        let args = parse(&["shop.toml", "list", "--path", "/x?y=1"]).unwrap();
        assert_eq!((args.path, args.function), ("shop.toml".into(), Some("list".to_owned())));
        assert_eq!(args.request_path.as_deref(), Some("/x?y=1"));
    }

    #[test]
    fn data_comes_from_the_argument_a_file_or_a_pipe() {
        assert_eq!("-".parse(), Ok(Payload::Stdin));
        assert_eq!("@-".parse(), Ok(Payload::Stdin));
        assert_eq!("{}".parse(), Ok(Payload::Text("{}".to_owned())));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("item.json");
        let payload: Payload = format!("@{}", file.display()).parse().unwrap();
        let error = payload.read().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot read {}: No such file", file.display())),
            "{error}"
        );
        std::fs::write(&file, [1, 2, 255]).unwrap();
        assert_eq!(payload.read().unwrap(), [1, 2, 255]);
        assert!("@".parse::<Payload>().is_err());
    }

    #[test]
    fn headers_and_variables_are_checked() {
        let header: Header = "Accept:  text/html ".parse().unwrap();
        assert_eq!((header.name.as_str(), header.value.as_bytes()), ("accept", &b"text/html"[..]));
        assert_eq!(
            "accept".parse::<Header>().unwrap_err(),
            "a header field is `name: value`, with a colon"
        );
        assert_eq!(
            "a b: c".parse::<Header>().unwrap_err(),
            "`a b` is not the name of a header field"
        );
        assert_eq!(
            "a: b\nc".parse::<Header>().unwrap_err(),
            "the value of `a` has characters that no header field may have"
        );
        let variable: EnvVar = "A=b=c".parse().unwrap();
        assert_eq!((variable.name.as_str(), variable.value.as_str()), ("A", "b=c"));
        assert_eq!("A".parse::<EnvVar>().unwrap_err(), "an environment variable is `NAME=VALUE`");
        assert_eq!(
            "LACEWING_TENANT=x".parse::<EnvVar>().unwrap_err(),
            "`LACEWING_TENANT` is reserved: the host sets all variables that begin with `LACEWING_`"
        );
    }

    #[test]
    fn request_event_and_call_exclude_each_other() {
        for args in [["--event=1", "--call=1"], ["--event=1", "--data=1"], ["--call=1", "-XPUT"]] {
            let error = parse(&args).unwrap_err();
            assert!(error.contains("cannot be used with"), "{error}");
        }
    }
}
