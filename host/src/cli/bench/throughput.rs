//! Rounds of load: at full speed, then at a fixed rate.

use lacewing_load::{
    RequestTemplate,
    generator::{Expect, LoadPlan},
    machine::Noise,
    target::LoadTarget,
};

use std::time::Duration;

use super::{
    BenchArgs,
    child::HostChild,
    results::{Round, Speed},
};
use crate::cli::{Error, console::Console};

/// The URL that is put under load.
pub(super) struct LoadedUrl<'a> {
    pub(super) target: LoadTarget,
    pub(super) template: &'a RequestTemplate,
    /// The status of good answers.
    pub(super) status: u16,
    /// The server, where it is ours.
    pub(super) up: Option<&'a HostChild>,
}

/// Before each round, uncounted.
const WARMUP: Duration = Duration::from_millis(500);
/// The longest that one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

impl LoadedUrl<'_> {
    /// All rounds of one kind; `rate` as in [`LoadPlan::rate`].
    pub(super) fn measure(
        &self,
        args: &BenchArgs,
        rate: Option<u32>,
        (console, noise): (&Console, &mut Noise),
    ) -> Result<Speed, Error> {
        let load = LoadPlan {
            target: self.target.clone(),
            method: self.template.method.clone(),
            headers: self.template.headers.clone(),
            body: self.template.body.clone(),
            connections: args.connections,
            threads: args.threads,
            requests_each: None,
            warmup: WARMUP,
            duration: Duration::from_secs(args.duration_s.into()),
            rate,
            timeout: TIMEOUT,
            expect: Expect { status: Some(self.status), body: None },
        };
        let what = rate.map_or("at full speed".to_owned(), |rate| format!("at {rate} requests/s"));
        let mut rounds = Vec::new();
        for round in 1..=args.rounds {
            noise.look();
            let _shown = console.progress(format!("round {round} of {} {what}", args.rounds));
            rounds.push(self.round(&load)?);
        }
        Ok(Speed::of(rate, &rounds))
    }

    #[allow(clippy::cast_precision_loss)]
    fn round(&self, load: &LoadPlan) -> Result<Round, Error> {
        let before = self.up.and_then(HostChild::used);
        let measured = load.run().map_err(|source| Error::load(&self.target, source))?;
        let after = self.up.and_then(HostChild::used);
        let cpu = before.zip(after).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
        // The warm-up's requests used CPU time as well: it is spread over the whole of the round.
        let warm = (load.warmup + load.duration).as_secs_f64() / load.duration.as_secs_f64();
        let requests = measured.responses.max(1) as f64 * warm;
        Ok(Round {
            cpu_us: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / requests),
            peak_bytes: after.map(|after| after.peak_bytes),
            measured,
        })
    }
}
