//! The imports of guests: one capability for each group of interfaces.
//!
//! ```text
//!   component imports wasi:http/outgoing-handler
//!        │ deploy: INTERFACES has the package
//!        v
//!   Capability::link          adds the interfaces to the linker, once for each profile
//!        │ the guest calls one
//!        v
//!   StoreData::capability     the state of the store, which Capability::open makes at the first call
//!        │
//!        v
//!   the state                 what the revision grants, the log, the Payer of the invocation
//! ```
//!
//! A capability is one file, its `mod` line, and one entry in the list below. Whether a guest may
//! use one is decided by its state: no folder is preopened, no socket may be made, and outbound
//! HTTP goes only where the manifest's grants allow.

mod config;
pub mod egress;
mod extension;
mod grant;
mod interfaces;
mod opened;
mod outbound_http;
mod payer;
mod sql;
mod state;
mod stdio;
mod wasi;

pub(crate) use config::Config;
pub use config::SecretSettings;
pub use extension::CapabilitySettings;
pub(crate) use extension::{Capability, InitData, Opening, StoreData};
pub(crate) use interfaces::candidate;
pub(crate) use opened::OpenedCapabilities;
pub(crate) use outbound_http::OutboundHttp;
pub(crate) use payer::Payer;
pub(crate) use sql::Sql;
pub use sql::SqlSettings;
pub use state::StateSettings;
pub(crate) use state::TransactionalState;
pub(crate) use stdio::SharedLog;
pub(crate) use wasi::Wasi;

use wasmtime::{Result, component::Linker};

use self::interfaces::Interfaces;

/// Makes the functions of this module over all capabilities of a list.
macro_rules! capabilities {
    ($($capability:ty),* $(,)?) => {
        /// The interfaces of all capabilities.
        pub(crate) static INTERFACES: Interfaces =
            Interfaces::new(&[$(interfaces::of::<$capability>()),*]);

        /// Adds everything that this host has; of WASI 0.3 too, if the engine has `tasks`.
        pub(crate) fn link<T: StoreData>(linker: &mut Linker<T>, tasks: bool) -> Result<()> {
            $(<$capability>::link(linker, tasks)?;)*
            Ok(())
        }

        /// Adds everything that an init may call.
        pub(crate) fn link_for_init<T: InitData>(
            linker: &mut Linker<T>,
            tasks: bool,
        ) -> Result<()> {
            $(<$capability>::link_for_init(linker, tasks)?;)*
            Ok(())
        }
    };
}

capabilities![Wasi, OutboundHttp, TransactionalState, Config, Sql];
