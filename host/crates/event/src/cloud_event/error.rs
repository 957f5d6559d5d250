//! The error of a CloudEvent.

use std::fmt;

/// Why something is no CloudEvent. Displays as a sentence with the attribute, the mistake, and
/// what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEventError {
    index: Option<usize>,
    attribute: Option<String>,
    reason: String,
}

impl CloudEventError {
    /// A mistake of the whole.
    pub(super) fn new(reason: impl Into<String>) -> CloudEventError {
        CloudEventError { index: None, attribute: None, reason: reason.into() }
    }

    pub(super) fn of(attribute: impl Into<String>, reason: impl Into<String>) -> CloudEventError {
        let attribute = Some(attribute.into());
        CloudEventError { index: None, attribute, reason: reason.into() }
    }

    pub(super) fn in_batch(self, index: usize) -> CloudEventError {
        CloudEventError { index: Some(index), ..self }
    }

    /// The index of the event in its batch, if there is a batch.
    pub fn index(&self) -> Option<usize> {
        self.index
    }

    /// The attribute, the header or the member of JSON that is wrong, if it is a single one.
    pub fn attribute(&self) -> Option<&str> {
        self.attribute.as_deref()
    }
}

impl fmt::Display for CloudEventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "the event {index} of the batch: ")?,
            None => f.write_str("the event: ")?,
        }
        if let Some(attribute) = &self.attribute {
            write!(f, "`{attribute}` ")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for CloudEventError {}
