//! The names of secrets, and the bounds of secrets.

use std::{fmt, str::FromStr, sync::Arc};

/// The longest name, in bytes.
pub const MAX_SECRET_NAME_BYTES: usize = 64;

/// The largest value, in bytes. The command that sets a larger one is refused.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;

/// The most secrets of one app. The command that adds one more is refused, and so is a manifest
/// that grants more to a function.
pub const MAX_APP_SECRETS: usize = 64;

/// The name of a secret of an app, such as `STRIPE_KEY`.
///
/// A name is in upper case: then it names one file on every file system, and one variable under the
/// rules of Spin, whose variables are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(Arc<str>);

/// Why a text is no name of a secret. Displays as a sentence that says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no name of a secret: 1 to {MAX_SECRET_NAME_BYTES} upper-case letters, digits and underscores, beginning with a letter"
)]
pub struct InvalidSecretName {
    text: String,
}

impl SecretName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that comes nearest to a text: `stripe-key` gives `STRIPE_KEY`.
    pub fn like(text: &str) -> Option<SecretName> {
        let upper = |c: char| match c.to_ascii_uppercase() {
            '-' | '.' | ' ' => '_',
            c => c,
        };
        text.chars().map(upper).collect::<String>().parse().ok()
    }
}

impl FromStr for SecretName {
    type Err = InvalidSecretName;

    fn from_str(text: &str) -> Result<SecretName, InvalidSecretName> {
        let is_name = (1..=MAX_SECRET_NAME_BYTES).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        match is_name {
            true => Ok(SecretName(text.into())),
            false => Err(InvalidSecretName { text: text.to_owned() }),
        }
    }
}

crate::text_form::serde_as_text!(SecretName);

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_upper_case() {
        for good in ["A", "STRIPE_KEY", "KEY_2", "X".repeat(64).as_str()] {
            assert!(good.parse::<SecretName>().is_ok(), "{good}");
        }
        for bad in ["", "_A", "2A", "a", "A-B", "A.B", "../A", "Ä", "X".repeat(65).as_str()] {
            assert!(bad.parse::<SecretName>().is_err(), "{bad}");
        }
        assert_eq!(
            "stripe-key".parse::<SecretName>().unwrap_err().to_string(),
            "\"stripe-key\" is no name of a secret: 1 to 64 upper-case letters, digits and underscores, beginning with a letter"
        );
        assert_eq!(SecretName::like("stripe-key").unwrap().as_str(), "STRIPE_KEY");
        assert_eq!(SecretName::like("2fast"), None);
    }
}
