//! Runs one invocation in this process, through the engine and under the limits that serving has.
//!
//! The function is compiled in the metered profile, so that the fuel it took is known whether or
//! not it has a limit; its times are therefore an upper bound of what serving takes.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use lacewing_base::outcome::Outcome;
use lacewing_control::Host;
use lacewing_manifest::config::HostFile;
use lacewing_runtime::function::Revision;
use lacewing_telemetry::{
    Captured, Context, InvocationId, InvocationLog, RequestHead, Sink, displayed,
    logs::{self, LogOptions},
};
use serde_json::{Value, json};

use super::{InvokeArgs, Payload, event};
use crate::cli::{
    Error, ExitCode,
    console::Console,
    print_bytes, print_result,
    project::{self, Project},
    routed::Routed,
};

/// How long after its deadline a guest may be recorded.
const TAKEDOWN: Duration = Duration::from_secs(5);

/// The answer, before it is printed. The invocation's record says how it ended.
struct Outgoing {
    /// The result, for people and for `--json`.
    body: Vec<u8>,
    head: Option<(StatusCode, Vec<(String, String)>)>,
    /// The function's own word for it, where the outcome is `ok` and the function says that it
    /// failed.
    failed: bool,
}

/// Runs `invoke`.
pub(in crate::cli) fn run(args: &InvokeArgs, console: &Console) -> Result<ExitCode, Error> {
    let mut loaded = Project::at(&args.path).load(args.cache.settings())?;
    loaded.warnings.iter().for_each(|warning| console.finding(warning));
    prepare(args, &mut loaded.file);
    let built = project::build(&loaded.file, console)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::System)?;
    let _logs = logs::init(&LogOptions::for_command())?;
    let sink = Sink::memory();
    let host = Host::new(loaded.file.settings.clone(), sink.clone(), InvocationLog::All)?;
    runtime.block_on(async {
        let deploy = host.deploy(&loaded.file, &built.components);
        project::deploying_and_told(console, &sink, deploy).await?;
        let revision = choose(args, &host)?;
        // The lines of its start at deploy are not part of the invocation.
        sink.take();
        let outgoing = invoke(args, &host, &revision).await?;
        report(args, console, outgoing, &recorded(&sink, &revision).await)
    })
}

/// The variables of the command line, and fuel for everybody.
fn prepare(args: &InvokeArgs, file: &mut HostFile) {
    let functions = file
        .tenants
        .iter_mut()
        .flat_map(|tenant| &mut tenant.apps)
        .flat_map(|app| &mut app.functions);
    for function in functions {
        for variable in &args.env {
            function.set_env(&variable.name, &variable.value);
        }
        function.limits.fuel.get_or_insert(i64::MAX.unsigned_abs());
    }
}

fn choose(args: &InvokeArgs, host: &Host) -> Result<Arc<Revision>, Error> {
    let deployed = host.deployed();
    let names = || {
        let names: Vec<&str> =
            deployed.revisions.iter().map(|revision| revision.origin.function.as_str()).collect();
        names.join(", ")
    };
    match (&args.function, &deployed.revisions[..]) {
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Error::NotThere(format!(
            "the app has several functions; name one of them: {}",
            names()
        ))),
        (Some(name), all) => all
            .iter()
            .find(|revision| revision.origin.function.as_str() == name)
            .cloned()
            .ok_or_else(|| {
                Error::NotThere(format!("the app has no function `{name}`; it has: {}", names()))
            }),
    }
}

async fn invoke(
    args: &InvokeArgs,
    host: &Arc<Host>,
    revision: &Arc<Revision>,
) -> Result<Outgoing, Error> {
    let exports = revision.exports();
    let needs = |there: bool, what: &str, interface: &str| {
        let name = &revision.origin.function;
        if there {
            Ok(())
        } else {
            Err(Error::NotThere(format!("`{name}` {what}: it does not export {interface}")))
        }
    };
    if let Some(payload) = &args.call {
        needs(exports.call, "cannot be called", "lacewing:function/call")?;
        return call(host, revision, &read(payload)?).await;
    }
    if let Some(payload) = &args.event {
        needs(exports.events, "takes no events", "lacewing:function/events")?;
        return events(host, revision, &read(payload)?).await;
    }
    needs(
        exports.serves_http(),
        "answers no HTTP",
        "lacewing:function/http or wasi:http; use --call or --event",
    )?;
    request(args, host, revision).await
}

