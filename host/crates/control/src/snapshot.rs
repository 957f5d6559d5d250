//! Between a component's file and its compilation: the init, and the snapshot in which every
//! sandbox of the revision starts.

use std::sync::Arc;

use lacewing_base::Limits;
use lacewing_runtime::function::Revision;
use lacewing_sandbox::{
    InitError, InitSpec, Snapshot,
    engine::{Instrumented, SnapshotName, has_init},
    snapshot,
};
use lacewing_telemetry::{Context, GuestLog, InvocationId, Origin};
use tokio::runtime::Handle;

use super::{Host, deploy::Refusal};

impl Host {
    /// The component as its init leaves it; as it is, where it has none. An init that was run
    /// before, by this process or an earlier one, is not run again. Blocks: for a thread that
    /// does not serve.
    pub(super) fn snapshot(
        &self,
        bytes: Vec<u8>,
        origin: &Arc<Origin>,
        limits: &Limits,
        env: &[(String, String)],
    ) -> Result<Vec<u8>, Refusal> {
        if !has_init(&bytes) {
            return Ok(bytes);
        }
        let name = name(&blake3::hash(&bytes), origin, limits, env);
        let loader = self.residency().loader();
        if let Some(snapshot) = loader.snapshot(&name) {
            return Ok(snapshot);
        }
        let Snapshot { bytes, cpu } = self.run_init(&bytes, origin, limits, env)?;
        tracing::info!(
            function = %origin,
            cpu_ms = cpu.as_millis(),
            component_kib = bytes.len() >> 10,
            "the init has run; every sandbox starts from the memory that it left"
        );
        loader.keep_snapshot(&name, &bytes);
        Ok(bytes)
    }

    fn run_init(
        &self,
        bytes: &[u8],
        origin: &Arc<Origin>,
        limits: &Limits,
        env: &[(String, String)],
    ) -> Result<Snapshot, Refusal> {
        let instrumented = Instrumented::new(bytes).map_err(InitError::from)?;
        let loaded = self.residency().loader().compile(instrumented.wasm())?;
        let log = self.deploy_log(origin, limits);
        let spec = InitSpec { limits: limits.clone(), env: env.to_vec() };
        let taken = async {
            let _one = self.starting.lock().await;
            snapshot(self.invoker().engines(), &instrumented, loaded, spec, &log).await
        };
        Ok(Handle::current().block_on(taken)?)
    }
}

impl Host {
    /// For what a guest prints before it is invoked.
    pub(super) fn deploy_log(&self, origin: &Arc<Origin>, limits: &Limits) -> Arc<GuestLog> {
        let context = Arc::new(Context::new(origin.clone(), InvocationId(0)));
        Arc::new(GuestLog::new(context, limits.log_bytes, self.invoker().sink().clone()))
    }
}

/// Under which name the snapshot of a revision is kept, if it has one: what was compiled is not the
/// component itself.
pub(super) fn snapshot_of(revision: &Revision) -> Option<SnapshotName> {
    let (component, spec) = (&revision.component, &revision.spec);
    let is_snapshot = component.compiled != component.digest;
    is_snapshot.then(|| name(&component.digest, &revision.origin, &spec.limits, &spec.settings.env))
}

fn name(
    digest: &blake3::Hash,
    origin: &Origin,
    limits: &Limits,
    env: &[(String, String)],
) -> SnapshotName {
    SnapshotName::new(digest, seen(origin, limits, env).as_bytes())
}

/// All that the result of an init can depend on, beside the component. Tenants have nothing in
/// common, not even the seed of their hash maps.
fn seen(origin: &Origin, limits: &Limits, env: &[(String, String)]) -> String {
    format!("{:?}", (origin.tenant(), env, limits.memory_bytes, limits.table_elements))
}
