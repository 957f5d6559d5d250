//! Tenants with their functions, and the invocations of those.

pub mod function;
pub mod invocation;
