//! Runs `bench`.

use std::{
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use http::uri::PathAndQuery;
use lacewing_control::Host;
use lacewing_load::{
    RequestTemplate,
    machine::{Machine, Noise},
    probe::Probe,
    target::LoadTarget,
};
use lacewing_manifest::config::{Settings, default_cache_dir};
use lacewing_runtime::function::Revision;
use lacewing_telemetry::{InvocationLog, Sink};

use super::{
    BenchArgs,
    cold::Bench,
    report, request,
    results::{ColdStarts, LoadSettings, MeasuredProgram, Results, Speed},
    table,
    throughput::LoadedUrl,
};
use crate::cli::{
    Error, ExitCode,
    console::Console,
    print_result,
    project::{self, Project},
};

/// The results of a run, before they are put together.
struct RunResults {
    subject: MeasuredProgram,
    cold_starts: Option<ColdStarts>,
    full_speed: Option<Speed>,
    fixed_rate: Option<Speed>,
}

/// Runs `bench`.
pub(in crate::cli) fn run(args: &BenchArgs, console: &Console) -> Result<ExitCode, Error> {
    // A report that cannot be written is better known now than in a minute.
    if let Some(path) = &args.report {
        std::fs::File::create(path).map_err(|error| unwritable(path, &error))?;
    }
    if cfg!(debug_assertions) {
        console.warning(
            "this lacewing is a debug build, so its figures mean little: build it with --release",
        );
    }
    let (machine, mut noise) = (Machine::this(), Noise::new());
    let found = match &args.url {
        Some(url) => of_url(args, url, console, &mut noise)?,
        None => of_app(args, console, &mut noise)?,
    };
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let results = Results {
        version: env!("CARGO_PKG_VERSION"),
        time,
        debug_build: cfg!(debug_assertions),
        machine,
        steadiness: noise.end(),
        subject: found.subject,
        cold_starts: found.cold_starts,
        load: LoadSettings {
            connections: args.connections,
            threads: args.threads,
            duration_s: args.duration_s,
            rounds: args.rounds,
        },
        full_speed: found.full_speed,
        fixed_rate: found.fixed_rate,
    };
    let json = serde_json::to_value(&results).unwrap_or_default();
    if args.json {
        print_result(&format!("{json:#}\n"))?;
    } else {
        print_result(&table::text(&results))?;
    }
    if let Some(path) = &args.report {
        std::fs::write(path, report::page(&results, &json))
            .map_err(|error| unwritable(path, &error))?;
        console.status("Wrote", path.display());
    }
    Ok(exit_code(&results, console))
}

/// A server that gives no good answer at all was not measured.
fn exit_code(results: &Results, console: &Console) -> ExitCode {
    let mut code = ExitCode::Success;
    for speed in [&results.full_speed, &results.fixed_rate].into_iter().flatten() {
        if let Some(error) = &speed.first_error {
            console.warning(format_args!("{} requests failed: {error}", speed.error_count()));
        }
        if speed.responses == 0 {
            code = ExitCode::Failure;
        }
    }
    code
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    let text = format!("cannot write {}: {error}", path.display());
    Error::Input(std::io::Error::new(error.kind(), text))
}

fn of_url(
    args: &BenchArgs,
    url: &LoadTarget,
    console: &Console,
    noise: &mut Noise,
) -> Result<RunResults, Error> {
    let template = request::template(args, url.path().clone())?;
    let probe = Probe::new().map_err(Error::System)?;
    let answer = probe.ask_target(url, &template).map_err(|source| Error::load(url, source))?;
    let subject = subject(
        url.to_string(),
        "another path in the URL",
        &template,
        answer.status(),
        answer.body().len(),
    )?;
    let loaded =
        LoadedUrl { target: url.clone(), template: &template, status: subject.status, up: None };
    let (full_speed, fixed_rate) = match args.rate {
        // Somebody who names a rate does not want to find out what the server takes.
        Some(rate) => (None, Some(loaded.measure(args, Some(rate), (console, noise))?)),
        None => both(&loaded, args, (console, noise))?,
    };
    Ok(RunResults { subject, cold_starts: None, full_speed, fixed_rate })
}

fn of_app(args: &BenchArgs, console: &Console, noise: &mut Noise) -> Result<RunResults, Error> {
    let project = Project::at(&args.path);
    let mut settings = Settings::new(default_cache_dir());
    // In this process one sandbox at a time is enough; the one that is put under load has the
    // default.
    settings.max_sandboxes = 8;
    let loaded = project.load(settings)?;
    loaded.warnings.iter().for_each(|warning| console.finding(warning));
    let built = project::build(&loaded.file, console)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::System)?;
    let probe = Probe::new().map_err(Error::System)?;
    let cache = tempfile::tempdir().map_err(Error::System)?;

    // Faults of the app, or of the options, are said before anything is measured.
    let mut settings = loaded.file.settings.clone();
    settings.cache_dir = cache.path().to_owned();
    project::keep_state_apart(&mut settings, cache.path());
    let sink = Sink::memory();
    let host = Host::new(settings, sink.clone(), InvocationLog::None)?;
    let deploy = host.deploy(&loaded.file, &built.components);
    runtime.block_on(project::deploying_and_told(console, &sink, deploy))?;
    let revision = choose(args, &host)?;
    let template = request::template(args, request::path(args, &revision)?)?;
    let routed = request::route(&template, &host, &revision)?;
    let answer = runtime.block_on(request::invoke(&template, &host, &revision, &routed))?;
    let subject = subject(
        revision.origin.to_string(),
        "--path",
        &template,
        answer.status,
        answer.body.len(),
    )?;
    drop(host);

    let bench = Bench {
        project: &project,
        file: &loaded.file,
        built: &built,
        function: revision.origin.function.clone(),
        template: &template,
        runtime: &runtime,
        probe: &probe,
    };
    let cold_starts = match args.starts {
        0 => None,
        starts => {
            let _shown = console.progress("measuring cold starts");
            Some(bench.cold_starts(starts, cache.path(), noise)?)
        }
    };
    let up = bench.up(cache.path())?;
    let target = LoadTarget::local(up.address, template.path.clone());
    let loaded = LoadedUrl { target, template: &template, status: subject.status, up: Some(&up) };
    let (full_speed, fixed_rate) = both(&loaded, args, (console, noise))?;
    Ok(RunResults { subject, cold_starts, full_speed, fixed_rate })
}

