//! Domain types of Lacewing, and the threads, heap and files that every layer above uses.
//!
//! - **Domain types**: names, limits, grants, routes, outcomes and fair shares. A manifest, a host
//!   file, an API call and a test build the same types. The types do not know in which text a value
//!   was written.
//! - **Machine**: [`event_loop`] has the threads, [`heap`] the accounts of the heap, and
//!   [`mod@file`] opens files of strangers.
//! - **HTTP**: [`body`] has the bodies between connection and sandbox, and [`fields`] the fields
//!   that belong to one connection.
//!
//! Nothing here names Wasmtime or hyper.

pub mod account;
pub mod address;
pub mod body;
pub mod bucket;
pub mod budget;
pub mod cors;
pub mod egress_bounds;
pub mod event_loop;
pub mod fair;
pub mod fields;
pub mod file;
pub mod grants;
pub mod heap;
pub mod host_pattern;
pub mod kv;
pub mod limits;
pub mod name;
pub mod network;
pub mod outcome;
pub mod permits;
pub mod queue;
pub mod random;
pub mod route;
pub mod secret;
pub mod sql;
mod sync;
mod text_form;

pub use account::TenantAccount;
pub use bucket::{Bucket, BucketGrant};
pub use cors::Cors;
pub use egress_bounds::EgressBounds;
pub use grants::{GrantHost, Grants, HttpGrant};
pub use host_pattern::{HostPattern, InvalidHost};
pub use kv::{Access, KvGrant, KvStore};
pub use limits::{LimitKey, Limits};
pub use outcome::Outcome;
pub use queue::Queue;
pub use route::{Methods, Route, RoutePath};
pub use secret::SecretName;
pub use sql::{SqlDatabase, SqlGrant};

/// The program's own allocator, so that unit tests charge the heap too.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: heap::ChargingAllocator<std::alloc::System> =
    heap::ChargingAllocator(std::alloc::System);
