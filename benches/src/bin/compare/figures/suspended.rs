//! Ten thousand invocations that wait in a hostcall at once: what each holds, and whether all are
//! answered.
//!
//! The guest sleeps until a moment that the request names, so that all of them are there together.
//! Counted is everything: the sandbox, its fiber, and its connection.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Method};
use lacewing_benches::guest::{self, Layout};
use lacewing_load::{
    generator::{Expect, LoadPlan},
    probe::{Probe, free_address},
    target::LoadTarget,
};

use super::{Figures, found};
use crate::{options::Options, peers::Peers, row::Row};

/// From the first request to the moment that all wait for.
const PATIENCE: Duration = Duration::from_secs(25);

#[allow(clippy::cast_precision_loss)]
pub(super) fn measure(options: &Options, peers: &Peers) -> anyhow::Result<Figures> {
    let count = options.suspended;
    let component = guest::guest("waits", Layout::Lean);
    let admin = free_address()?;
    let row = row(&peers.lacewing, &component, count, admin);
    let (probe, cache) = (Probe::new()?, tempfile::tempdir()?);
    let server = start(&row, cache.path(), &probe)?;
    let idle = server.used().resident_bytes;
    let until = SystemTime::now() + PATIENCE;
    let until_ms = until.duration_since(UNIX_EPOCH)?.as_millis();
    let load = LoadPlan {
        target: LoadTarget::local(server.address, format!("/{until_ms}").parse()?),
        method: Method::GET,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        connections: count,
        threads: 1,
        requests_each: Some(1),
        warmup: Duration::ZERO,
        // The answers come when the time is over.
        duration: PATIENCE + Duration::from_secs(5),
        rate: None,
        timeout: Duration::from_secs(60),
        expect: Expect { status: Some(200), body: Some(Bytes::from_static(b"waited\n")) },
    };
    let (measured, waiting, full) = std::thread::scope(|scope| {
        let running = scope.spawn(|| load.run());
        // The most that ever waited at once, and the memory at that moment.
        let (mut waiting, mut full) = (0, 0);
        while SystemTime::now() < until && waiting < u64::from(count) {
            let now = in_flight(&probe, admin).unwrap_or(0);
            if now > waiting {
                (waiting, full) = (now, server.used().resident_bytes);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        (running.join(), waiting, full)
    });
    let measured = measured.map_err(|_| anyhow::anyhow!("a thread that sends panicked"))??;
    anyhow::ensure!(waiting > 0, "nobody waited: {:?}", measured.first_error);
    let each = full.saturating_sub(idle) as f64 / waiting as f64 / 1024.0;
    let missing = u64::from(count).saturating_sub(waiting);
    let note = format!(
        "{waiting} at once, {} answers, {} errors{}; resident memory over idle, connection included",
        measured.responses,
        measured.error_count(),
        measured.first_error.map(|error| format!(" ({error})")).unwrap_or_default(),
    );
    let title = format!("{count} invocations suspended in a hostcall at once: memory each");
    let mut figure = found(&title, "KiB", vec![each], &note);
    figure.errors = measured.errors.values().sum::<u64>() + missing;
    Ok(Figures::from([("suspended_kib".to_owned(), figure)]))
}

fn row(lacewing: &Path, component: &Path, count: u32, admin: std::net::SocketAddr) -> Row {
    let (lacewing, component) = (lacewing.to_owned(), component.to_owned());
    Row {
        id: "suspended",
        title: String::new(),
        note: String::new(),
        caches: true,
        command: Box::new(move |place| {
            let manifest = format!(
                "app = \"waits\"\n\n[functions.waits]\ncomponent = {:?}\nroutes = [\"/{{until_ms}}\"]\n\n\
                 [functions.waits.limits]\nconcurrency = {count}\ndeadline_ms = 120000\n",
                component.display().to_string()
            );
            place.configure("waits.toml", &manifest)?;
            // All of them come at once: the last stand in line for as long as the others take to
            // begin.
            let host = format!(
                "admission.wait_ms = {}\nmax_sandboxes = {count}\nconnections.max = {}\n\n\
                 [tenants.waits]\nhosts = [\"127.0.0.1\"]\napps = [\"waits.toml\"]\ncomponent_dirs = [\"/\"]\n",
                PATIENCE.as_millis(),
                count + 100
            );
            place.configure("host.toml", &host)?;
            let mut command = std::process::Command::new(&lacewing);
            command.arg("up").arg("--host").arg(place.dir.join("host.toml"));
            command.args(["--listen", &place.address.to_string(), "--admin", &admin.to_string()]);
            command.arg("--cache-dir").arg(&place.cache);
            Ok(command)
        }),
    }
}

/// Its answer to `/` is no hello: it is ready when it waits for the past.
fn start(row: &Row, cache: &Path, probe: &Probe) -> anyhow::Result<crate::row::Server> {
    row.start_on("/0", "waited\n", cache, probe)
}

fn in_flight(probe: &Probe, admin: std::net::SocketAddr) -> anyhow::Result<u64> {
    let metrics = probe.first(admin, "/metrics", Instant::now())?;
    let text = String::from_utf8_lossy(metrics.body());
    let line =
        text.lines().find(|line| line.contains("invocations_in_flight") && !line.starts_with('#'));
    let value = line.and_then(|line| line.rsplit(' ').next()).context("no such metric")?;
    Ok(value.parse()?)
}
