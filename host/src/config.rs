//! Host settings and tenants: raw, then validated, before any port is bound.
//!
//! A *host file* (`up --host host.toml`) says both. `up` on a single app is the same with one tenant, `local`, and
//! the default settings: [`HostFile::local`].

mod caps;
mod host_file;
mod settings;

pub use caps::{CapViolation, Caps};
pub use host_file::{HostFile, Quota, Tenant};
pub use settings::{
    Admission, Connections, LogFormat, LogSettings, RequestLog, Settings, default_cache_dir,
};
