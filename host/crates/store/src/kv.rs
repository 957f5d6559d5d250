//! Key-value stores: keys, versions, ranges of keys, and what may be wrong with a call.

use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

pub use lacewing_base::KvStore;

use super::{StoreError, transaction::MAX_ROWS_READ};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// The longest name of a group of messages, in bytes, as in SQS.
pub const MAX_GROUP_BYTES: usize = 128;

/// The most keys that one call lists or gets.
pub const MAX_KEYS: usize = 1000;

/// The most bytes of values that one call gets, in one step of the host.
pub const MAX_GET_BYTES: usize = 8 << 20;

/// The bytes that a store is charged for each entry, besides key and value: its row and its place
/// in the index.
pub(crate) const ENTRY_BYTES: u64 = 64;

/// The number of the commit that wrote an entry. Numbers of a tenant grow, and never repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The version of a key without an entry.
    pub const ABSENT: Version = Version(0);

    /// The first version of entries that are not committed yet.
    const UNCOMMITTED: u64 = 1 << 63;

    /// A version for a write that is not committed yet, which no other write of this process has.
    pub(crate) fn uncommitted() -> Version {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Version(Version::UNCOMMITTED | NEXT.fetch_add(1, Relaxed))
    }
}

/// An entry that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// The commit that wrote it.
    pub version: Version,
    /// When it expires, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The keys, in the order of their bytes.
    pub keys: Vec<String>,
    /// The key after which the listing goes on; `None` at its end.
    pub next: Option<String>,
}

/// The size of a named store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUse {
    /// App and name, as in `shop/users`.
    pub id: String,
    /// Entries, expired ones included.
    pub entries: u64,
    /// Bytes that the store is charged with.
    pub bytes: u64,
}

/// A condition on the entry that a write replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// None.
    #[default]
    Any,
    /// There is no entry.
    Absent,
    /// The entry has this version.
    Version(Version),
}

impl Condition {
    pub(crate) fn holds(self, found: Option<Version>) -> bool {
        match self {
            Condition::Any => true,
            Condition::Absent => found.is_none(),
            Condition::Version(version) => found == Some(version),
        }
    }
}

