//! What the benches share: a host of this process with one component deployed, or with many.

pub mod many;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use lacewing::{
    cli::{
        build::{self, Toolchain},
        console::Console,
    },
    config::{HostFile, Settings},
    control::{Components, Host},
    manifest::App,
    telemetry::{InvocationLog, Sink},
};

/// Builds an example and deploys it as `lacewing up` does, with every default limit on and nothing logged.
///
/// # Panics
/// If it cannot be built or deployed: there is nothing to measure then.
pub async fn deployed(example: &str, cache_dir: &Path) -> Arc<Host> {
    let component = component(example);
    let (app, _) = App::for_component(&component).unwrap_or_else(|findings| panic!("{findings:?}"));
    let settings = Settings::new(cache_dir.to_owned());
    let host = Host::new(settings.clone(), Sink::nothing(), InvocationLog::Errors)
        .unwrap_or_else(|error| panic!("{error}"));
    let file = HostFile::local(app, settings).unwrap_or_else(|findings| panic!("{findings:?}"));
    host.deploy(&file, &Components::new()).await.unwrap_or_else(|errors| panic!("{errors:?}"));
    host
}

/// Builds an example.
///
/// # Panics
/// If it cannot be built.
pub fn component(example: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
    let built =
        build::build_crate(&dir, &Toolchain::from_env(), &Console::for_stderr(Default::default()));
    built.unwrap_or_else(|error| panic!("{error}")).component
}

/// Deploys a host file, nothing logged.
///
/// # Panics
/// If it cannot be deployed.
pub async fn deployed_file(path: &Path) -> Arc<Host> {
    let (file, _) = HostFile::load(path).unwrap_or_else(|findings| panic!("{findings:?}"));
    let host = Host::new(file.settings.clone(), Sink::nothing(), InvocationLog::None)
        .unwrap_or_else(|error| panic!("{error}"));
    host.deploy(&file, &Components::new()).await.unwrap_or_else(|errors| panic!("{errors:?}"));
    host
}
