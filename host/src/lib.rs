//! Lacewing: a WebAssembly-sandboxed edge function runtime.
//!
//! The program `lacewing` calls [`cli::main`]. This library has the command line, and shows the
//! other crates of the host under one name. The map of the project is in `docs/architecture.md`.
//!
//! # The path of a request
//!
//! ```text
//!  socket ─> ingress ──no route, bad request──────────> the host's own answer
//!               │ route, of a table that a deploy swaps whole
//!               v
//!           invocation ──throttled, load_shed─────────> the host's own answer
//!               │ permit: quotas, a slot, a turn on a core
//!               v
//!           function      the revision's program, in memory or loaded now
//!               │
//!               v
//!           sandbox       a store, an instance, the limits, on Wasmtime (engine)
//!               │   ^
//!               v   └─── capability: the imports of the guest
//!           outcome ─> record, metrics (telemetry) ─> response ─> socket
//! ```
//!
//! # The modules, from the top down
//!
//! A module names only modules below it. Each row but the first is a crate of its own, or a part of
//! one.
//!
//! | module | crate | contents |
//! |---|---|---|
//! | [`cli`] | `lacewing` | arguments, commands and exit codes; building guests |
//! | [`control`] | `lacewing-control` | the host as a whole: deploys, swaps, the ledger |
//! | [`ingress`] | `lacewing-ingress` | sockets, HTTP, routes, the answers of the host itself |
//! | [`invocation`] | `lacewing-runtime` | admission, one run of a function, its record |
//! | [`function`] | `lacewing-runtime` | tenants, revisions, quotas, programs in memory |
//! | [`sandbox`] | `lacewing-sandbox` | one invocation's store, instance and limits; the classification of faults |
//! | [`capability`] | `lacewing-sandbox` | the imports of guests: WASI, stdio, outbound HTTP |
//! | [`engine`] | `lacewing-sandbox` | Wasmtime's engines, the pool, the epoch, the artifact cache, the compiler |
//! | [`telemetry`] | `lacewing-telemetry` | logs, records, metrics, health, the admin listener |
//! | [`config`] | `lacewing-manifest` | `host.toml`: settings and tenants |
//! | [`manifest`] | `lacewing-manifest` | `lacewing.toml`: functions, routes, limits, grants |
//! | [`event_loop`] | `lacewing-base` | threads that run connections; compute threads for long computations |
//! | [`mod@file`], [`body`] | `lacewing-base` | files of strangers, opened safely; bodies between connection and sandbox |
//! | [`heap`] | `lacewing-base` | accounts of the heap, charged by the global allocator |
//!
//! The crate `lacewing_load` has the load generator of `lacewing bench`.
//! The crate [`lacewing_base`] has the domain types as well: names, limits, grants, routes,
//! outcomes, fair queues and budgets.

pub mod cli;
#[doc(hidden)]
pub mod fuzzing;

pub use lacewing_base::{body, event_loop, fields, file, heap};
pub use lacewing_control as control;
pub use lacewing_ingress as ingress;
pub use lacewing_manifest::{self as manifest, config};
pub use lacewing_runtime::{function, invocation};
pub use lacewing_sandbox::{self as sandbox, capability, engine};
pub use lacewing_telemetry as telemetry;
