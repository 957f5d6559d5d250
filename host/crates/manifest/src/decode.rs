//! The decoding of a TOML tree into the raw types, past its errors.
//!
//! serde stops at the first error. To find them all, what caused the error is taken out of the tree
//! and the rest is decoded again, until nothing is wrong or there is enough to report. The
//! deserializer here differs from the `toml` crate's own in one thing: its error is not a text but
//! says what happened and at which keys, so that [`super::explain`] can say what would be right.

use std::fmt;
use std::ops::Range;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde_spanned::de::{SpannedDeserializer, is_spanned};
use toml::de::{DeArray, DeString, DeTable, DeValue};

type Spanned<T> = toml::Spanned<T>;

/// The most values of one file that are taken out.
const MAX_REMOVED: usize = 64;

/// The most that is decoded for one file, in bytes of its text: each value that is taken out costs
/// another look at all of it.
const MAX_DECODED_BYTES: usize = 4 * 1024 * 1024;

/// As many values may be taken out of a large file all the same.
const MIN_REMOVED: usize = 8;

/// Why nothing was decoded.
pub(crate) enum Undecoded {
    /// The whole of it is of no use.
    Useless,
    /// More is wrong than is looked for.
    Cut,
}

/// The decoded values, and the keys that had to be taken out.
pub(crate) struct Decoded<T> {
    pub(crate) value: T,
    /// The keys that lead to each value that was taken out.
    pub(crate) removed: Vec<Vec<Step>>,
    /// Whether nothing is written at all.
    pub(crate) is_empty: bool,
}

impl<T> Decoded<T> {
    /// Whether the value under these keys was taken out, so that it is not missing but wrong.
    pub(crate) fn is_removed(&self, keys: &[&str]) -> bool {
        let same = |steps: &Vec<Step>| {
            steps.len() == keys.len()
                && steps
                    .iter()
                    .zip(keys)
                    .all(|(step, key)| matches!(step, Step::Key(name) if name == key))
        };
        self.removed.iter().any(same)
    }
}

/// A key of a table or an index of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// One thing that serde does not take.
#[derive(Debug)]
pub(crate) struct DecodeError {
    pub(crate) kind: DecodeErrorKind,
    /// The keys that lead to it.
    pub(crate) path: Vec<Step>,
    pub(crate) span: Option<Range<usize>>,
}

#[derive(Debug)]
pub(crate) enum DecodeErrorKind {
    UnknownKey { known: &'static [&'static str] },
    WrongType { expected: String },
    UnknownWord { known: &'static [&'static str] },
    Missing { key: &'static str },
    Other(String),
}

/// Decodes a tree, calling `report` with each error and the value it is about before that is taken
/// out.
///
/// `bytes` is the length of its text, which says how many values that are wrong are looked for.
pub(crate) fn decode<T: DeserializeOwned>(
    root: &mut Spanned<DeValue<'_>>,
    bytes: usize,
    mut report: impl FnMut(&DecodeError, &Spanned<DeValue<'_>>),
) -> Result<Decoded<T>, Undecoded> {
    let most = (MAX_DECODED_BYTES / bytes.max(1)).clamp(MIN_REMOVED, MAX_REMOVED);
    let mut removed = Vec::new();
    let is_empty = root.get_ref().as_table().is_some_and(DeTable::is_empty);
    loop {
        let error = match T::deserialize(Decoder { value: root }) {
            Ok(value) => return Ok(Decoded { value, removed, is_empty }),
            Err(error) => error,
        };
        if removed.len() == most {
            return Err(Undecoded::Cut);
        }
        let Some((last, parents)) = error.path.split_last() else {
            report(&error, root);
            return Err(Undecoded::Useless);
        };
        let value = descend(root, parents).and_then(|parent| remove(parent, last));
        let value = value.ok_or(Undecoded::Useless)?;
        report(&error, &value);
        removed.push(error.path);
    }
}

fn descend<'a, 'i>(
    root: &'a mut Spanned<DeValue<'i>>,
    path: &[Step],
) -> Option<&'a mut DeValue<'i>> {
    path.iter().try_fold(root.get_mut(), |value, step| match (value, step) {
        (DeValue::Table(table), Step::Key(key)) => {
            table.get_mut(key.as_str()).map(Spanned::get_mut)
        }
        (DeValue::Array(array), Step::Index(index)) => array.get_mut(*index).map(Spanned::get_mut),
        _ => None,
    })
}

fn remove<'i>(parent: &mut DeValue<'i>, step: &Step) -> Option<Spanned<DeValue<'i>>> {
    match (parent, step) {
        (DeValue::Table(table), Step::Key(key)) => table.remove(key.as_str()),
        (DeValue::Array(array), Step::Index(index)) => {
            let mut items: Vec<_> = std::mem::replace(array, DeArray::new()).into_iter().collect();
            let item = (*index < items.len()).then(|| items.remove(*index));
            *array = items.into_iter().collect();
            item
        }
        _ => None,
    }
}