/// What is wrong with a call on a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// No byte, or too many.
    #[error("the key has {bytes} bytes; a key has 1 to {limit}")]
    KeySize {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// An object over the bound of its bucket.
    #[error("the object has over {limit_bytes} bytes (`max_object_mib`)")]
    ObjectSize {
        /// The bound.
        limit_bytes: u64,
    },
    /// Attributes of an object over their bound.
    #[error("the attributes of the object have {bytes} bytes; the limit is {limit_bytes}")]
    AttributeSize {
        /// Their size.
        bytes: usize,
        /// The bound.
        limit_bytes: usize,
    },
    /// More bytes than the tenant may have.
    #[error("the state of the tenant would have {bytes} bytes, and may have {limit_bytes}")]
    OverQuota {
        /// The size.
        bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
    /// More bytes of values than one call may get.
    #[error("the values have over {limit_kib} KiB together: get fewer keys at once")]
    TooManyBytes {
        /// The bound.
        limit_kib: usize,
    },
    /// More keys than one call may have.
    #[error("the call names {keys} keys; the limit is {MAX_KEYS}")]
    TooManyKeys {
        /// Their number.
        keys: usize,
    },
    /// A value over the bound of its store.
    #[error("the value has {bytes} bytes; the limit is {limit_bytes} (`max_value_kib`)")]
    ValueSize {
        /// Its size.
        bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
    /// A delay of a message that is too long.
    #[error("the message has a delay of {seconds} s; the longest is {limit_s} s")]
    Delay {
        /// The delay.
        seconds: u64,
        /// The bound.
        limit_s: u64,
    },
    /// A delay of a single message of a queue that keeps the order of its messages.
    #[error("the queue is first in, first out: a message of it has no delay of its own")]
    DelayInOrder,
    /// An entry of a queue that is no message.
    #[error("the entry of the queue is no message")]
    NotAMessage,
    /// A message over the bound of its queue.
    #[error("the message has {bytes} bytes; the limit is {limit_bytes} (`max_message_kib`)")]
    MessageSize {
        /// Its size.
        bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
    /// A group of messages whose name is none.
    #[error("the group of the message has {bytes} bytes; a group has 1 to {MAX_GROUP_BYTES}")]
    GroupSize {
        /// Its size.
        bytes: usize,
    },
    /// More effects than one invocation may have.
    #[error("the invocation has {limit} effects already (`effects`)")]
    TooManyEffects {
        /// The bound.
        limit: u32,
    },
    /// More bytes in effects than one invocation may have.
    #[error("the effects of the invocation have over {limit_kib} KiB (`effect_kib`)")]
    EffectBytes {
        /// The bound.
        limit_kib: u64,
    },
    /// More reads than the commit of one invocation may look at again.
    #[error("the invocation read over {MAX_ROWS_READ} keys; one with effects may not read more")]
    TooManyReads,
    /// An increment of a value that is no decimal number of 64 bits.
    #[error("the value is no whole number of 64 bits in decimal digits")]
    NotANumber,
    /// An entry of a bucket that describes no object.
    #[error("the entry of the bucket describes no object")]
    NotAnObject,
    /// An increment beyond 64 bits.
    #[error("the sum does not fit into 64 bits")]
    Overflow,
    /// The store itself.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keys from one, included, to another, excluded, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
}

/// Greater than the first byte of any text in UTF-8.
const END: u8 = 0xff;

impl KeyRange {
    /// The keys that begin with `prefix` and come after the key `after`.
    pub fn new(prefix: &str, after: Option<&str>) -> KeyRange {
        let mut to = prefix.as_bytes().to_vec();
        match to.last_mut() {
            // No byte of UTF-8 is 0xff.
            Some(last) => *last += 1,
            None => to.push(END),
        }
        let from = after.map(|after| behind(after.as_bytes())).unwrap_or_default();
        KeyRange { from: from.max(prefix.as_bytes().to_vec()), to }
    }

    /// The same range up to `last`, included.
    pub(crate) fn up_to(&self, last: &[u8]) -> KeyRange {
        KeyRange { from: self.from.clone(), to: behind(last) }
    }

    /// The same range from the first key that does not begin with `prefix`.
    pub(crate) fn behind_prefix(&self, prefix: &str) -> KeyRange {
        let behind = KeyRange::new(prefix, None).to;
        KeyRange { from: behind.max(self.from.clone()), to: self.to.clone() }
    }

    /// The same range from the first key after `last`.
    pub(crate) fn behind(&self, last: &[u8]) -> KeyRange {
        KeyRange { from: behind(last), to: self.to.clone() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}

/// The least key greater than `key`.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// A key of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The key.
    pub key: Vec<u8>,
    /// When it expires, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

/// Whether an entry that expires at some time, or never, is there.
pub(crate) fn is_live(expires_ms: Option<i64>, now_ms: i64) -> bool {
    expires_ms.is_none_or(|expires| expires > now_ms)
}

/// A digest of a listing: the same for the same keys. It stays in this process, whose key nobody
/// else knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListDigest(u64);

impl ListDigest {
    /// The digest of all keys, expired ones included: an entry that expired and was set anew has
    /// another time.
    pub(crate) fn of(listed: &[ListedKey]) -> ListDigest {
        ListDigest::of_keys(listed.iter().map(|listed| (&*listed.key, listed.expires_ms)))
    }

    /// The same, of keys with their times of expiry.
    pub(crate) fn of_keys<'a>(listed: impl Iterator<Item = (&'a [u8], Option<i64>)>) -> ListDigest {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        let mut hasher = KEY.get_or_init(RandomState::new).build_hasher();
        listed.for_each(|one| one.hash(&mut hasher));
        ListDigest(hasher.finish())
    }
}

/// Checks a text that a call compares with keys.
pub(crate) fn check_length(text: &str) -> Result<(), KvError> {
    match text.len() {
        0..=MAX_KEY_BYTES => Ok(()),
        bytes => Err(KvError::KeySize { bytes, limit: MAX_KEY_BYTES }),
    }
}

/// Checks a text that is to be a key of at most `limit` bytes.
///
/// # Errors
/// It is empty, or too long.
pub fn check_key(key: &str, limit: usize) -> Result<(), KvError> {
    match key.len() {
        bytes if (1..=limit).contains(&bytes) => Ok(()),
        bytes => Err(KvError::KeySize { bytes, limit }),
    }
}

/// The bytes that an entry is charged to its store with.
pub(crate) fn entry_bytes(key_bytes: u64, value_bytes: u64) -> u64 {
    key_bytes + value_bytes + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(range: &KeyRange, key: &str) -> bool {
        let key = key.as_bytes().to_vec();
        range.from <= key && key < range.to
    }

    #[test]
    fn a_range_has_the_keys_of_its_prefix() {
        let range = KeyRange::new("user:", None);
        for key in ["user:", "user:1", "user:\u{10ffff}"] {
            assert!(holds(&range, key), "{key}");
        }
        for key in ["user", "user;", "uses", "v"] {
            assert!(!holds(&range, key), "{key}");
        }
        assert!(holds(&KeyRange::new("", None), "\u{10ffff}"));
    }

    #[test]
    fn a_range_begins_behind_a_key() {
        let range = KeyRange::new("a", Some("ab"));
        assert!(!holds(&range, "ab"));
        assert!(holds(&range, "ab\0"));
        assert!(KeyRange::new("a", Some("b")).is_empty());
        assert!(holds(&KeyRange::new("b", Some("a")), "b"));
        assert!(!holds(&KeyRange::new("b", Some("a")), "aa"));
    }

    #[test]
    fn a_shorter_range_ends_with_its_last_key() {
        let range = KeyRange::new("a", None).up_to(b"ac");
        assert!(holds(&range, "ac") && !holds(&range, "ac\0"));
    }

    #[test]
    fn a_digest_tells_listings_apart() {
        let listed = |keys: &[(&str, Option<i64>)]| {
            let listed: Vec<ListedKey> = keys
                .iter()
                .map(|(key, expires_ms)| ListedKey { key: (*key).into(), expires_ms: *expires_ms })
                .collect();
            ListDigest::of(&listed)
        };
        assert_eq!(listed(&[("a", None)]), listed(&[("a", None)]));
        assert_ne!(listed(&[("a", None)]), listed(&[("a", Some(7))]));
        assert_ne!(listed(&[("a", None), ("b", None)]), listed(&[("ab", None)]));
    }
}
