//! `lacewing up` as a process of its own, so that what it uses can be told from what this one does.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lacewing_load::{
    RequestTemplate,
    probe::{Probe, free_address},
    process::{TreeUsage, used},
};
use lacewing_manifest::config::HostFile;

use crate::cli::project::{BuiltProject, Project};

/// A host that serves the app. Killed when dropped, and when this process is.
pub(super) struct HostChild {
    pub(super) address: SocketAddr,
    /// From the start of its process to the first answer.
    pub(super) started_in: Duration,
    child: Child,
    _dir: tempfile::TempDir,
}

/// The longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl HostChild {
    /// Starts it on a free port and waits for its first answer.
    pub(super) fn start(
        project: &Project,
        file: &HostFile,
        built: &BuiltProject,
        cache_dir: &Path,
        (template, probe): (&RequestTemplate, &Probe),
    ) -> io::Result<HostChild> {
        let dir = tempfile::tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("up").arg(match project {
            Project::Component(path) => path.clone(),
            Project::App(_) | Project::Host(_) => {
                let path = dir.path().join("lacewing.toml");
                std::fs::write(&path, prebuilt(file, built)?)?;
                path
            }
        });
        let address = free_address()?;
        command.args(["--listen", &address.to_string(), "--admin", "127.0.0.1:0"]);
        command.arg("--ends-with-parent");
        command.arg("--cache-dir").arg(cache_dir);
        let log = dir.path().join("log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let began = Instant::now();
        let child = command.spawn()?;
        let mut up = HostChild { address, started_in: Duration::ZERO, child, _dir: dir };
        loop {
            match probe.ask(address, template) {
                Ok(answer) if answer.status().as_u16() < 400 => break,
                answer => {
                    let error = match answer {
                        Ok(answer) => format!("it answers {}", answer.status()),
                        Err(error) => error.to_string(),
                    };
                    let ended = up.child.try_wait()?.is_some();
                    if ended || began.elapsed() >= PATIENCE {
                        let said = std::fs::read_to_string(&log).unwrap_or_default();
                        return Err(io::Error::other(format!("{error}; it said: {}", said.trim())));
                    }
                    std::thread::sleep(Probe::BETWEEN);
                }
            }
        }
        up.started_in = began.elapsed();
        Ok(up)
    }

    /// The CPU time that it has used so far.
    pub(super) fn used(&self) -> Option<TreeUsage> {
        used(self.child.id())
    }
}

impl Drop for HostChild {
    fn drop(&mut self) {
        // It has ended, or is ended here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The app's manifest with the components that are built already: starting a host is not to include
/// compiling them.
fn prebuilt(file: &HostFile, built: &BuiltProject) -> io::Result<String> {
    let apps =
        file.tenants.iter().flat_map(|tenant| tenant.apps.iter().map(move |app| (tenant, app)));
    let mut text = String::new();
    for (tenant, app) in apps {
        let Some(path) = &app.manifest else { continue };
        let mut manifest: toml::Table =
            std::fs::read_to_string(path)?.parse().map_err(io::Error::other)?;
        let Some(functions) = manifest.get_mut("functions").and_then(toml::Value::as_table_mut)
        else {
            continue;
        };
        for (name, function) in functions.iter_mut() {
            let key = app.functions.iter().find(|function| function.name.as_str() == name);
            let key = key.map(|f| (tenant.name.clone(), app.name.clone(), f.name.clone()));
            let component = key.and_then(|key| built.components.get(&key));
            if let (Some(function), Some(component)) = (function.as_table_mut(), component) {
                function.remove("crate");
                function.remove("build");
                function.insert("component".to_owned(), component.display().to_string().into());
            }
        }
        text = manifest.to_string();
    }
    Ok(text)
}
