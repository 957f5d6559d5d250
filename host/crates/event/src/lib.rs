//! Events: patterns that select them, schedules that make them, and their wire format.
//!
//! - [`cloud_event`]: CloudEvents 1.0, and their binding to HTTP.
//! - [`delivery`]: the loop that hands messages to functions.
//! - [`pattern`]: event patterns in the language of Amazon EventBridge.
//! - [`schedule`]: cron expressions, rates and single times, in time zones.

pub mod cloud_event;
pub mod delivery;
pub mod pattern;
pub mod schedule;
