//! Serving: build, deploy, listen; then signals and changes until the end.
//!
//! ```text
//! load -> bind -> rollout (build, deploy) -> serve --SIGTERM, Ctrl-C--> drain -> exit
//!   |               ^           |  ^          |
//!   |               |           v  |          |
//!   |               |          ledger         |
//!   +-- as it was: bind -----> restore -----> |
//!                   +-----SIGHUP, --watch-----+   what is wrong is reported, and of that the old state stays
//! ```
//!
//! Where nothing has changed since the start before, the ledger of that start says what is served, and nothing else is read.

use std::{
    fmt::Write as _,
    io::IsTerminal,
    num::NonZero,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    UpArgs, descriptors, resident,
    rollout::{Ended, Read, Rollout, Target, read},
};
use crate::{
    cli::{Error, ExitCode, console::Console, project::Project, watch::Watch},
    config::{self, RequestLog, Settings},
    control::{Deployed, Host, Ledger, review_layouts},
    event_loop::{self, EventLoops, LoopsHandle},
    heap::ResidentWatch,
    ingress::{Gateway, Listener, Options, Server},
    telemetry::{
        InvocationLog,
        admin::Admin,
        logs::{self, LogOptions, Logs},
    },
};

/// Runs `up`.
pub(in crate::cli) fn run(args: &UpArgs, console: &Console) -> Result<ExitCode, Error> {
    let project = match &args.host {
        Some(path) => Project::Host(path.clone()),
        None => Project::at(&args.path),
    };
    if args.ends_with_parent {
        end_with_parent().map_err(Error::System)?;
    }
    let descriptors = descriptors::raise_limit();
    let what = What::of(args, &project, console)?;
    let threads = args.threads.unwrap_or_else(event_loop::cores);
    // Sockets and clocks are looked at after so few turns because each may be a guest's, and last a tick.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.get())
        .event_interval(4)
        .enable_all()
        .build()
        .map_err(Error::System)?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let up = tokio::select! {
            up = Up::start(args.clone(), threads, project, what, descriptors, *console) => up?,
            // No client was served yet.
            () = signals.stop() => return Ok(ExitCode::Success),
        };
        up.run(signals).await
    });
    // A build, or a guest, that is still under way is nobody's any more.
    runtime.shutdown_background();
    ended
}

/// Has the system kill this process when its parent is gone. Elsewhere than on Linux, who kills the parent kills this one as well.
fn end_with_parent() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

/// The apps that are to be served.
enum What {
    /// The apps that the start before served: nothing has changed.
    AsBefore(Box<Settings>, Arc<Ledger>),
    /// The apps that the files name, and the deploy of a start before, if there was one.
    Project(Box<Read>, Option<Arc<Ledger>>),
}

impl What {
    fn of(args: &UpArgs, project: &Project, console: &Console) -> Result<What, Error> {
        let ledger = Ledger::find(&cache_dir(args, project), project.path()).map(Arc::new);
        match ledger {
            // Sources are watched only as far as building knows them.
            Some(ledger) if !args.watch && is_current(&ledger) => {
                ledger.warnings().iter().for_each(|warning| console.line(warning));
                let mut settings = ledger.settings().clone();
                args.apply(&mut settings);
                Ok(What::AsBefore(Box::new(settings), ledger))
            }
            ledger => Ok(What::Project(Box::new(read(args, project, console)?), ledger)),
        }
    }

    fn settings(&self) -> &Settings {
        match self {
            What::AsBefore(settings, _) => settings,
            What::Project(read, _) => &read.outline.settings,
        }
    }
}

/// How long a start waits to hear that no file has changed: some hundred thousand are looked at in a second.
const LOOK: Duration = Duration::from_secs(5);

/// Whether nothing has changed. A file system that does not answer is no reason not to start: it is asked again for the tenant that it
/// is of, and the others do not wait for that.
fn is_current(ledger: &Arc<Ledger>) -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    let ledger = ledger.clone();
    std::thread::spawn(move || {
        // Where it took too long, nothing listens any more.
        let _ = tell.send(ledger.is_current());
    });
    told.recv_timeout(LOOK).unwrap_or(false)
}

/// Where the ledger of a start before is, as far as that can be told without reading everything.
fn cache_dir(args: &UpArgs, project: &Project) -> PathBuf {
    let named = match project {
        Project::Host(path) => config::cache_dir_of(path),
        Project::App(_) | Project::Component(_) => None,
    };
    args.cache_dir.clone().or(named).unwrap_or_else(config::default_cache_dir)
}

