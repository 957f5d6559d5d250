//! The reads and writes of objects in a transaction.

use std::collections::BTreeMap;

use lacewing_base::Bucket;

use super::{Transaction, text};
use crate::{
    RangeRead,
    kv::{Condition, Entry, KeyRange, KvError, ListDigest, MAX_KEYS, Version, check_key, is_live},
    object::{
        Attributes, ByteRange, EntryBody, FileId, MAX_ATTRIBUTE_BYTES, MAX_OBJECT_KEY_BYTES,
        Object, ObjectReader, Segment, StagedBody,
    },
};

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// The object.
    pub object: Object,
    /// The commit that wrote it.
    pub version: Version,
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectPage {
    /// Objects, in the order of the bytes of their keys.
    pub objects: Vec<ListedObject>,
    /// The beginnings of further keys, up to the delimiter behind the listed prefix.
    pub prefixes: Vec<String>,
    /// The key or beginning after which the listing goes on; `None` at its end.
    pub next: Option<String>,
}

/// Entries that a listing reads at once where keys with the same beginning are listed as one.
const STEP: usize = 64;

impl Transaction {
    /// An object, without its body.
    ///
    /// # Errors
    /// A key that is none, and errors of the store.
    pub fn object(
        &mut self,
        bucket: &Bucket,
        key: &str,
    ) -> Result<Option<(Object, Version)>, KvError> {
        check_key(key, MAX_OBJECT_KEY_BYTES)?;
        let Some(entry) = self.entry(&bucket.entries, key)? else { return Ok(None) };
        Ok(Some((parse(&entry)?, entry.version)))
    }

