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
//! Where nothing has changed since the start before, the ledger of that start says what is served,
//! and nothing else is read.

use std::{
    io::IsTerminal,
    num::NonZero,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use lacewing_base::{
    event_loop::{self, EventLoops, LoopsHandle},
    heap::ResidentWatch,
};
use lacewing_compat::s3::S3Listener;
use lacewing_control::{Host, Malformed, missing_secrets, review_layouts};
use lacewing_ingress::{Gateway, Listener, Options, Server};
use lacewing_manifest::config::{self, RequestLog, Settings};
use lacewing_telemetry::{
    InvocationLog,
    admin::Admin,
    logs::{self, LogOptions, Logs},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};

use super::{
    UpArgs,
    announce::{self, Tenants},
    descriptors, resident,
    rollout::{ProjectRollout, Read, ReadingResult, ReadingTarget, read},
    s3,
    what::What,
};
use crate::cli::{
    Error, ExitCode,
    console::Console,
    project::Project,
    watch::{Changed, SourceWatch, Window},
};

/// Runs `up`. Its errors are reported here, in the form and in the queue of the log.
pub(in crate::cli) fn run(args: &UpArgs, console: &Console) -> ExitCode {
    let project = match &args.host {
        Some(path) => Project::Host(path.clone()),
        None => Project::at(&args.path),
    };
    let (what, logs) = match begin_log(args, &project) {
        Ok(begun) => begun,
        Err(error) => return reported(error, &console.formatted(format_before(args, &project))),
    };
    let console = console.logged(logs.messages());
    logs.messages().take_panics();
    what.show_warnings(&console);
    serve(args, project, what, &logs, &console).unwrap_or_else(|error| reported(error, &console))
}

fn reported(error: Error, console: &Console) -> ExitCode {
    error.report(console);
    error.exit_code()
}

/// Reads the apps that are to be served, because a host file may have the settings of the log, and
/// sets the log up.
fn begin_log(args: &UpArgs, project: &Project) -> Result<(What, Logs), Error> {
    let what = What::of(args, project)?;
    let logs = logs::init(&LogOptions::from_env(log_format(what.settings().log.format)))?;
    Ok((what, logs))
}

/// The form of the log, as far as an argument or a host file with an error tells it.
fn format_before(args: &UpArgs, project: &Project) -> logs::LogFormat {
    let named = match project {
        Project::Host(path) => config::log_format_of(path),
        Project::App(_) | Project::Component(_) => None,
    };
    log_format(args.log_format.map(Into::into).or(named).unwrap_or_default())
}

fn serve(
    args: &UpArgs,
    project: Project,
    what: What,
    logs: &Logs,
    console: &Console,
) -> Result<ExitCode, Error> {
    if args.ends_with_parent {
        end_with_parent().map_err(Error::System)?;
    }
    let descriptors = descriptors::raise_limit();
    let threads = args.threads.unwrap_or_else(event_loop::cores);
    // Sockets and clocks are looked at after so few turns because each may be a guest's, and last a
    // tick.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.get())
        .event_interval(4)
        .enable_all()
        .build()
        .map_err(Error::System)?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let up = tokio::select! {
            up = ServingHost::start(args.clone(), threads, project, what, (descriptors, logs), console.clone()) => up?,
            // No client was served yet.
            () = signals.stop() => return Ok(ExitCode::Success),
        };
        up.run(signals).await
    });
    // A build, or a guest, that is still under way is nobody's any more.
    runtime.shutdown_background();
    ended
}

/// Has the system kill this process when its parent is gone. Elsewhere than on Linux, who kills the
/// parent kills this one as well.
fn end_with_parent() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