/// A host that serves.
struct Up {
    args: UpArgs,
    target: Target,
    console: Console,
    host: Arc<Host>,
    /// The reading that is on its way.
    rollout: Option<Rollout>,
    servers: Vec<Server>,
    watch: Option<Watch>,
    _loops: EventLoops,
    _logs: Logs,
    _resident: ResidentWatch,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Signals, Error> {
        let on = |kind| signal(kind).map_err(Error::System);
        Ok(Signals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// Comes when somebody asks for the end.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The gauges of the sockets and the runtimes, read when they are scraped.
fn watch_use(host: &Host, servers: &[Server], loops: LoopsHandle) {
    let counters: Vec<_> = servers.iter().map(Server::connection_counter).collect();
    host.metrics().add_gauge("connections_open", "Open client connections", move || {
        counters.iter().map(|count| u64::from(count())).sum()
    });
    let counters: Vec<_> = servers.iter().map(Server::heap_counter).collect();
    host.metrics().add_gauge("connections_heap_bytes", "Heap of client connections", move || {
        counters.iter().map(|bytes| bytes()).sum()
    });
    host.metrics().add_gauge("tasks", "Tasks that have not ended", move || loops.alive() as u64);
}

impl Up {
    async fn start(
        args: UpArgs,
        threads: NonZero<usize>,
        project: Project,
        what: What,
        descriptors: Option<u64>,
        console: Console,
    ) -> Result<Up, Error> {
        let settings = &what.settings().clone();
        let logs = logs::init(&LogOptions::from_env(log_format(settings.log.format)))?;
        let host = Host::new(settings.clone(), logs.sink(), request_log(&args, settings))?;
        let loops = EventLoops::start(threads).map_err(Error::System)?;
        let resident = resident::watch(settings, host.metrics(), loops.handle().clone())?;
        host.metrics().add_counter(
            "log_dropped_lines",
            "Log lines that were dropped because standard error was slower than the log.",
            logs.dropped_lines(),
        );
        // Ports before the build: one that is taken is better known now than in a minute.
        let mut listeners = Vec::new();
        for address in &settings.listen {
            listeners.push(Listener::bind(*address, "--listen").await?);
        }
        let admin = match settings.admin {
            Some(address) => {
                let (metrics, health) = (host.metrics().clone(), host.health().clone());
                Some(Admin::bind(address, settings.admin_hosts.clone(), metrics, health).await?)
            }
            None => None,
        };
        // From now on readiness says that it is starting.
        let admin_address = admin.as_ref().map(Admin::address);
        if let Some(admin) = admin {
            host.egress().keep_from(admin.address());
            tokio::spawn(admin.serve());
        }
        let target = Target::new(host.clone(), project, console);
        let (rollout, ended) = begin(&target, what, &args).await?;
        let (mut watch, mut refused) = (None, None);
        if let Some(Ended { sources, outcome, .. }) = ended {
            refused = outcome?;
            watch = if args.watch { Some(Watch::new(sources)?) } else { None };
        }
        if rollout.is_none() {
            host.metrics().host().config.note(refused.is_none());
        }

        let gateway = Arc::new(Gateway::new(host.invoker().clone(), host.metrics().clone()));
        let connections = descriptors::connections(settings, descriptors);
        let options = Options { connections, ..Options::of(settings) };
        let servers: Vec<Server> = listeners
            .into_iter()
            .map(|listener| {
                Server::start(
                    listener,
                    options.clone(),
                    loops.handle(),
                    host.routes().clone(),
                    gateway.clone(),
                )
            })
            .collect();
        watch_use(&host, &servers, loops.handle().clone());
        host.health().set_ready();
        let (_loops, _logs, _resident) = (loops, logs, resident);
        let up =
            Up { args, target, console, host, rollout, servers, watch, _loops, _logs, _resident };
        up.announce(admin_address, refused.as_deref());
        Ok(up)
    }

    /// Serves until somebody asks for the end, then drains.
    async fn run(mut self, mut signals: Signals) -> Result<ExitCode, Error> {
        self.serve(&mut signals).await?;
        self.drain(&mut signals).await
    }

    async fn serve(&mut self, signals: &mut Signals) -> Result<(), Error> {
        loop {
            // Building and compiling take as long as they take: nobody who wants the end, or another reading, waits for it.
            let is_idle = self.rollout.is_none();
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                ended = ended(&mut self.rollout) => self.end_rollout(ended)?,
                _ = signals.hangup.recv() => self.redeploy(),
                changed = changed(&mut self.watch), if is_idle => {
                    changed?;
                    self.redeploy();
                }
            }
        }
    }

    /// Reads again, and has that built and deployed in place of the reading that is on its way. Faults are said, and the served
    /// apps stay.
    fn redeploy(&mut self) {
        match read(&self.args, &self.target.project, &self.console) {
            Ok(read) => {
                let fixed = fixed_settings(self.host.settings(), &read.outline.settings);
                if !fixed.is_empty() {
                    self.console.warning(format_args!(
                        "what changed of {} takes effect when the host is started again",
                        fixed.join(", ")
                    ));
                }
                self.rollout = Some(self.target.roll_out(read, None));
            }
            Err(error) => {
                self.host.metrics().host().config.note(false);
                self.report(&error);
            }
        }
    }

    fn end_rollout(&mut self, ended: Result<Ended, Error>) -> Result<(), Error> {
        self.rollout = None;
        let succeeded = matches!(ended, Ok(Ended { outcome: Ok(None), .. }));
        self.host.metrics().host().config.note(succeeded);
        match ended {
            Ok(Ended { sources, changed, outcome }) => {
                match outcome {
                    Ok(Some(refused)) => self.console.warning(refused),
                    Ok(None) if !changed => self.console.status("Unchanged", "nothing to swap"),
                    Ok(None) => {}
                    Err(error) => self.report(&error),
                }
                if let Some(watch) = &mut self.watch {
                    watch.set(sources)?;
                }
            }
            Err(error) => self.report(&error),
        }
        Ok(())
    }

    fn report(&self, error: &Error) {
        error.report(&self.console);
        self.console.line("the previous revisions stay in place");
    }

    async fn drain(mut self, signals: &mut Signals) -> Result<ExitCode, Error> {
        let grace = self.host.settings().grace_period;
        self.host.health().set_draining();
        self.host.stop_provisioning();
        self.console.status(
            "Draining",
            format_args!(
                "{} in flight, for at most {} s; again to stop at once",
                invocations(self.host.invoker().admission().in_flight()),
                grace.as_secs()
            ),
        );
        let cut = tokio::select! {
            cut = self.finish(grace) => cut,
            () = signals.stop() => return Ok(ExitCode::Failure),
        };
        if cut > 0 {
            let cut = invocations(cut);
            self.console.warning(format_args!("{cut} cut off at the end of the grace period"));
            return Ok(ExitCode::Failure);
        }
        Ok(ExitCode::Success)
    }

    /// Lets what was accepted finish; says how many invocations did not.
    async fn finish(&mut self, grace: Duration) -> u32 {
        let until = tokio::time::Instant::now() + grace;
        let drains: Vec<_> =
            self.servers.drain(..).map(|server| tokio::spawn(server.drain(grace))).collect();
        let mut cut = 0;
        for drain in drains {
            cut += drain.await.map_or(0, |drained| drained.requests_cut);
        }
        // A guest may go on after its response.
        let admission = self.host.invoker().admission();
        match tokio::time::timeout_at(until, admission.idle()).await {
            Ok(()) => cut,
            Err(_) => cut.max(admission.in_flight()),
        }
    }

    /// Where everything is, for the user at the terminal and for scripts that wait for it.
    fn announce(&self, admin: Option<std::net::SocketAddr>, refused: Option<&str>) {
        self.target.serves.store(true, Relaxed);
        let deployed = self.host.deployed();
        for server in &self.servers {
            let address = server.address();
            self.console.status("Serving", format_args!("http://{address}"));
        }
        for line in routes(&deployed) {
            self.console.line(line);
        }
        if let Some(admin) = admin {
            self.console.line(format_args!(
                "  metrics http://{admin}/metrics, readiness http://{admin}/readyz"
            ));
        }
        if self.watch.is_some() {
            let path = self.target.project.path();
            self.console.status("Watching", format_args!("{}", path.display()));
        }
        if self.rollout.is_some() {
            self.console.line("the other apps take longer, and are served when they are ready");
        }
        if let Some(refused) = refused {
            self.console.warning(refused);
        }
    }
}

/// Deploys what is to be served, or takes it as it was. Gives what is still on its way, and what became of what is not.
async fn begin(
    target: &Target,
    what: What,
    args: &UpArgs,
) -> Result<(Option<Rollout>, Option<Ended>), Error> {
    let (host, console) = (&target.host, &target.console);
    let (read, ledger) = match what {
        What::AsBefore(_, ledger) => match host.restore(&ledger) {
            Ok(()) => return Ok((None, None)),
            Err(error) => {
                tracing::warn!(%error, "deploying everything again");
                (Box::new(read(args, &target.project, console)?), None)
            }
        },
        What::Project(read, ledger) => (read, ledger),
    };
    let mut rollout = target.roll_out(*read, ledger);
    // The files to watch have to be known, and one app has no other app to wait for.
    if args.watch || args.host.is_none() {
        let ended = rollout.ended().await?;
        // For whoever develops an app: a host of many would read every component again.
        if args.host.is_none() {
            review_layouts(&host.deployed()).iter().for_each(|slow| console.finding(slow));
        }
        return Ok((None, Some(ended)));
    }
    match rollout.enough().await? {
        Some(ended) => Ok((None, Some(ended))),
        None => Ok((Some(rollout), None)),
    }
}

/// The end of what is on its way; never, where nothing is.
async fn ended(rollout: &mut Option<Rollout>) -> Result<Ended, Error> {
    match rollout {
        Some(rollout) => rollout.ended().await,
        None => std::future::pending().await,
    }
}

/// The settings that differ, and that a host has from its start to its end.
fn fixed_settings(now: &Settings, new: &Settings) -> Vec<&'static str> {
    let differ = [
        ("`listen`", now.listen != new.listen),
        ("`admin`", now.admin != new.admin),
        ("`admin_hosts`", now.admin_hosts != new.admin_hosts),
        ("`trusted_proxies`", now.trusted_proxies != new.trusted_proxies),
        ("`cache_dir`", now.cache_dir != new.cache_dir),
        ("`max_cache_mib`", now.max_cache_bytes != new.max_cache_bytes),
        ("`residency`", now.residency != new.residency),
        ("`max_sandboxes`", now.max_sandboxes != new.max_sandboxes),
        ("`connections`", now.connections != new.connections),
        ("`admission`", now.admission != new.admission),
        ("`compiler`", now.compilation != new.compilation),
        ("`grace_period_s`", now.grace_period != new.grace_period),
        ("`log`", now.log != new.log),
        ("`metrics`", now.metrics != new.metrics),
    ];
    differ.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

fn invocations(count: u32) -> String {
    match count {
        1 => "1 invocation".to_owned(),
        _ => format!("{count} invocations"),
    }
}

async fn changed(watch: &mut Option<Watch>) -> Result<(), Error> {
    match watch {
        Some(watch) => watch.changed().await.map(drop).map_err(Error::Watch),
        None => std::future::pending().await,
    }
}

/// Functions that are listed at the start.
const LISTED: usize = 50;

/// One line for each route, and one for each function's limits.
fn routes(deployed: &Deployed) -> Vec<String> {
    let mut lines = Vec::new();
    for revision in deployed.revisions.iter().take(LISTED) {
        for route in &revision.routes {
            lines.push(format!("  {route}  ->  {}", revision.origin));
        }
        let limits = &revision.spec.limits;
        let mut line = format!(
            "  {}: memory {} MiB, cpu {} ms, deadline {} ms, concurrency {}",
            revision.origin.function,
            limits.memory_bytes >> 20,
            limits.cpu.as_millis(),
            limits.deadline.as_millis(),
            limits.concurrency,
        );
        if let Some(fuel) = limits.fuel {
            let _ = write!(line, ", fuel {fuel}");
        }
        lines.push(line);
    }
    if let Some(more @ 1..) = deployed.revisions.len().checked_sub(LISTED) {
        lines.push(format!("  and {more} functions more"));
    }
    lines
}

fn log_format(format: config::LogFormat) -> logs::LogFormat {
    match format {
        config::LogFormat::Text => logs::LogFormat::Text,
        config::LogFormat::Json => logs::LogFormat::Json,
    }
}

/// Somebody who sits at a terminal wants to see each request, unless they or the host file said otherwise.
fn request_log(args: &UpArgs, settings: &Settings) -> InvocationLog {
    let watched =
        args.request_log.is_none() && args.host.is_none() && std::io::stderr().is_terminal();
    match settings.log.requests {
        _ if watched => InvocationLog::All,
        RequestLog::All => InvocationLog::All,
        RequestLog::Errors => InvocationLog::Errors,
        RequestLog::None => InvocationLog::None,
    }
}
