//! Guests for the host's tests. The programs are this package's examples.
