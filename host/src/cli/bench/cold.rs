//! The four cold starts of a function, each measured by itself.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use lacewing_base::name::FunctionName;
use lacewing_control::Host;
use lacewing_load::{
    RequestTemplate,
    generator::{Histogram, histogram},
    machine::Noise,
    probe::Probe,
    series::SeriesSummary,
};
use lacewing_manifest::config::HostFile;
use lacewing_runtime::function::Revision;
use lacewing_telemetry::{InvocationLog, Sink, metrics::Exposition};
use tokio::runtime::Runtime;

use super::{
    child::HostChild,
    request,
    results::{ColdStarts, Quantiles},
};
use crate::cli::{
    Error,
    project::{self, BuiltProject, Project},
    routed::Routed,
};

/// An app that is built, and the function of it that is measured.
pub(super) struct Bench<'a> {
    pub(super) project: &'a Project,
    pub(super) file: &'a HostFile,
    pub(super) built: &'a BuiltProject,
    pub(super) function: FunctionName,
    pub(super) template: &'a RequestTemplate,
    pub(super) runtime: &'a Runtime,
    pub(super) probe: &'a Probe,
}

/// Batches of fresh invocations.
const BATCHES: usize = 20;
/// Invocations of a batch, at the most.
const BATCH: u32 = 200;
/// The longest that all batches may take together.
const BATCHES_TIME: Duration = Duration::from_secs(2);
/// Before anything is counted: lazily made things are there then.
const WARMUP: u32 = 50;
/// Deploys are compiled anew each time, and are measured no more often than this.
const DEPLOYS: u32 = 5;

impl Bench<'_> {
    /// Measures all four, so many times each, with artifacts in `cache_dir`.
    pub(super) fn cold_starts(
        &self,
        starts: u32,
        cache_dir: &Path,
        noise: &mut Noise,
    ) -> Result<ColdStarts, Error> {
        let mut deploy = Vec::new();
        for _ in 0..starts.min(DEPLOYS) {
            noise.look();
            let empty = tempfile::tempdir().map_err(Error::System)?;
            deploy.push(self.deploy(empty.path())?);
        }
        // Measurements from here on find their artifact.
        self.deploy(cache_dir)?;
        let scaled_to_zero = self.scaled_to_zero(starts, cache_dir)?;
        let mut host_start = Vec::new();
        for _ in 0..starts {
            noise.look();
            let up = self.up(cache_dir)?;
            host_start.push(milliseconds(up.started_in));
        }
        noise.look();
        let (to_guest, fresh) = self.fresh(cache_dir)?;
        Ok(ColdStarts {
            fresh_to_guest_us: SeriesSummary::new(to_guest),
            fresh_us: Quantiles::of(&fresh),
            scaled_to_zero_ms: SeriesSummary::new(scaled_to_zero),
            host_start_ms: SeriesSummary::new(host_start),
            deploy_ms: SeriesSummary::new(deploy),
        })
    }

    /// A host process that serves the app.
    pub(super) fn up(&self, cache_dir: &Path) -> Result<HostChild, Error> {
        let Bench { project, file, built, template, probe, .. } = self;
        HostChild::start(project, file, built, cache_dir, (template, probe))
            .map_err(|error| Error::System(io::Error::other(format!("`lacewing up`: {error}"))))
    }

    /// A host in this process, without anything deployed.
    fn host(&self, cache_dir: &Path) -> Result<Arc<Host>, Error> {
        let mut settings = self.file.settings.clone();
        settings.cache_dir = cache_dir.to_owned();
        project::keep_state_apart(&mut settings, cache_dir);
        Ok(Host::new(settings, Sink::nothing(), InvocationLog::Errors)?)
    }

    /// From admission to the whole response of a function that is registered and not resident, in
    /// this process, in milliseconds: its artifact is checked, mapped and linked, and it runs.
    /// Between two of them it is evicted, and what was made ahead of it is gone.
    fn scaled_to_zero(&self, starts: u32, cache_dir: &Path) -> Result<Vec<f64>, Error> {
        let host = self.host(cache_dir)?;
        self.runtime.block_on(async {
            self.deploy_to(&host).await?;
            host.stop_provisioning();
            let (revision, routed) = self.find(&host)?;
            let mut times = Vec::new();
            for _ in 0..starts {
                host.residency().evict(&revision);
                let started = Instant::now();
                request::invoke(self.template, &host, &revision, &routed).await?;
                times.push(milliseconds(started.elapsed()));
            }
            Ok(times)
        })
    }

    /// From the component's bytes to its first response, in milliseconds: compiled, unless
    /// `cache_dir` has its artifact.
    fn deploy(&self, cache_dir: &Path) -> Result<f64, Error> {
        let host = self.host(cache_dir)?;
        let started = Instant::now();
        self.runtime.block_on(async {
            self.deploy_to(&host).await?;
            let (revision, routed) = self.find(&host)?;
            request::invoke(self.template, &host, &revision, &routed).await
        })?;
        Ok(milliseconds(started.elapsed()))
    }

    async fn deploy_to(&self, host: &Arc<Host>) -> Result<(), Error> {
        host.deploy(self.file, &self.built.components).await.map_err(Error::Deploy)
    }

    fn find(&self, host: &Host) -> Result<(Arc<Revision>, Routed), Error> {
        let deployed = host.deployed();
        let mut all = deployed.revisions.iter();
        let revision = all.find(|revision| revision.origin.function == self.function);
        let revision = revision.ok_or_else(|| {
            Error::NotThere(format!("the app has no function `{}`", self.function))
        })?;
        Ok((revision.clone(), request::route(self.template, host, revision)?))
    }

    /// Invocations of a resident function, each in a sandbox of its own: the means to the guest's
    /// first instruction, in microseconds, and the times to the whole response, in nanoseconds.
    fn fresh(&self, cache_dir: &Path) -> Result<(Vec<f64>, Histogram<u64>), Error> {
        let host = self.host(cache_dir)?;
        let mut times = histogram().map_err(Error::System)?;
        let mut means = Vec::new();
        self.runtime.block_on(async {
            self.deploy_to(&host).await?;
            let (revision, routed) = self.find(&host)?;
            for _ in 0..WARMUP {
                request::invoke(self.template, &host, &revision, &routed).await?;
            }
            let began = Instant::now();
            while means.len() < BATCHES && began.elapsed() < BATCHES_TIME {
                let before = Instantiations::of(&host);
                let mut count = 0;
                while count < BATCH && began.elapsed() < BATCHES_TIME {
                    let started = Instant::now();
                    request::invoke(self.template, &host, &revision, &routed).await?;
                    let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    times.saturating_record(took.max(1));
                    count += 1;
                }
                means.extend(Instantiations::of(&host).mean_us_since(&before));
            }
            Ok::<(), Error>(())
        })?;
        Ok((means, times))
    }
}

/// The host's own metrics of making sandboxes.
struct Instantiations {
    count: f64,
    seconds: f64,
}

impl Instantiations {
    fn of(host: &Host) -> Instantiations {
        let text = host.metrics().expose(Exposition::Prometheus);
        let sum = |end: &str| {
            let lines = text.lines().filter(|line| {
                line.split(['{', ' ']).next().is_some_and(|name| name.ends_with(end))
            });
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        Instantiations {
            count: sum("sandbox_instantiation_seconds_count"),
            seconds: sum("sandbox_instantiation_seconds_sum"),
        }
    }

    fn mean_us_since(&self, before: &Instantiations) -> Option<f64> {
        let count = self.count - before.count;
        (count > 0.0).then(|| (self.seconds - before.seconds) / count * 1e6)
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
