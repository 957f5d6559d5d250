//! A host whose disk forgets, with a loss of power, what was not synced.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use lacewing_benches::process::Host;
use lacewing_powerloss::{DIRECTORY, Disk, Loss, RECORD};

/// The syncs that a disk leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Forget {
    /// Those of write-ahead logs.
    Log,
    /// All.
    All,
}

/// The disk of the hosts.
pub(super) struct Power {
    directory: PathBuf,
    record: PathBuf,
    recorder: PathBuf,
    forget: Option<Forget>,
}

/// A host, with its disk at the start.
pub(super) struct Running {
    pub(super) host: Host,
    /// `None`: no loss of power is to come.
    pub(super) before: Option<Disk>,
}

impl Running {
    pub(super) fn of(host: Host) -> Running {
        Running { host, before: None }
    }
}

impl Power {
    pub(super) fn new(dir: &Path, forget: Option<Forget>) -> anyhow::Result<Power> {
        let recorder = std::env::current_exe()?.with_file_name("examples").join("librecorder.so");
        anyhow::ensure!(
            recorder.is_file(),
            "{} is missing: cargo build --release -p lacewing-powerloss --example recorder",
            recorder.display()
        );
        let directory = dir.join("disk");
        fs::create_dir_all(&directory)?;
        let directory = directory.canonicalize()?;
        Ok(Power { directory, record: dir.join("record"), recorder, forget })
    }

    /// Takes all state away.
    pub(super) fn erase(&self) -> io::Result<()> {
        Disk::write(&self.directory, &Default::default())
    }

    /// Starts a host whose changes are recorded.
    pub(super) fn start(&self, lacewing: &Path, file: &Path) -> io::Result<Running> {
        let before = Some(Disk::read(&self.directory)?);
        let host = Host::start_with(lacewing, file, |command| {
            command.env("LD_PRELOAD", &self.recorder);
            command.env(DIRECTORY, &self.directory).env(RECORD, &self.record);
        })?;
        Ok(Running { host, before })
    }

    /// Leaves of the directory what a disk may have kept.
    pub(super) fn lose(
        &self,
        mut before: Disk,
        round: u32,
        random: &mut impl FnMut(u64) -> u64,
    ) -> anyhow::Result<()> {
        before.replay(&fs::read(&self.record)?, |path| match self.forget {
            Some(Forget::All) => true,
            Some(Forget::Log) => path.to_string_lossy().ends_with("-wal"),
            None => false,
        })?;
        let loss = if round % 2 == 1 { Loss::Everything } else { Loss::Part };
        Ok(Disk::write(&self.directory, &before.after(loss, random))?)
    }

    /// Shows that the recorder sees all: after a host has run and ended, the record leads to the
    /// directory as it is.
    pub(super) fn check_recorder(
        &self,
        lacewing: &Path,
        file: &Path,
        run: impl FnOnce(Host) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Running { host, before } = self.start(lacewing, file)?;
        run(host)?;
        let mut replayed = before.unwrap_or_default();
        replayed.replay(&fs::read(&self.record)?, |_| false)?;
        let replayed = replayed.after(Loss::Nothing, &mut |_| 0);
        let there = Disk::read(&self.directory)?.after(Loss::Nothing, &mut |_| 0);
        let differs = there.keys().chain(replayed.keys());
        let differs = differs.into_iter().find(|name| there.get(*name) != replayed.get(*name));
        anyhow::ensure!(differs.is_none(), "the recorder did not see all of {differs:?}");
        anyhow::ensure!(there.len() > 3, "the host has kept no state in {there:?}");
        Ok(())
    }
}