fn read(payload: &Payload) -> Result<Vec<u8>, Error> {
    payload.read().map_err(Error::Input)
}

fn context(revision: &Revision) -> Context {
    let nanoseconds =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    Context::new(revision.origin.clone(), InvocationId(nanoseconds))
}

async fn call(
    host: &Arc<Host>,
    revision: &Arc<Revision>,
    payload: &[u8],
) -> Result<Outgoing, Error> {
    let called = host.invoker().call(revision, &Arc::new(context(revision)), payload).await;
    Ok(match called.result {
        Ok(Ok(output)) => Outgoing { body: output, head: None, failed: false },
        Ok(Err(error)) => {
            let body =
                json!({ "error": error.name, "message": error.message }).to_string().into_bytes();
            Outgoing { body, head: None, failed: true }
        }
        Err(_) => Outgoing::nothing(),
    })
}

async fn events(
    host: &Arc<Host>,
    revision: &Arc<Revision>,
    payload: &[u8],
) -> Result<Outgoing, Error> {
    let batch = event::parse(payload).map_err(Error::NotThere)?;
    let called = host.invoker().events(revision, &Arc::new(context(revision)), &batch).await;
    Ok(match called.result {
        Ok(results) => {
            let failed = results.iter().any(Result::is_err);
            let results: Vec<Value> = batch
                .iter()
                .zip(&results)
                .map(|(event, result)| event::describe(event, result))
                .collect();
            Outgoing { body: json!(results).to_string().into_bytes(), head: None, failed }
        }
        Err(_) => Outgoing::nothing(),
    })
}

async fn request(
    args: &InvokeArgs,
    host: &Arc<Host>,
    revision: &Arc<Revision>,
) -> Result<Outgoing, Error> {
    if !args.path_with_query().starts_with('/') {
        return Err(Error::NotThere(format!(
            "{:?} is not a path: a path begins with a slash",
            args.path_with_query()
        )));
    }
    let mut request = Request::builder().method(args.method()).uri(args.path_with_query());
    for header in &args.headers {
        request = request.header(&header.name, &header.value);
    }
    let (parts, ()) = request
        .body(())
        .map_err(|error| {
            Error::NotThere(format!("{:?} is not a path: {error}", args.path_with_query()))
        })?
        .into_parts();
    let body = args.data.as_ref().map(read).transpose()?.unwrap_or_default();
    // A function without routes is asked all the same.
    let routed = match revision.routes.is_empty() {
        true => Routed::default(),
        false => Routed::find(host, revision, "localhost", &parts.method, parts.uri.path())?,
    };
    let head = RequestHead { method: parts.method.clone(), uri: parts.uri.clone() };
    let context = Context { head: Some(head), ..context(revision) };
    let answered = routed.invoke(host, revision, context, "localhost", parts, body.into()).await;
    match answered {
        Ok(response) => Outgoing::response(response).await,
        Err(_) => Ok(Outgoing::nothing()),
    }
}

impl Outgoing {
    /// The invocation failed, and its record says why.
    fn nothing() -> Outgoing {
        Outgoing { body: Vec::new(), head: None, failed: true }
    }

    async fn response(response: Response<lacewing_base::body::Body>) -> Result<Outgoing, Error> {
        let (parts, body) = response.into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let (mut failed, mut bytes, mut body) = (false, Vec::new(), pin!(body));
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => bytes.extend_from_slice(&data),
                // Trailers.
                Ok(Err(_)) => {}
                // The bytes before it were the guest's all the same. The record says why there are
                // no more.
                Err(_) => failed = true,
            }
        }
        Ok(Outgoing { body: bytes, head: Some((parts.status, headers)), failed })
    }
}

