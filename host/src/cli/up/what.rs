//! The subject of a start: the project as its files say it is, or what the start before has served,
//! where nothing has changed.

use std::{path::PathBuf, sync::Arc, time::Duration};

use lacewing_control::Ledger;
use lacewing_manifest::config::{self, Settings};

use super::{
    UpArgs,
    announce::{self, Tenants},
    rollout::{Read, read},
};
use crate::cli::{Error, console::Console, project::Project};

/// The apps that are to be served.
pub(super) enum What {
    /// The apps that the start before served: nothing has changed.
    AsBefore(Box<Settings>, Arc<Ledger>),
    /// The apps that the files name, and the deploy of a start before, if there was one.
    Project(Box<Read>, Option<Arc<Ledger>>),
}

impl What {
    pub(super) fn of(args: &UpArgs, project: &Project) -> Result<What, Error> {
        let ledger = Ledger::find(&cache_dir(args, project), project.path()).map(Arc::new);
        match ledger {
            // Sources are watched only as far as building knows them.
            Some(ledger) if !args.watch && args.env.is_empty() && is_current(&ledger) => {
                let mut settings = ledger.settings().clone();
                args.apply(&mut settings);
                Ok(What::AsBefore(Box::new(settings), ledger))
            }
            ledger => Ok(What::Project(Box::new(read(args, project)?), ledger)),
        }
    }

    pub(super) fn show_warnings(&self, console: &Console) {
        match self {
            What::AsBefore(_, ledger) => {
                ledger.warnings().iter().for_each(|warning| console.warned_before(warning));
            }
            What::Project(read, _) => read.show_warnings(console),
        }
    }

    pub(super) fn tenants(&self) -> Tenants {
        match self {
            What::AsBefore(_, ledger) => announce::tenants_before(ledger),
            What::Project(read, _) => announce::tenants_of(&read.outline),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        match self {
            What::AsBefore(settings, _) => settings,
            What::Project(read, _) => &read.outline.settings,
        }
    }
}

/// How long a start waits to hear that no file has changed: some hundred thousand are looked at in
/// a second.
const LOOK: Duration = Duration::from_secs(5);

/// Whether nothing has changed. A file system that does not answer is no reason not to start: it is
/// asked again for the tenant that it is of, and the others do not wait for that.
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
