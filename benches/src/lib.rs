//! What the benches share: a host of this process with one component deployed.

use std::{path::Path, sync::Arc};

use lacewing::{
    cli::{
        build::{self, Toolchain},
        console::Console,
    },
    config::{CompilerProgram, HostFile, Settings},
    control::{Components, Host},
    manifest::App,
    telemetry::{InvocationLog, Sink},
};

/// Builds an example and deploys it as `lacewing up` does, with every default limit on and nothing logged.
///
/// # Panics
/// If it cannot be built or deployed: there is nothing to measure then.
pub async fn deployed(example: &str, cache_dir: &Path) -> Arc<Host> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
    let built =
        build::build_crate(&dir, &Toolchain::from_env(), &Console::for_stderr(Default::default()));
    let component = built.unwrap_or_else(|error| panic!("{error}")).component;
    let (app, _) = App::for_component(&component).unwrap_or_else(|findings| panic!("{findings:?}"));
    let mut settings = Settings::new(cache_dir.to_owned());
    // A bench is no `lacewing` that could be its own compiler.
    settings.compilation.program = CompilerProgram::InProcess;
    let host = Host::new(settings.clone(), Sink::nothing(), InvocationLog::Errors)
        .unwrap_or_else(|error| panic!("{error}"));
    let file = HostFile::local(app, settings).unwrap_or_else(|findings| panic!("{findings:?}"));
    host.deploy(&file, &Components::new()).await.unwrap_or_else(|errors| panic!("{errors:?}"));
    host
}
