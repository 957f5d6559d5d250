//! Domain types of Lacewing: names, limits, grants, routes, outcomes and fair shares.
//!
//! A manifest, a host file, an API call and a test build the same types. Nothing here reads a file, names Wasmtime or hyper, or
//! knows in which text a value was written.

pub mod address;
pub mod budget;
pub mod cors;
pub mod fair;
pub mod grants;
pub mod host_pattern;
pub mod limits;
pub mod name;
pub mod outcome;
pub mod permits;
pub mod route;
mod sync;
mod text_form;

pub use cors::Cors;
pub use grants::{GrantHost, Grants, HttpGrant};
pub use host_pattern::{HostPattern, InvalidHost};
pub use limits::{LimitKey, Limits};
pub use outcome::Outcome;
pub use route::{Methods, Route, RoutePath};