/// A host that serves.
struct ServingHost {
    args: UpArgs,
    target: ReadingTarget,
    console: Console,
    host: Arc<Host>,
    /// The time of the last build.
    building: Window,
    /// The host file or manifest that is being read. A file system that does not answer holds up
    /// nothing else.
    reading: Option<JoinHandle<Result<Read, Error>>>,
    /// The reading that is on its way.
    rollout: Option<ProjectRollout>,
    servers: Vec<Server>,
    s3: Option<S3Listener>,
    watch: Option<SourceWatch>,
    _loops: EventLoops,
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

/// Serves requests on each of the listeners.
fn start_servers(
    host: &Arc<Host>,
    listeners: Vec<Listener>,
    options: &Options,
    loops: &LoopsHandle,
) -> Vec<Server> {
    let gateway = Arc::new(Gateway::new(host.invoker().clone(), host.metrics().clone()));
    let start = |listener| {
        let (routes, gateway) = (host.routes().clone(), gateway.clone());
        Server::start(listener, options.clone(), loops, routes, gateway)
    };
    listeners.into_iter().map(start).collect()
}

impl ServingHost {
    async fn start(
        args: UpArgs,
        threads: NonZero<usize>,
        project: Project,
        what: What,
        (descriptors, logs): (Option<u64>, &Logs),
        console: Console,
    ) -> Result<ServingHost, Error> {
        let settings = &what.settings().clone();
        let tenants = if args.host.is_some() { what.tenants() } else { Tenants::new() };
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
                let names = settings.admin_hosts.clone();
                let admin = Admin::bind(address, names, metrics, health).await?;
                let api = host.admin_api(admin.address());
                Some(admin.with_api(api))
            }
            None => None,
        };
        // From now on readiness says that it is starting.
        let admin_address = admin.as_ref().map(Admin::address);
        if let Some(admin) = admin {
            host.egress().keep_from(admin.address());
            tokio::spawn(admin.serve());
        }
        let target = ReadingTarget::new(host.clone(), project, console.clone());
        let building = Window::begin();
        let (rollout, ended) = begin(&target, what, &args).await?;
        let (mut watch, mut refused) = (None, None);
        if let Some(ReadingResult { sources, outcome, .. }) = ended {
            refused = outcome?;
            watch =
                if args.watch { Some(SourceWatch::new(sources, building.end())?) } else { None };
        }
        if rollout.is_none() {
            host.metrics().host().config.note(refused.is_none());
        }

