//! The host as a whole: its deployed functions, and their changes.

mod deploy;
mod host;
mod layout;
mod ledger;
mod provision;
mod review;
mod routes;
mod snapshot;
mod state;

pub use deploy::{Components, DeployError, Deployment, Incoming, Ready, Refusal, Swap};
pub use host::{Deployed, DeployedApp, Host, HostError};
pub use layout::{layouts, review_layouts};
pub use ledger::{Ledger, Malformed};
pub use review::review;
pub use state::StateError;
