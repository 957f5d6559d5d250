//! Host settings and tenants: raw, then validated, before any port is bound.
//!
//! A *host file* (`up --host host.toml`) says both:
//!
//! ```toml
//! listen = ["0.0.0.0:8080"]
//!
//! [tenants.acme]
//! hosts = ["acme.example.com", "*.acme.example.com"]
//! apps = ["apps/shop/lacewing.toml"]
//! quota = { concurrency = 500 }
//! caps = { memory_mib = 128, cpu_ms = 500 }
//! ```
//!
//! `up` on a single app is the same with one tenant, `local`, and the default settings:
//! [`HostFile::local`].

mod admin;
mod caps;
mod compilation;
mod counting;
mod egress;
mod host_file;
mod machine;
mod memory;
mod outline;
mod owners;
mod proxies;
mod raw;
mod settings;
mod tenant;

pub use caps::{AppCap, AppKey, CapViolation, Caps};
pub use compilation::{Compilation, CompilerProgram};
pub use counting::Counting;
pub use host_file::{HostFile, cache_dir_of, is_host_file, json_schema, log_format_of};
pub use memory::MemoryPlan;
pub use outline::{Manifest, Outline, ReadApp, Unread};
pub use owners::HostOwners;
pub use settings::{
    Admission, Connections, LogFormat, LogSettings, RequestLog, Residency, STATE_DIR, SecretSource,
    Settings, default_cache_dir,
};
pub use tenant::{RefusedApp, Tenant, TenantQuota};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
