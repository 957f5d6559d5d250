//! `lacewing up`: builds an app's functions and serves them.

mod announce;
mod descriptors;
mod resident;
mod rollout;
mod run;
mod s3;
mod what;

use std::{net::SocketAddr, num::NonZero, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum, ValueHint};
use lacewing_manifest::config::{LogFormat, RequestLog, Settings};

pub(super) use run::run;

use super::invoke::EnvVar;

const EXAMPLES: &str = "\
Examples:
  lacewing up                                   the app in this directory, on http://127.0.0.1:8080
  lacewing up examples/hello --watch            build and swap whenever a source changes
  lacewing up hello.wasm --listen 127.0.0.1:0   a component from elsewhere, on a free port
  lacewing up --host host.toml                  many tenants; SIGHUP reads the file again";

/// Arguments of `up`. Without an argument, the host file's value holds, or else the default.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    /// The app: a directory with a lacewing.toml, such a file, or a component (.wasm).
    #[arg(default_value = ".", value_hint = ValueHint::AnyPath, conflicts_with = "host")]
    pub path: PathBuf,

    /// Serve the tenants and apps of a host file instead.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub host: Option<PathBuf>,

    /// Build again when a source changes, and swap without dropping a request.
    #[arg(long)]
    pub watch: bool,

    /// An environment variable on top of the manifest's; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "host")]
    pub env: Vec<EnvVar>,

    /// The address of requests; may be given several times [default: 127.0.0.1:8080]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "LACEWING_LISTEN",
        value_delimiter = ',',
        value_parser = listen_address
    )]
    pub listen: Vec<SocketAddr>,

    // For those who know it from elsewhere.
    #[arg(long, hide = true, value_name = "PORT", value_parser = no_port)]
    port: Option<NoValue>,

    /// The address of metrics, health and readiness, or `off` [default: 127.0.0.1:9180]
    #[arg(long, value_name = "ADDRESS|off", env = "LACEWING_ADMIN")]
    pub admin: Option<AdminAddress>,

    /// The address of the S3 API of the buckets, or `off` [default: off]
    #[arg(long, value_name = "ADDRESS|off", env = "LACEWING_S3")]
    pub s3: Option<AdminAddress>,

    /// The directory of compiled components [default: the user's cache directory]
    #[arg(long, value_name = "DIR", env = "LACEWING_CACHE_DIR", value_hint = ValueHint::DirPath)]
    pub cache_dir: Option<PathBuf>,

    /// The directory of kv stores, buckets, SQL databases and secrets
    /// [default: .lacewing/state in the app's directory]
    #[arg(long, value_name = "DIR", env = "LACEWING_STATE", value_hint = ValueHint::DirPath)]
    pub state: Option<PathBuf>,

    /// The format of log lines [default: text]
    #[arg(long, value_name = "FORMAT", env = "LACEWING_LOG_FORMAT")]
    pub log_format: Option<LogFormatArg>,

    /// Requests that get a log line [default: all on a terminal, else errors]
    #[arg(long, value_name = "WHICH", env = "LACEWING_REQUEST_LOG")]
    pub request_log: Option<RequestLogArg>,

    /// Seconds in which accepted requests may finish after the signal to stop [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=3600))]
    pub grace_period_s: Option<u32>,

    /// Sandboxes that exist at once [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_sandboxes: Option<u32>,

    /// End together with the process that started this one.
    #[arg(long, hide = true)]
    pub ends_with_parent: bool,

    /// Threads that serve requests [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,

    /// Connections open at once [default: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,
}

impl UpArgs {
    /// Replaces settings by the arguments that were given.
    pub fn apply(&self, settings: &mut Settings) {
        if !self.listen.is_empty() {
            settings.listen.clone_from(&self.listen);
        }
        if let Some(admin) = self.admin {
            settings.admin = admin.0;
        }
        if let Some(s3) = self.s3 {
            settings.s3 = s3.0;
        }
        if let Some(cache_dir) = &self.cache_dir {
            settings.cache_dir.clone_from(cache_dir);
        }
        if let Some(state) = &self.state {
            settings.state_dir = Some(state.clone());
        }
        if let Some(format) = self.log_format {
            settings.log.format = format.into();
        }
        if let Some(requests) = self.request_log {
            settings.log.requests = requests.into();
        }
        if let Some(seconds) = self.grace_period_s {
            settings.grace_period = Duration::from_secs(seconds.into());
        }
        if let Some(sandboxes) = self.max_sandboxes {
            settings.max_sandboxes = sandboxes;
        }
        if let Some(connections) = self.max_connections {
            settings.connections.max = connections;
        }
    }
}