/// Full speed, then the rate that was asked for, or half of what full speed has found.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn both(
    loaded: &LoadedUrl<'_>,
    args: &BenchArgs,
    (console, noise): (&Console, &mut Noise),
) -> Result<(Option<Speed>, Option<Speed>), Error> {
    let full = loaded.measure(args, None, (console, &mut *noise))?;
    let half = (full.per_second.median / 2.0) as u32;
    let fixed = match args.rate.unwrap_or(half) {
        0 => None,
        rate => Some(loaded.measure(args, Some(rate), (console, noise))?),
    };
    Ok((Some(full), fixed))
}

/// `other_path` is how another path is asked for.
fn subject(
    name: String,
    other_path: &str,
    template: &RequestTemplate,
    status: http::StatusCode,
    response_bytes: usize,
) -> Result<MeasuredProgram, Error> {
    let RequestTemplate { method, path, .. } = template;
    if status.as_u16() >= 400 {
        return Err(Error::NotThere(format!(
            "{name} answers {status} to {method} {path}, and bench measures good answers: choose the request with {other_path}, \
             -X, -H and --data"
        )));
    }
    let path = PathAndQuery::to_string(path);
    Ok(MeasuredProgram {
        name,
        method: method.to_string(),
        path,
        status: status.as_u16(),
        response_bytes,
    })
}

fn choose(args: &BenchArgs, host: &Host) -> Result<Arc<Revision>, Error> {
    let deployed = host.deployed();
    let revision = match (&args.function, &deployed.revisions[..]) {
        (None, [only]) => Ok(only),
        (None, _) => Err("the app has several functions; name one of them".to_owned()),
        (Some(name), all) => all
            .iter()
            .find(|revision| revision.origin.function.as_str() == name)
            .ok_or_else(|| format!("the app has no function `{name}`; it has")),
    };
    let revision = revision.map_err(|why| {
        let names = deployed.revisions.iter().map(|revision| revision.origin.function.as_str());
        Error::NotThere(format!("{why}: {}", names.collect::<Vec<_>>().join(", ")))
    })?;
    if !revision.exports().serves_http() {
        return Err(Error::NotThere(format!(
            "`{}` answers no HTTP, and bench measures requests",
            revision.origin.function
        )));
    }
    Ok(revision.clone())
}
