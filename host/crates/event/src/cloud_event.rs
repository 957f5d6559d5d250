//! CloudEvents 1.0, and their binding to HTTP.
