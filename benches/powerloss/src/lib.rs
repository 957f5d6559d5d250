//! A disk that forgets what was not synced.
//!
//! ```text
//!   process with the recorder (LD_PRELOAD) ──writes──> directory
//!                     │ what it does, in its order
//!                     v
//!                 the record ──replay──> Disk ──loss of power──> the directory afterwards
//! ```
//!
//! The recorder (`examples/recorder.rs`) notes each change of a directory and each sync, and lets
//! all through. The replay tells what a disk has to have kept: of a file what was written before an
//! `fsync` of the file began, and of a folder the names that were in it before an `fsync` of the
//! folder began. POSIX promises no more. Of the rest, a loss of power keeps nothing, or a random
//! part in which single sectors are torn out of writes.
//!
//! Nothing of it needs privileges or a kernel module. Pillai et al., *All File Systems Are Not
//! Created Equal* (OSDI 2014), describe the method.

mod disk;
mod record;

pub use disk::{Disk, Loss, ReplayError};
pub use record::{Record, Records};

/// The environment variable that names the directory that is recorded.
pub const DIRECTORY: &str = "LACEWING_POWERLOSS_DIRECTORY";

/// The environment variable that names the file of the record.
pub const RECORD: &str = "LACEWING_POWERLOSS_RECORD";