impl DecodeError {
    fn new(kind: DecodeErrorKind) -> DecodeError {
        DecodeError { kind, path: Vec::new(), span: None }
    }

    /// Adds what the caller of serde knows: the step that leads here, and where that is.
    fn under(mut self, step: Step, span: Range<usize>) -> DecodeError {
        self.path.insert(0, step);
        self.span.get_or_insert(span);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> DecodeError {
        DecodeError::new(DecodeErrorKind::Other(message.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> DecodeError {
        DecodeError::new(DecodeErrorKind::WrongType { expected: expected.to_string() })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> DecodeError {
        DecodeError::invalid_type(unexpected, expected)
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> DecodeError {
        DecodeError::new(DecodeErrorKind::UnknownKey { known })
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> DecodeError {
        DecodeError::new(DecodeErrorKind::UnknownWord { known })
    }

    fn missing_field(key: &'static str) -> DecodeError {
        DecodeError::new(DecodeErrorKind::Missing { key })
    }
}

/// The deserializer of one value.
#[derive(Clone, Copy)]
struct Decoder<'de, 'i> {
    value: &'de Spanned<DeValue<'i>>,
}

impl<'de> Deserializer<'de> for Decoder<'de, '_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(integer) => {
                match i128::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(integer) => visitor.visit_i128(integer),
                    // It has no more digits than fit: only its size is wrong.
                    Err(_) if integer.as_str().starts_with('-') => visitor.visit_i128(i128::MIN),
                    Err(_) => visitor.visit_i128(i128::MAX),
                }
            }
            DeValue::Float(float) => visitor.visit_f64(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(truth) => visitor.visit_bool(*truth),
            DeValue::Datetime(_) => {
                Err(de::Error::invalid_type(Unexpected::Other("a date"), &visitor))
            }
            DeValue::Array(array) => visitor.visit_seq(Items { items: array.iter().enumerate() }),
            DeValue::Table(table) => visitor.visit_map(Fields::new(table)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if is_spanned(name) {
            return visitor.visit_map(SpannedDeserializer::new(self, self.value.span()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.value.get_ref() {
            DeValue::String(word) => visitor.visit_enum(word.as_ref().into_deserializer()),
            _ => Err(DecodeError::new(DecodeErrorKind::UnknownWord { known })),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

impl<'de, 'i> IntoDeserializer<'de, DecodeError> for Decoder<'de, 'i> {
    type Deserializer = Decoder<'de, 'i>;

    fn into_deserializer(self) -> Decoder<'de, 'i> {
        self
    }
}

/// The items of an array.
struct Items<'de, 'i> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Spanned<DeValue<'i>>>>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        let under = |error: DecodeError| error.under(Step::Index(index), value.span());
        seed.deserialize(Decoder { value }).map(Some).map_err(under)
    }
}

type Field<'de, 'i> = (&'de Spanned<DeString<'i>>, &'de Spanned<DeValue<'i>>);

/// The fields of a table, in the order of the file.
struct Fields<'de, 'i> {
    fields: std::vec::IntoIter<Field<'de, 'i>>,
    value: Option<Field<'de, 'i>>,
}

impl<'de, 'i> Fields<'de, 'i> {
    fn new(table: &'de DeTable<'i>) -> Fields<'de, 'i> {
        let mut fields: Vec<_> = table.iter().collect();
        fields.sort_by_key(|(key, _)| key.span().start);
        Fields { fields: fields.into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some((key, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some((key, value));
        let under =
            |error: DecodeError| error.under(Step::Key(key.get_ref().to_string()), key.span());
        seed.deserialize(KeyDecoder { key }).map(Some).map_err(under)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let Some((key, value)) = self.value.take() else {
            return Err(de::Error::custom("a value was read before its key"));
        };
        let under =
            |error: DecodeError| error.under(Step::Key(key.get_ref().to_string()), value.span());
        seed.deserialize(Decoder { value }).map_err(under)
    }
}

/// The deserializer of a table's key.
struct KeyDecoder<'de, 'i> {
    key: &'de Spanned<DeString<'i>>,
}

impl<'de> Deserializer<'de> for KeyDecoder<'de, '_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_str(self.key.get_ref())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if is_spanned(name) {
            return visitor
                .visit_map(SpannedDeserializer::new(self.key.get_ref().as_ref(), self.key.span()));
        }
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
