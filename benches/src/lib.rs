//! The parts that benches share: guests, a host of this process with one component deployed, and
//! Wasmtime without any host.

pub mod client;
pub mod dated;
pub mod guest;
pub mod many;
pub mod process;
pub mod profiles;
pub mod rates;
pub mod raw;
pub mod s3;
pub mod serializable;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{Response, Uri};
use lacewing::{
    body::Body,
    config::{CompilerProgram, HostFile, Settings},
    control::{Components, Host},
    function::Revision,
    invocation::{Failure, HttpRequest},
    manifest::App,
    telemetry::{Context, InvocationId, InvocationLog, Sink},
};
use raw::Raw;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Builds an example and deploys it as `lacewing up` does, with every default limit on and nothing
/// logged.
///
/// # Panics
/// If it cannot be built or deployed: there is nothing to measure then.
pub async fn deployed(example: &str, cache_dir: &Path) -> Arc<Host> {
    deployed_component(&guest::example(example), cache_dir).await
}

/// As [`deployed`], for a component that is there already.
///
/// # Panics
/// If it cannot be deployed.
pub async fn deployed_component(component: &Path, cache_dir: &Path) -> Arc<Host> {
    let (app, _) = App::for_component(component).unwrap_or_else(|findings| panic!("{findings:?}"));
    let mut settings = Settings::new(cache_dir.to_owned());
    // A bench is no `lacewing` that could be its own compiler.
    settings.compilation.program = CompilerProgram::InProcess;
    let host = Host::new(settings.clone(), Sink::nothing(), InvocationLog::Errors)
        .unwrap_or_else(|error| panic!("{error}"));
    let file = HostFile::local(app, settings).unwrap_or_else(|findings| panic!("{findings:?}"));
    host.deploy(&file, &Components::new()).await.unwrap_or_else(|errors| panic!("{errors:?}"));
    host
}

/// The example `hello` for Wasmtime without a host.
///
/// # Panics
/// If it does not build or compile.
pub fn raw_hello() -> Raw {
    Raw::new(&guest::example("hello")).unwrap_or_else(|error| panic!("{error:#}"))
}

/// A runtime that needs no more than the thread that it is made on.
///
/// # Panics
/// If the system refuses what it needs.
pub fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap_or_else(|error| panic!("{error}"))
}

/// A directory that is gone when it is dropped.
///
/// # Panics
/// If it cannot be made.
pub fn temporary_dir() -> TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"))
}

/// A function of a host of this process, called without a socket.
#[derive(Clone)]
pub struct Called {
    host: Arc<Host>,
    revision: Arc<Revision>,
    count: Arc<AtomicU64>,
    route: &'static str,
    path: &'static str,
    params: &'static [(&'static str, &'static str)],
}

impl Called {
    /// The host's only function.
    ///
    /// # Panics
    /// If it has none.
    pub fn only(host: Arc<Host>) -> Called {
        let revision = host.deployed().revisions[0].clone();
        Called { host, revision, count: Arc::default(), route: "/", path: "/", params: &[] }
    }

    /// As if the route `route` had matched `path`, and captured `params`.
    #[must_use]
    pub fn at(
        self,
        route: &'static str,
        path: &'static str,
        params: &'static [(&'static str, &'static str)],
    ) -> Called {
        Called { route, path, params, ..self }
    }

    /// One request on the lean path, from admission to the response; each has a context of its own,
    /// as on a socket.
    ///
    /// # Errors
    /// Whatever the invocation ends as, if that is not `ok`.
    pub async fn get(&self, body: Bytes) -> Result<Response<Body>, Failure> {
        let id = InvocationId(self.count.fetch_add(1, Ordering::Relaxed).into());
        let context = Arc::new(Context::new(self.revision.origin.clone(), id));
        let mut parts = http::Request::new(()).into_parts().0;
        parts.uri = Uri::from_static(self.path);
        let request = HttpRequest {
            parts,
            scheme: "http",
            authority: "localhost",
            route: self.route,
            params: self.params,
        };
        self.host.invoker().begin(&self.revision, &context).buffered(request, body).await
    }
}

/// Deploys a host file, nothing logged.
///
/// # Panics
/// If it cannot be deployed.
pub async fn deployed_file(path: &Path) -> Arc<Host> {
    let (mut file, _) = HostFile::load(path).unwrap_or_else(|findings| panic!("{findings:?}"));
    file.settings.compilation.program = CompilerProgram::InProcess;
    let host = Host::new(file.settings.clone(), Sink::nothing(), InvocationLog::None)
        .unwrap_or_else(|error| panic!("{error}"));
    host.deploy(&file, &Components::new()).await.unwrap_or_else(|errors| panic!("{errors:?}"));
    host
}
