//! `lacewing up` as a process.