    /// A reader of a part of the body of an object, as [`Transaction::object`] gave it. The reader
    /// has nothing where the range has no byte of the body.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn read_object(
        &mut self,
        bucket: &Bucket,
        key: &str,
        object: &Object,
        range: ByteRange,
    ) -> Result<ObjectReader, KvError> {
        let (first, bytes) = range.of(object.bytes).unwrap_or((0, 0));
        let state = self.state.clone();
        if !object.segments.is_empty() {
            return Ok(ObjectReader::of_files(state, &object.segments, first, bytes)?);
        }
        let body = self.inline_body(bucket, key)?;
        let skip = usize::try_from(first).unwrap_or(usize::MAX);
        let take = usize::try_from(bytes).unwrap_or(usize::MAX);
        let part: Vec<u8> = body.into_iter().skip(skip).take(take).collect();
        Ok(ObjectReader::inline(state, part.into()))
    }

    fn inline_body(&mut self, bucket: &Bucket, key: &str) -> Result<Vec<u8>, KvError> {
        let effects = self.effects.get(&bucket.entries.id);
        if let Some(effect) = effects.and_then(|effects| effects.get(key)) {
            return Ok(effect.body.inline.as_deref().unwrap_or_default().to_vec());
        }
        Ok(self.snapshot()?.body(&bucket.entries.id, key)?.unwrap_or_default())
    }

    /// Sets an object, if the condition holds. Returns the object, or `None` if the condition does
    /// not hold.
    ///
    /// # Errors
    /// A key or attributes that are none, limits on effects, and errors of the store.
    pub fn put_object(
        &mut self,
        bucket: &Bucket,
        key: &str,
        staged: StagedBody,
        attributes: Attributes,
        condition: Condition,
    ) -> Result<Option<Object>, KvError> {
        let etag = staged.etag();
        let StagedBody { segments, body, .. } = staged;
        let object = Object { bytes: body.bytes, etag, modified_ms: 0, attributes, segments };
        self.put_described(bucket, key, object, body, condition)
    }

    /// Sets an object whose body is that of others, one after the other. The bodies must be in
    /// files or in this transaction's reach. Returns `None` if one of the others is not there, or
    /// has another version.
    ///
    /// # Errors
    /// As [`Transaction::put_object`].
    pub fn join_objects(
        &mut self,
        parts: &[(&Bucket, &str)],
        (bucket, key): (&Bucket, &str),
        etag: String,
        attributes: Attributes,
    ) -> Result<Option<Object>, KvError> {
        let mut joined = EntryBody::default();
        let mut segments = Vec::new();
        for (from, part) in parts {
            let Some((object, _)) = self.object(from, part)? else { return Ok(None) };
            if object.segments.is_empty() && object.bytes > 0 {
                return Err(KvError::NotAnObject);
            }
            joined.bytes += object.bytes;
            segments.extend(object.segments);
        }
        joined.files = files_of(&segments);
        if joined.bytes > bucket.max_object_bytes {
            return Err(KvError::ObjectSize { limit_bytes: bucket.max_object_bytes });
        }
        let object = Object { bytes: joined.bytes, etag, modified_ms: 0, attributes, segments };
        self.put_described(bucket, key, object, joined, Condition::Any)
    }

    /// Sets an object with the body of another one, and with its attributes unless there are new
    /// ones. Returns the object, or `None` if there is no other.
    ///
    /// # Errors
    /// As [`Transaction::put_object`].
    pub fn copy_object(
        &mut self,
        from: (&Bucket, &str),
        to: (&Bucket, &str),
        attributes: Option<Attributes>,
    ) -> Result<Option<Object>, KvError> {
        let Some((source, _)) = self.object(from.0, from.1)? else { return Ok(None) };
        if source.bytes > to.0.max_object_bytes {
            return Err(KvError::ObjectSize { limit_bytes: to.0.max_object_bytes });
        }
        let body = self.shared_body(from.0, from.1, &source)?;
        let attributes = attributes.unwrap_or_else(|| source.attributes.clone());
        let object = Object { attributes, ..source };
        self.put_described(to.0, to.1, object, body, Condition::Any)
    }

    /// The body of an object, for another entry.
    fn shared_body(
        &mut self,
        bucket: &Bucket,
        key: &str,
        object: &Object,
    ) -> Result<EntryBody, KvError> {
        let files = files_of(&object.segments);
        let inline = match files.is_empty() {
            true => Some(self.inline_body(bucket, key)?.into()),
            false => None,
        };
        // A file that this transaction wrote is on its way to both entries.
        let effects = self.effects.get(&bucket.entries.id);
        let own = effects.and_then(|effects| effects.get(key));
        let staged = own.map(|effect| effect.body.staged.clone()).unwrap_or_default();
        Ok(EntryBody { bytes: object.bytes, inline, files, staged })
    }

    /// Gives an object other attributes. Its time stays. Returns the object, if there is one.
    ///
    /// # Errors
    /// As [`Transaction::put_object`].
    pub fn set_attributes(
        &mut self,
        bucket: &Bucket,
        key: &str,
        attributes: Attributes,
    ) -> Result<Option<Object>, KvError> {
        let Some((object, _)) = self.object(bucket, key)? else { return Ok(None) };
        let modified_ms = object.modified_ms;
        let body = self.shared_body(bucket, key, &object)?;
        let object = Object { attributes, ..object };
        self.put_at(bucket, key, Object { modified_ms, ..object }, body).map(Some)
    }

    fn put_described(
        &mut self,
        bucket: &Bucket,
        key: &str,
        object: Object,
        body: EntryBody,
        condition: Condition,
    ) -> Result<Option<Object>, KvError> {
        check_key(key, MAX_OBJECT_KEY_BYTES)?;
        if condition != Condition::Any {
            let found = self.entry(&bucket.entries, key)?.map(|entry| entry.version);
            if !condition.holds(found) {
                return Ok(None);
            }
        }
        let object = Object { modified_ms: self.snapshot()?.taken_ms(), ..object };
        self.put_at(bucket, key, object, body).map(Some)
    }

    fn put_at(
        &mut self,
        bucket: &Bucket,
        key: &str,
        object: Object,
        body: EntryBody,
    ) -> Result<Object, KvError> {
        let bytes = object.attributes.bytes();
        if bytes > MAX_ATTRIBUTE_BYTES {
            return Err(KvError::AttributeSize { bytes, limit_bytes: MAX_ATTRIBUTE_BYTES });
        }
        let value = serde_json::to_vec(&object).map_err(|_| KvError::NotAnObject)?;
        self.write(&bucket.entries, key, Some(value), None, body)?;
        Ok(object)
    }

    /// Deletes an object, if the condition holds. Returns whether there was one that is deleted.
    ///
    /// # Errors
    /// A key that is none, limits on effects, and errors of the store.
    pub fn delete_object(
        &mut self,
        bucket: &Bucket,
        key: &str,
        condition: Condition,
    ) -> Result<bool, KvError> {
        check_key(key, MAX_OBJECT_KEY_BYTES)?;
        let found = self.entry(&bucket.entries, key)?.map(|entry| entry.version);
        if found.is_none() || !condition.holds(found) {
            return Ok(false);
        }
        self.write(&bucket.entries, key, None, None, EntryBody::default())?;
        Ok(true)
    }

    /// Lists objects whose keys begin with `prefix` and come after `after`: a key, or a beginning
    /// of keys that an earlier part has listed. With a delimiter, keys that are the same up to it,
    /// behind the prefix, are listed as one beginning. A part has at most `limit` objects and
    /// beginnings, and at most [`MAX_KEYS`].
    ///
    /// # Errors
    /// Limits on reads, and errors of the store.
    pub fn list_objects(
        &mut self,
        bucket: &Bucket,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, KvError> {
        for text in [Some(prefix), after].into_iter().flatten() {
            check_key(text, MAX_OBJECT_KEY_BYTES)
                .or_else(|error| if text.is_empty() { Ok(()) } else { Err(error) })?;
        }
        let limit = limit.clamp(1, MAX_KEYS);
        let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
        let mut page = ObjectPage::default();
        let mut last = None;
        let mut range = match (after, delimiter) {
            (Some(after), Some(delimiter)) if after.ends_with(delimiter) => {
                KeyRange::new(prefix, Some(after)).behind_prefix(after)
            }
            _ => KeyRange::new(prefix, after),
        };
        while !range.is_empty() {
            let step = if delimiter.is_some() { STEP } else { limit + 1 };
            let (entries, rest) = self.entries(bucket, &range, step)?;
            range = rest;
            for (key, entry) in entries {
                let beginning = beginning_of(&key, prefix, delimiter);
                if beginning.is_some() && beginning == page.prefixes.last().map(String::as_str) {
                    continue;
                }
                if page.objects.len() + page.prefixes.len() == limit {
                    page.next = last;
                    return Ok(page);
                }
                match beginning {
                    Some(beginning) => {
                        range = range.behind_prefix(beginning);
                        last = Some(beginning.to_owned());
                        page.prefixes.push(beginning.to_owned());
                    }
                    None => {
                        last = Some(key.clone());
                        let (object, version) = (parse(&entry)?, entry.version);
                        page.objects.push(ListedObject { key, object, version });
                    }
                }
            }
        }
        Ok(page)
    }

    /// Up to `limit` entries of a range, with those that this transaction writes, and the rest of
    /// the range.
    fn entries(
        &mut self,
        bucket: &Bucket,
        range: &KeyRange,
        limit: usize,
    ) -> Result<(BTreeMap<String, Entry>, KeyRange), KvError> {
        let store = &bucket.entries;
        let found = self.snapshot()?.scan(&store.id, range, limit)?;
        let last = found.last().filter(|_| found.len() == limit).map(|(key, _)| key);
        let seen = last.map_or_else(|| range.clone(), |last| range.up_to(last));
        let end = KeyRange { from: range.to.clone(), to: range.to.clone() };
        let rest = last.map_or(end, |last| range.behind(last));
        let (rows, digest) = (
            found.len(),
            ListDigest::of_keys(found.iter().map(|(key, entry)| (&**key, entry.expires_ms))),
        );
        let read = RangeRead { store: store.id.clone(), range: seen.clone(), rows, digest };
        if !self.ranges.contains(&read) && self.note_rows(2 * rows + 1)? {
            self.ranges.push(read);
            let keys = self.reads.entry(store.id.clone()).or_default();
            for (key, entry) in &found {
                keys.entry(text(key)).or_insert(entry.version);
            }
        }
        let now = self.snapshot()?.taken_ms();
        let live = found.into_iter().filter(|(_, entry)| is_live(entry.expires_ms, now));
        let mut entries: BTreeMap<String, Entry> =
            live.map(|(key, entry)| (text(&key), entry)).collect();
        for (key, effect) in self.effects_in(store, &seen) {
            let (version, expires_ms) = (effect.version, effect.expires_ms);
            match &effect.value {
                Some(value) => {
                    let value = value.clone();
                    entries.insert(key.clone(), Entry { value, version, expires_ms });
                }
                None => drop(entries.remove(key)),
            }
        }
        Ok((entries, rest))
    }
}

/// The files of some segments, each once.
fn files_of(segments: &[Segment]) -> Vec<FileId> {
    let mut files: Vec<FileId> = segments.iter().map(|segment| segment.file).collect();
    files.sort_unstable();
    files.dedup();
    files
}

/// The beginning of a key up to the delimiter behind a prefix.
fn beginning_of<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter?;
    let at = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

fn parse(entry: &Entry) -> Result<Object, KvError> {
    serde_json::from_slice(&entry.value).map_err(|_| KvError::NotAnObject)
}
