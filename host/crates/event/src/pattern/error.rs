//! The error of a pattern.

use std::fmt;

/// Why a JSON value is no pattern. Displays as a sentence with the place, as a JSON pointer
/// (RFC 6901), the mistake, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    pointer: String,
    reason: String,
}

impl PatternError {
    pub(super) fn at(pointer: impl Into<String>, reason: impl Into<String>) -> PatternError {
        PatternError { pointer: pointer.into(), reason: reason.into() }
    }

    /// The place of the mistake as a JSON pointer: `/source/0`. Empty for the whole pattern.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The mistake and what would be right.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => write!(f, "the pattern: {}", self.reason),
            pointer => write!(f, "the pattern at `{pointer}`: {}", self.reason),
        }
    }
}

impl std::error::Error for PatternError {}