/// A value that there is none of.
#[derive(Clone, Debug)]
enum NoValue {}

fn no_port(port: &str) -> Result<NoValue, String> {
    Err(format!("there is no such option: write `--listen 127.0.0.1:{port}`"))
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an IP address with a port, such as 127.0.0.1:8080".to_owned())
}

/// The admin listener's address, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminAddress(pub Option<SocketAddr>);

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<AdminAddress, String> {
        if text == "off" {
            return Ok(AdminAddress(None));
        }
        let address = text.parse().map_err(|_| {
            "neither an address with a port, such as 127.0.0.1:9180, nor `off`".to_owned()
        })?;
        Ok(AdminAddress(Some(address)))
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> LogFormat {
        match format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        }
    }
}

/// The requests that get a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RequestLogArg {
    /// Every request
    All,
    /// Requests with another outcome than ok, or a status of 500 and above
    Errors,
    /// No request
    None,
}

impl From<RequestLogArg> for RequestLog {
    fn from(which: RequestLogArg) -> RequestLog {
        match which {
            RequestLogArg::All => RequestLog::All,
            RequestLogArg::Errors => RequestLog::Errors,
            RequestLogArg::None => RequestLog::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn parse(args: &[&str]) -> Result<UpArgs, clap::Error> {
        let command = UpArgs::augment_args(Command::new("up").no_binary_name(true));
        command.try_get_matches_from(args).and_then(|matches| UpArgs::from_arg_matches(&matches))
    }

    fn applied(args: &[&str]) -> Settings {
        let mut settings = Settings::new("/cache".into());
        parse(args).unwrap().apply(&mut settings);
        settings
    }

    #[test]
    fn missing_arguments_keep_the_settings() {
        assert_eq!(applied(&[]), Settings::new("/cache".into()));
    }

    #[test]
    fn given_arguments_replace_the_settings() {
        let settings = applied(&[
            "app",
            "--listen=127.0.0.1:1,[::1]:2",
            "--listen=127.0.0.1:3",
            "--admin=off",
            "--cache-dir=/tmp/c",
            "--state=/tmp/s",
            "--log-format=json",
            "--request-log=errors",
            "--grace-period-s=5",
            "--max-sandboxes=7",
            "--max-connections=8",
        ]);
        let mut expected = Settings::new("/tmp/c".into());
        expected.listen =
            ["127.0.0.1:1", "[::1]:2", "127.0.0.1:3"].map(|a| a.parse().unwrap()).into();
        expected.admin = None;
        expected.state_dir = Some("/tmp/s".into());
        expected.log.format = LogFormat::Json;
        expected.log.requests = RequestLog::Errors;
        expected.grace_period = Duration::from_secs(5);
        expected.max_sandboxes = 7;
        expected.connections.max = 8;
        assert_eq!(settings, expected);
    }

    #[test]
    fn an_invalid_address_is_answered_with_an_example() {
        let error = parse(&["--admin", "here"]).unwrap_err().to_string();
        assert!(
            error.contains("neither an address with a port, such as 127.0.0.1:9180, nor `off`"),
            "{error}"
        );
        for address in ["8080", "localhost:8080", "127.0.0.1:99999"] {
            let error = parse(&["--listen", address]).unwrap_err().to_string();
            assert!(
                error.contains("not an IP address with a port, such as 127.0.0.1:8080"),
                "{error}"
            );
        }
        let error = parse(&["--port", "3000"]).unwrap_err().to_string();
        assert!(
            error.contains("there is no such option: write `--listen 127.0.0.1:3000`"),
            "{error}"
        );
        assert!(parse(&["--max-sandboxes=0"]).is_err());
        assert!(parse(&["--grace-period-s=3601"]).is_err());
    }

    #[test]
    fn an_app_and_a_host_file_exclude_each_other() {
        assert!(parse(&["app", "--host", "host.toml"]).is_err());
        assert_eq!(parse(&["--host", "host.toml"]).unwrap().host, Some("host.toml".into()));
    }
}
