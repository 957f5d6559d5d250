//! The names of tenants, apps and functions.

use std::{fmt, str::FromStr, sync::Arc};

/// The longest name, in bytes: a DNS label's, because names become host names and metric labels.
pub const MAX_NAME_BYTES: usize = 63;

/// Why a text is not a name. Displays as a sentence that says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a name: 1 to {MAX_NAME_BYTES} lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen"
)]
pub struct InvalidName {
    text: String,
}

fn validate(text: &str) -> Result<Arc<str>, InvalidName> {
    let valid = (1..=MAX_NAME_BYTES).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if valid { Ok(text.into()) } else { Err(InvalidName { text: text.to_owned() }) }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                validate(text).map($name)
            }
        }

        crate::text_form::serde_as_text!($name);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// The tenants, which are isolated and charged.
    TenantName,
    /// The functions that one manifest deploys.
    AppName,
    /// The kv stores and the SQL databases of an app.
    StoreName,
    /// A named thing with revisions, unique in its app.
    FunctionName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "hello", "a-1", "x".repeat(63).as_str()] {
            assert!(good.parse::<AppName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "1a", "A", "a_b", "a.b", "é", "x".repeat(64).as_str()] {
            assert!(bad.parse::<AppName>().is_err(), "{bad}");
        }
        assert_eq!(
            "Hello".parse::<FunctionName>().unwrap_err().to_string(),
            "\"Hello\" is not a name: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen"
        );
    }
}
