//! Concurrent transactions against a host of this process, and the anomalies that they saw.
//!
//! ```text
//!   clients ──HTTP──> host ──> guest `anomalies` ──> transactions of one tenant, on the disk
//!      │ what each answer says
//!      v
//!   judges: the sum of accounts, doctors on duty, numbers that were given twice, and the
//!           serialization graph of a history
//! ```
//!
//! The same clients and judges run against a host whose commits are not checked. There they have to
//! find anomalies: a harness that finds none anywhere would show nothing.

mod history;
mod load;
mod unchecked;
mod workloads;

use std::{net::SocketAddr, num::NonZero, path::Path, sync::Arc};

use lacewing::{
    config::{CompilerProgram, HostFile},
    control::{Components, Host},
    event_loop::EventLoops,
    ingress::{Gateway, Listener, Options, Server},
    manifest::App,
    telemetry::{InvocationLog, Sink},
};
use lacewing_store::{
    StateStore,
    embedded::{EmbeddedOptions, EmbeddedStore},
};

use self::{load::Load, unchecked::UncheckedStore};
use crate::guest::{Layout, guest};

/// The amount of work, and the store that does it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Transactions of all workloads together.
    pub transactions: u32,
    /// Clients at once.
    pub clients: u32,
    /// Whether commits are checked, as those of every host of the program are.
    pub checked: bool,
}

/// The end of one workload.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its name.
    pub workload: &'static str,
    /// Transactions that were answered, those that gave up included.
    pub transactions: usize,
    /// Transactions that lost to others until their runs were used up.
    pub given_up: usize,
    /// What no order of the transactions explains, in sentences.
    pub anomalies: Vec<String>,
}

/// All that a run has shown.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Each workload.
    pub workloads: Vec<Judged>,
    /// Commits that were refused because of what they had read.
    pub conflicts: u64,
    /// Batches of commits.
    pub batches: u64,
}

/// Runs all workloads, one after the other.
///
/// # Errors
/// The host cannot be made, or a request had no answer of the function.
///
/// # Panics
/// If the guest does not build.
pub async fn run(plan: Plan) -> anyhow::Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let embedded =
        Arc::new(EmbeddedStore::open(&dir.path().join("state"), EmbeddedOptions::default())?);
    let store: Arc<dyn StateStore> = match plan.checked {
        true => embedded.clone(),
        false => Arc::new(UncheckedStore(embedded.clone())),
    };
    let served = Served::start(dir.path(), store).await?;
    let part = plan.transactions.div_ceil(workloads::ALL.len().try_into()?);
    let load = Load::new(served.address, plan.clients, part);
    let mut judged = Vec::new();
    for workload in workloads::ALL {
        judged.push(workload(&load).await?);
    }
    let figures = embedded.figures();
    Ok(Outcome {
        workloads: judged,
        conflicts: figures.conflicts.get(),
        batches: figures.batches.get(),
    })
}

/// A host on a socket.
struct Served {
    address: SocketAddr,
    _loops: EventLoops,
}

impl Served {
    async fn start(dir: &Path, store: Arc<dyn StateStore>) -> anyhow::Result<Served> {
        let component = guest("anomalies", Layout::Lean);
        let manifest = dir.join("lacewing.toml");
        std::fs::write(
            &manifest,
            format!(
                "app = \"bank\"\n[kv.things]\n[functions.all]\ncomponent = {component:?}\nroutes = [\"/{{*rest}}\"]\ngrants.kv = {{ things = \"read-write\" }}\nlimits = {{ concurrency = 1000, deadline_ms = 60_000 }}\n"
            ),
        )?;
        let (app, _) = App::load(&manifest).map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
        let mut settings = lacewing::config::Settings::new(dir.join("cache"));
        // A bench is no `lacewing` that could be its own compiler.
        settings.compilation.program = CompilerProgram::InProcess;
        let host = Host::with_store(settings.clone(), Sink::nothing(), InvocationLog::None, store)?;
        let file =
            HostFile::local(app, settings).map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
        let deployed = host.deploy(&file, &Components::new()).await;
        deployed.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen").await?;
        let gateway = Arc::new(Gateway::new(host.invoker().clone(), host.metrics().clone()));
        let loops = EventLoops::start(NonZero::<usize>::MIN)?;
        let routes = host.routes().clone();
        let server =
            Server::start(listener, Options::of(host.settings()), loops.handle(), routes, gateway);
        Ok(Served { address: server.address(), _loops: loops })
    }
}