/// The invocation's lines, and its record. A guest that streams is recorded when it has ended,
/// which may be after its body has: no later than its deadline, and the time to take it down.
async fn recorded(sink: &Sink, revision: &Revision) -> Vec<Captured> {
    let patience = revision.spec.limits.deadline + TAKEDOWN;
    tokio::time::timeout(patience, sink.recorded()).await.unwrap_or_else(|_| sink.take())
}

fn report(
    args: &InvokeArgs,
    console: &Console,
    outgoing: Outgoing,
    captured: &[Captured],
) -> Result<ExitCode, Error> {
    let record: Value = captured
        .iter()
        .find_map(|one| match one {
            Captured::Record(json) => serde_json::from_str(json).ok(),
            Captured::Line(_) => None,
        })
        .unwrap_or_default();
    // Every invocation is recorded: that this one was not is a bug of the host.
    let outcome = record["outcome"].as_str().unwrap_or(Outcome::Internal.as_str()).to_owned();
    if args.json {
        let lines = captured.iter().filter_map(|one| match one {
            Captured::Line(line) => Some(line),
            Captured::Record(_) => None,
        });
        let mut document = json!({
            "outcome": outcome,
            "duration_us": record["duration_us"],
            "cpu_us": record["cpu_us"],
            "fuel": record["fuel"],
            "memory_peak_bytes": record["memory_peak_bytes"],
            "detail": record["detail"],
            "log": lines.map(|line| json!({
                "level": line.level.to_string(), "stream": line.stream.as_str(), "message": line.message,
            })).collect::<Vec<_>>(),
        });
        if let Some((status, headers)) = &outgoing.head {
            document["status"] = json!(status.as_u16());
            document["headers"] = json!(headers);
        }
        let (body, encoding) = as_json(&outgoing.body);
        document["body"] = body;
        document["body_encoding"] = json!(encoding);
        print_result(&format!("{document:#}\n"))?;
    } else {
        project::printed(console, captured);
        if let Some((status, headers)) = &outgoing.head {
            console.line(status);
            headers.iter().for_each(|(name, value)| console.line(format_args!("{name}: {value}")));
            console.line("");
        }
        print_bytes(&outgoing.body)?;
        if !outgoing.body.is_empty() && !outgoing.body.ends_with(b"\n") {
            console.line("");
        }
        console.status(&outcome, figures(&record));
        if let Some(detail) = record["detail"].as_str() {
            console.line(displayed(detail));
        }
    }
    let failed = outcome != Outcome::Ok.as_str() || outgoing.failed;
    Ok(if failed { ExitCode::Outcome } else { ExitCode::Success })
}

/// A body and its encoding: JSON where it is JSON, text where it is text, else base64 (RFC 4648,
/// section 4).
fn as_json(body: &[u8]) -> (Value, &'static str) {
    if let Ok(value) = serde_json::from_slice(body) {
        return (value, "json");
    }
    match std::str::from_utf8(body) {
        Ok(text) => (text.into(), "text"),
        Err(_) => (BASE64.encode(body).into(), "base64"),
    }
}

#[allow(clippy::cast_precision_loss)]
fn figures(record: &Value) -> String {
    let number = |key: &str| record[key].as_u64().unwrap_or(0);
    format!(
        "in {:.3} ms (cpu {:.3} ms), fuel {}, memory {:.1} MiB",
        number("duration_us") as f64 / 1e3,
        number("cpu_us") as f64 / 1e3,
        number("fuel"),
        number("memory_peak_bytes") as f64 / f64::from(1 << 20),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_how_it_is_encoded() {
        assert_eq!(as_json(b"{\"a\":1}"), (json!({ "a": 1 }), "json"));
        assert_eq!(as_json("caf\u{e9}".as_bytes()), (json!("caf\u{e9}"), "text"));
        assert_eq!(as_json(b""), (json!(""), "text"));
        assert_eq!(as_json(b"\x89PNG\r\n"), (json!("iVBORw0K"), "base64"));
    }
}
