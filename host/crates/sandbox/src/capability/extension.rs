//! The extension point of the host: what a group of imports has to say of itself.

use std::sync::Arc;

use lacewing_base::Limits;
use lacewing_telemetry::Context;
use wasmtime::{
    Result,
    component::{Linker, ResourceTable},
};
use wasmtime_wasi::WasiView;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_io::IoView;

use super::{
    config::SecretSettings,
    egress::{Egress, Policy, Propagation},
    interfaces::Versions,
    payer::Payer,
    sql::SqlSettings,
    state::StateSettings,
    stdio::Log,
};

/// The settings of a revision that its capabilities read.
pub struct CapabilitySettings {
    /// The environment that the guest sees, and nothing else.
    pub env: Vec<(String, String)>,
    /// The way out of this host.
    pub egress: Arc<Egress>,
    /// Where outbound HTTP may go.
    pub policy: Policy,
    /// The state that it may use; `None` if it is granted none.
    pub state: Option<StateSettings>,
    /// The secrets that it may read; `None` if it is granted none.
    pub secrets: Option<SecretSettings>,
    /// The SQL databases that it may use; `None` if it is granted none.
    pub sql: Option<SqlSettings>,
}

/// A group of imports, with the state that one Wasmtime store has for them.
///
/// What a guest has the host keep is a resource in the store's table. The limit `handles` bounds
/// their number, and the sandbox's account pays for their heap: it is open during every call of the
/// guest. Work outside of those calls goes through [`Charged`](super::payer::Charged).
pub(crate) trait Capability: Send + Sized + 'static {
    /// The packages, each with the versions that this host has.
    const PACKAGES: &'static [Versions];

    /// The interfaces that an init may call. All others refuse during an init.
    const DURING_INIT: &'static [Versions] = &[];

    /// Whether the state belongs to one invocation. An instance that serves several opens it anew
    /// for each.
    const PER_INVOCATION: bool;

    /// Whether a call shows that the guest lives with a growth of its memory that it was refused.
    /// Output does not: a guest prints before it gives up.
    const SHOWS_PROGRESS: bool;

    /// The reason for which an init may not call the other interfaces of `package`.
    fn why_not_during_init(package: &str) -> &'static str;

    /// The state of one store. It costs nothing until the guest's first call.
    fn open(opening: Opening<'_>) -> Self;

    /// Adds the interfaces to a linker; those of WASI 0.3 too, if the engine has `tasks`.
    fn link<T: StoreData>(linker: &mut Linker<T>, tasks: bool) -> Result<()>;

    /// Adds those of [`Capability::DURING_INIT`] to the linker of an init.
    fn link_for_init<T: InitData>(_linker: &mut Linker<T>, _tasks: bool) -> Result<()> {
        Ok(())
    }
}

/// The facts from which a capability makes its state.
pub(crate) struct Opening<'a> {
    /// The limits of the revision.
    pub(crate) limits: &'a Limits,
    /// The revision's settings for capabilities.
    pub(crate) settings: &'a CapabilitySettings,
    /// The names of the invocation; of an instance that serves several, those of the last one.
    pub(crate) context: &'a Context,
    /// Where the guest's output and the host's notes go.
    pub(crate) log: Log,
    /// Whether the store serves several invocations.
    pub(crate) is_shared: bool,
    /// Whether the invocation is a transaction: its effects are committed by its caller, after the
    /// guest's answer.
    pub(crate) is_transactional: bool,
    /// Whether the guest is over a limit, and will be stopped at its next tick. The handles of the
    /// guest are gone, and calls may come all the same: the state has to refuse each at next
    /// to no cost.
    pub(crate) is_over: bool,
    /// The trace that outbound requests carry on, for the capability that sends them to take.
    pub(crate) propagation: &'a mut Propagation,
    /// The account that pays for the host's work outside of the guest's calls.
    pub(crate) payer: Arc<dyn Payer>,
}

/// The data of a store, as capabilities see it.
pub(crate) trait StoreData: WasiView + WasiHttpView + 'static {
    /// The state of a capability, and the handles of the guest.
    ///
    /// Every call of the host comes by here. So the limits on time and heap are checked here.
    fn capability<C: Capability>(&mut self) -> (&mut C, &mut ResourceTable);
}

/// The data of a store whose guest runs its init.
pub(crate) trait InitData: WasiView + IoView + 'static {}
