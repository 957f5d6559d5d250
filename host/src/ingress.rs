//! The HTTP ingress.

pub mod body;
pub mod respond;
pub mod route;
