//! Doors for clients of other systems. A door translates, and decides nothing: stores, limits and
//! transactions are those of [`lacewing_store`].

pub mod s3;
