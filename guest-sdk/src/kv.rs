//! Key-value stores.
//!
//! The manifest declares a store, and grants it to a function:
//!
//! ```toml
//! [kv.users]
//!
//! [functions.api.grants]
//! kv = { users = "read-write" }
//! ```
//!
//! The function opens it by its name. Values are JSON:
//!
//! ```
//! use lacewing_sdk::{Error, Json, Path, Result, kv};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { name: String }
//!
//! #[lacewing_sdk::http]
//! fn user(Path(id): Path<String>) -> Result<Json<User>> {
//!     let users = kv::open("users")?;
//!     let user = users.get(&id)?;
//!     user.map(Json).ok_or_else(|| Error::not_found(format!("there is no user {id}")))
//! }
//!
//! # use lacewing_sdk::test;
//! kv::open("users").unwrap().set("7", &User { name: "Ada".into() }).unwrap();
//! let response = test::get("/users/7").param("id", "7").call(user);
//! assert_eq!(response.text(), r#"{"name":"Ada"}"#);
//! ```
//!
//! # Transactions
//! A handler that is not `async` is a transaction. All its reads see one moment, and its own
//! writes. Its writes are committed together before its response leaves. If another invocation
//! changes meanwhile what this one has read, the host runs this one again in a fresh sandbox. A
//! handler that returns an `Err`, or answers with a status of 500 and above, writes nothing.
//!
//! In an `async` handler, whose response may leave while it goes on, each call commits by itself.
//!
//! # In tests
//! A native test has its own memory for stores. A handler that a test calls through
//! [`test`](mod@crate::test) is a transaction there too.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Result};

#[cfg(not(target_family = "wasm"))]
pub(crate) mod memory;
#[cfg(target_family = "wasm")]
pub(crate) mod wit;

#[cfg(not(target_family = "wasm"))]
use memory as host;
#[cfg(target_family = "wasm")]
use wit as host;

/// A key-value store that the function was granted.
///
/// Keys have 1 to 512 bytes, values up to 1 MiB.
#[derive(Clone, Debug)]
pub struct Store {
    name: Cow<'static, str>,
}

/// Opens a store by the name that the manifest gives it.
///
/// # Errors
/// None today: the first call says that the store is not granted.
pub fn open(name: impl Into<Cow<'static, str>>) -> Result<Store> {
    crate::transaction::begin();
    Ok(Store { name: name.into() })
}

/// The number of the commit that wrote an entry. It grows with each commit, and never repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub(crate) u64);

/// A value, with the commit that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// The commit.
    pub version: Version,
}

/// A condition on the entry that a write replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// None.
    Any,
    /// There is no entry.
    Absent,
    /// The entry has this version.
    Version(Version),
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The keys, in the order of their bytes.
    pub keys: Vec<String>,
    /// The key after which the listing goes on; `None` at its end. A page may have fewer keys than
    /// asked for and still not be the last one.
    pub next: Option<String>,
}

