//! Values with the place where they are written.

use std::{fmt, ops::Deref};

use super::Place;

/// A value of a manifest or host file, and its place in the text, for findings about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub place: Place,
}

impl<T> Written<T> {
    /// A value that is written at a place.
    pub fn new(value: T, place: Place) -> Written<T> {
        Written { value, place }
    }
}

impl<T> AsRef<T> for Written<T> {
    fn as_ref(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for Written<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Display> fmt::Display for Written<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