        let connections = descriptors::connections(settings, descriptors);
        let options = Options { connections, ..Options::of(settings) };
        let servers = start_servers(&host, listeners, &options, loops.handle());
        watch_use(&host, &servers, loops.handle().clone());
        let s3 = settings
            .s3
            .map(|address| s3::start(address, &host, &settings.connections))
            .transpose()?;
        host.health().set_ready();
        let (_loops, _resident) = (loops, resident);
        let up = ServingHost {
            args,
            target,
            console,
            host,
            building,
            reading: None,
            rollout,
            servers,
            s3,
            watch,
            _loops,
            _resident,
        };
        up.announce(admin_address, &tenants, refused.as_deref());
        Ok(up)
    }

    /// Serves until somebody asks for the end, then drains.
    async fn run(mut self, mut signals: Signals) -> Result<ExitCode, Error> {
        self.serve(&mut signals).await?;
        self.drain(&mut signals).await
    }

    async fn serve(&mut self, signals: &mut Signals) -> Result<(), Error> {
        loop {
            // Building and compiling take as long as they take: nobody who wants the end, or
            // another reading, waits for it.
            let is_idle = self.rollout.is_none() && self.reading.is_none();
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                ended = ended(&mut self.rollout) => self.end_rollout(ended)?,
                read = was_read(&mut self.reading) => self.redeploy(read),
                _ = signals.hangup.recv() => self.read_again(),
                changed = changed(&mut self.watch), if is_idle => self.changed(&changed?),
            }
        }
    }

    fn changed(&mut self, changed: &Changed) {
        for output in &changed.outputs {
            let text = format!(
                "each build changes {}, which is taken for an output from now on: list it in .gitignore",
                output.display()
            );
            self.console.warning(text);
        }
        if !changed.sources.is_empty() {
            self.read_again();
        }
    }

    fn read_again(&mut self) {
        self.building = Window::begin();
        if let Some(watch) = &mut self.watch {
            watch.building(self.building);
        }
        let (args, project) = (self.args.clone(), self.target.project.clone());
        self.reading = Some(tokio::task::spawn_blocking(move || read(&args, &project)));
    }

    /// Has a reading built and deployed in place of the reading that is on its way. Faults are
    /// said, and the served apps stay.
    fn redeploy(&mut self, read: Result<Read, Error>) {
        self.reading = None;
        match read {
            Ok(read) => {
                read.show_warnings(&self.console);
                let fixed = fixed_settings(self.host.settings(), &read.outline.settings);
                if !fixed.is_empty() {
                    self.console.warning(format_args!(
                        "the changes of {} take effect when the host is started again",
                        fixed.join(", ")
                    ));
                }
                self.rollout = Some(self.target.roll_out(read, None));
            }
            Err(error) => {
                self.end_window();
                self.host.metrics().host().config.note(false);
                self.report(&error);
            }
        }
    }

    /// Nothing is built any more: what changes from now on, somebody else changes.
    fn end_window(&mut self) -> Window {
        let window = self.building.end();
        if let Some(watch) = &mut self.watch {
            watch.building(window);
        }
        window
    }

    fn end_rollout(&mut self, ended: Result<ReadingResult, Error>) -> Result<(), Error> {
        self.rollout = None;
        // Before anything is said: a person may save a file in answer to it.
        let window = self.end_window();
        let succeeded = matches!(ended, Ok(ReadingResult { outcome: Ok(None), .. }));
        self.host.metrics().host().config.note(succeeded);
        match ended {
            Ok(ReadingResult { sources, is_whole, changed, outcome }) => {
                match outcome {
                    Ok(Some(refused)) => self.console.warning(refused),
                    Ok(None) if !changed => self.console.status("Unchanged", "nothing to swap"),
                    Ok(None) => {}
                    Err(error) => self.report(&error),
                }
                let missing = missing_secrets(&self.host.deployed());
                missing.iter().for_each(|missing| self.console.finding(missing));
                if let Some(watch) = &mut self.watch {
                    watch.set(sources, window, is_whole)?;
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
                "{} in flight, for at most {} s; signal again to stop at once",
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
            // A connection that is cut ends within a step of its guest, and a step of the host has
            // no bound of its own.
            if let Ok(Ok(drained)) = tokio::time::timeout_at(until + CUT, drain).await {
                cut += drained.requests_cut;
            }
        }
        // A guest may go on after its response.
        let admission = self.host.invoker().admission();
        match tokio::time::timeout_at(until, admission.idle()).await {
            Ok(()) => cut,
            Err(_) => cut.max(admission.in_flight()),
        }
    }

    /// Where everything is, for the user at the terminal and for scripts that wait for it.
    fn announce(
        &self,
        admin: Option<std::net::SocketAddr>,
        tenants: &Tenants,
        refused: Option<&str>,
    ) {
        self.target.serves.store(true, Relaxed);
        let deployed = self.host.deployed();
        for server in &self.servers {
            let address = server.address();
            self.console.status("Serving", format_args!("http://{address}"));
        }
        let lines = announce::tenants(tenants);
        let project = &self.target.project;
        for line in lines.into_iter().chain(announce::functions(&deployed, project)) {
            self.console.line(line);
        }
        if let Some(s3) = &self.s3 {
            self.console.line(format_args!("  S3 http://{}", s3.address()));
        }
        if let Some(state) = self.host.state_dir() {
            self.console.line(format_args!("  state in {}", announce::shown(&state).display()));
        }
        let secrets = missing_secrets(&deployed).into_iter().chain(self.host.unusable_key());
        secrets.for_each(|warning| self.console.finding(&warning));
        let has_routes = deployed.revisions.iter().any(|revision| !revision.routes.is_empty());
        if !has_routes && self.args.host.is_none() {
            self.console.warning("no function has a route: every request is answered with 404");
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
            self.console.line("the other apps are served when they are ready");
        }
        if let Some(refused) = refused {
            self.console.warning(refused);
        }
    }
}

/// Deploys what is to be served, or takes it as it was. Gives what is still on its way, and what
/// became of what is not.
async fn begin(
    target: &ReadingTarget,
    what: What,
    args: &UpArgs,
) -> Result<(Option<ProjectRollout>, Option<ReadingResult>), Error> {
    let (host, console) = (&target.host, &target.console);
    let (read, ledger) = match what {
        What::AsBefore(_, ledger) => match host.restore(&ledger) {
            Ok(()) => return Ok((None, None)),
            Err(error) => {
                // The deploy says what is wrong with the state.
                if !matches!(error, Malformed::State(_)) {
                    tracing::warn!(%error, "deploying everything again");
                }
                let read = read(args, &target.project)?;
                read.show_warnings(console);
                (Box::new(read), None)
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
async fn ended(rollout: &mut Option<ProjectRollout>) -> Result<ReadingResult, Error> {
    match rollout {
        Some(rollout) => rollout.ended().await,
        None => std::future::pending().await,
    }
}

/// The end of what is being read; never, where nothing is.
async fn was_read(reading: &mut Option<JoinHandle<Result<Read, Error>>>) -> Result<Read, Error> {
    match reading {
        Some(reading) => {
            reading.await.unwrap_or_else(|error| Err(Error::System(std::io::Error::other(error))))
        }
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
        ("`state`", now.state_dir != new.state_dir),
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

async fn changed(watch: &mut Option<SourceWatch>) -> Result<Changed, Error> {
    match watch {
        Some(watch) => watch.changed().await.map_err(Error::Watch),
        None => std::future::pending().await,
    }
}

/// How long connections that are cut at the end of the grace period have to end.
const CUT: Duration = Duration::from_secs(1);

fn log_format(format: config::LogFormat) -> logs::LogFormat {
    match format {
        config::LogFormat::Text => logs::LogFormat::Text,
        config::LogFormat::Json => logs::LogFormat::Json,
    }
}

/// Somebody who sits at a terminal wants to see each request, unless they or the host file said
/// otherwise.
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