impl Store {
    /// The value of a key, read as JSON.
    ///
    /// # Errors
    /// A value that is not JSON of this type, a key that is none, a store that is not granted or
    /// cannot be read.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        Ok(self.entry(key)?.map(|entry| entry.value))
    }

    /// The value of a key with its version, for a later [`Condition::Version`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn entry<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Entry<T>>> {
        let Some(Entry { value, version }) = self.bytes(key)? else { return Ok(None) };
        Ok(Some(Entry { value: self.read(key, &value)?, version }))
    }

    /// The value of a key as it is.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn bytes(&self, key: &str) -> Result<Option<Entry<Vec<u8>>>> {
        host::get(&self.name, key)
    }

    /// The values of up to 1,000 keys, in their order, read as JSON.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_many<T: DeserializeOwned>(&self, keys: &[&str]) -> Result<Vec<Option<T>>> {
        let found = host::get_many(&self.name, keys)?;
        let read = |(entry, key): (Option<Entry<Vec<u8>>>, &&str)| {
            entry.map(|entry| self.read(key, &entry.value)).transpose()
        };
        found.into_iter().zip(keys).map(read).collect()
    }

    /// Sets the value of a key, as JSON.
    ///
    /// # Errors
    /// A value that cannot be written as JSON or is too large, a key that is none, too many effects
    /// of one invocation, a store that is not granted for writing or cannot be written.
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<()> {
        self.write(key).json(value).map(drop)
    }

    /// Begins a write with a time to live, a condition, or a value that is not JSON.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lacewing_sdk::kv;
    ///
    /// let codes = kv::open("codes")?;
    /// let is_new = codes.write("f00").absent().expires_in(Duration::from_secs(60)).json("first")?;
    /// assert!(is_new);
    /// assert!(!codes.write("f00").absent().json("second")?);
    /// # Ok::<(), lacewing_sdk::Error>(())
    /// ```
    pub fn write<'a>(&'a self, key: &'a str) -> Write<'a> {
        Write { store: self, key, ttl: None, condition: Condition::Any }
    }

    /// Reads the value of a key, and sets what `change` makes of it. Returns the new value.
    ///
    /// ```
    /// use lacewing_sdk::kv;
    ///
    /// let carts = kv::open("carts")?;
    /// let cart = carts.update("ada", |cart: Option<Vec<String>>| {
    ///     let mut cart = cart.unwrap_or_default();
    ///     cart.push("tea".into());
    ///     Ok(cart)
    /// })?;
    /// assert_eq!(cart, ["tea"]);
    /// # Ok::<(), lacewing_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `change`, of [`Store::get`] and of [`Store::set`]. In an `async` handler 409, if
    /// other invocations change the entry again and again.
    pub fn update<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        mut change: impl FnMut(Option<T>) -> Result<T>,
    ) -> Result<T> {
        for _ in 0..ATTEMPTS {
            let (value, condition) = match self.entry(key)? {
                Some(Entry { value, version }) => (Some(value), Condition::Version(version)),
                None => (None, Condition::Absent),
            };
            let value = change(value)?;
            if self.write(key).only_if(condition).json(&value)? {
                return Ok(value);
            }
        }
        let text =
            format!("the entry {key:?} of the store `{}` changes again and again", self.name);
        Err(Error::conflict(text))
    }

    /// Deletes the entry of a key. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Store::set`].
    pub fn delete(&self, key: &str) -> Result<bool> {
        self.delete_if(key, Condition::Any)
    }

    /// Deletes the entry of a key, if a condition holds. Returns whether it was deleted.
    ///
    /// # Errors
    /// As [`Store::set`].
    pub fn delete_if(&self, key: &str, condition: Condition) -> Result<bool> {
        host::delete(&self.name, key, condition)
    }

    /// Adds to the number that a key has, 0 without an entry. Returns the sum. The number is JSON.
    ///
    /// # Errors
    /// A value that is no whole number, a sum beyond 64 bits, and the errors of [`Store::set`].
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        host::increment(&self.name, key, delta)
    }

    /// The keys that begin with a prefix, in the order of their bytes: the first 1,000.
    ///
    /// # Errors
    /// A store that is not granted or cannot be read.
    pub fn keys(&self, prefix: &str) -> Result<Page> {
        self.keys_after(prefix, None, u32::MAX)
    }

    /// Up to `limit` of the keys that begin with a prefix and come after the key `after`.
    ///
    /// # Errors
    /// As [`Store::keys`].
    pub fn keys_after(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page> {
        host::list(&self.name, prefix, after, limit)
    }

    fn read<T: DeserializeOwned>(&self, key: &str, value: &[u8]) -> Result<T> {
        serde_json::from_slice(value).map_err(|error| {
            let text = format!("the entry {key:?} of the store `{}` is no such JSON", self.name);
            Error::msg(text).with_cause(error)
        })
    }
}

/// Attempts of [`Store::update`] in an `async` handler. In another one the first succeeds.
const ATTEMPTS: u32 = 16;

/// A write that is described step by step: see [`Store::write`].
#[derive(Clone, Debug)]
#[must_use = "a write does nothing before `json` or `bytes`"]
pub struct Write<'a> {
    store: &'a Store,
    key: &'a str,
    ttl: Option<Duration>,
    condition: Condition,
}

impl Write<'_> {
    /// The entry is gone after this time.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.ttl = Some(time);
        self
    }

    /// Writes only if there is no entry.
    pub fn absent(self) -> Self {
        self.only_if(Condition::Absent)
    }

    /// Writes only if a condition holds.
    pub fn only_if(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Sets the value, as JSON. Returns whether the condition held.
    ///
    /// # Errors
    /// As [`Store::set`].
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<bool> {
        let value = serde_json::to_vec(value)?;
        self.bytes(value)
    }

    /// Sets the value as it is. Returns whether the condition held.
    ///
    /// # Errors
    /// As [`Store::set`].
    pub fn bytes(self, value: impl Into<Vec<u8>>) -> Result<bool> {
        let ttl_ms = self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        host::set(&self.store.name, self.key, value.into(), ttl_ms, self.condition)
    }
}

/// The kinds of errors that a host tells apart. A native test meets some of them.
#[cfg_attr(not(target_family = "wasm"), expect(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NotGranted,
    Invalid,
    Limit,
    Conflict,
    Unavailable,
}

/// The error of a call. A client reads of it only what it can do something about.
pub(crate) fn failure(kind: Kind, text: impl fmt::Display) -> Error {
    match kind {
        // A mistake of the function or its manifest.
        Kind::NotGranted | Kind::Invalid | Kind::Limit => Error::msg(text),
        Kind::Conflict => {
            Error::conflict("other requests change the same entry").with_cause(text.to_string())
        }
        Kind::Unavailable => {
            Error::unavailable("the state cannot be used now").with_cause(text.to_string())
        }
    }
}
