//! Reads serde types from pairs of texts: the parameters of a route, the keys of a query.
//!
//! Every error knows the key it happened at.

use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// The fault, and its key.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) key: Option<String>,
    pub(crate) what: String,
}

impl Wrong {
    fn new(what: impl Display) -> Wrong {
        Wrong { key: None, what: what.to_string() }
    }

    /// The same at a key, unless it knows a more exact one.
    fn at(mut self, key: &str) -> Wrong {
        self.key.get_or_insert_with(|| key.into());
        self
    }
}

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: Display>(what: T) -> Wrong {
        Wrong::new(what)
    }

    fn missing_field(field: &'static str) -> Wrong {
        Wrong::new("is missing").at(field)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Wrong {
        Wrong::new(format_args!("is not known; known are {}", list(expected))).at(field)
    }

    fn duplicate_field(field: &'static str) -> Wrong {
        Wrong::new("is given more than once").at(field)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Wrong {
        Wrong::new(format_args!("expected one of {}, got `{variant}`", list(expected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Wrong {
        match unexpected {
            Unexpected::Str(text) => Wrong::new(format_args!("expected {expected}, got `{text}`")),
            other => Wrong::new(format_args!("expected {expected}, got {other}")),
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Wrong {
        Self::invalid_value(unexpected, expected)
    }
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Reads the parameters of a route, which have an order.
pub(crate) fn from_path<T: DeserializeOwned>(params: &[(String, String)]) -> Result<T, Wrong> {
    T::deserialize(Pairs { pairs: params, ordered: true })
}

/// Reads the keys of a query, which may occur several times.
pub(crate) fn from_query<T, S>(pairs: &[(S, S)]) -> Result<T, Wrong>
where
    T: DeserializeOwned,
    S: AsRef<str>,
{
    T::deserialize(Pairs { pairs, ordered: false })
}

struct Pairs<'a, S> {
    pairs: &'a [(S, S)],
    /// Whether a value or a tuple can be read, not just a map.
    ordered: bool,
}

impl<'a, S: AsRef<str>> Pairs<'a, S> {
    /// The value of the only pair.
    fn single(&self) -> Result<Value<'a, S>, Wrong> {
        match self.pairs {
            [(key, _)] if self.ordered => Ok(Value { key: key.as_ref(), pairs: self.pairs }),
            pairs if self.ordered => Err(Wrong::new(format_args!(
                "the route has {} parameters, and a single value was asked for",
                pairs.len()
            ))),
            _ => Err(Wrong::new("a struct or a map can be read from a query, nothing else")),
        }
    }
}

/// Reads single values through the only pair.
macro_rules! through_single {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let value = self.single()?;
            value.at(|value| value.$method(visitor))
        }
    )*};
}

impl<'de, S: AsRef<str>> de::Deserializer<'de> for Pairs<'_, S> {
    type Error = Wrong;

    through_single! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.pairs.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if !self.ordered {
            return self.single().and_then(|_| visitor.visit_unit());
        }
        visitor.visit_seq(InOrder(self.pairs))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        if self.ordered && self.pairs.len() != len {
            let has = self.pairs.len();
            return Err(Wrong::new(format_args!(
                "the route has {has} parameters, and a tuple of {len} was asked for"
            )));
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(ByName { pairs: self.pairs, next: 0 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.single()?.at(|value| value.deserialize_enum(name, variants, visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }
}

/// The values of all pairs, in order.
struct InOrder<'a, S>(&'a [(S, S)]);

impl<'de, S: AsRef<str>> SeqAccess<'de> for InOrder<'_, S> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some(((key, _), rest)) = self.0.split_first() else { return Ok(None) };
        let value = Value { key: key.as_ref(), pairs: &self.0[..1] };
        self.0 = rest;
        value.at(|value| seed.deserialize(value)).map(Some)
    }
}

/// Each key once, with all its values.
struct ByName<'a, S> {
    pairs: &'a [(S, S)],
    next: usize,
}

impl<'de, S: AsRef<str>> MapAccess<'de> for ByName<'_, S> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        while let Some((key, _)) = self.pairs.get(self.next) {
            self.next += 1;
            let key = key.as_ref();
            let seen =
                self.pairs[..self.next - 1].iter().any(|(earlier, _)| earlier.as_ref() == key);
            if !seen {
                return seed.deserialize(StrDeserializer::new(key)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let from = self.next - 1;
        let value = Value { key: self.pairs[from].0.as_ref(), pairs: &self.pairs[from..] };
        value.at(|value| seed.deserialize(value))
    }
}

/// The values of one key: those of `pairs` that have it, of which the first is one.
struct Value<'a, S> {
    key: &'a str,
    pairs: &'a [(S, S)],
}

impl<'a, S: AsRef<str>> Value<'a, S> {
    fn all(&self) -> impl Iterator<Item = &'a str> + use<'a, S> {
        let key = self.key;
        self.pairs
            .iter()
            .filter(move |(other, _)| other.as_ref() == key)
            .map(|(_, value)| value.as_ref())
    }

    fn one(&self) -> Result<&'a str, Wrong> {
        let mut all = self.all();
        match (all.next(), all.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(Wrong::new("is missing")),
            (Some(_), Some(_)) => Err(Wrong::new("is given more than once")),
        }
    }

    /// Does something with the value, and puts the key into the error.
    fn at<T>(self, read: impl FnOnce(Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        let key = self.key;
        read(self).map_err(|wrong| wrong.at(key))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let text = self.one()?;
            match text.parse::<$type>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(Wrong::new(format_args!(
                    "expected a whole number from {} to {}, got `{text}`", <$type>::MIN, <$type>::MAX
                ))),
            }
        }
    )*};
}

impl<'de, S: AsRef<str>> de::Deserializer<'de> for Value<'_, S> {
    type Error = Wrong;

    numbers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_str(self.one()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.one()? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            text => Err(Wrong::new(format_args!("expected `true` or `false`, got `{text}`"))),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let text = self.one()?;
        let number: f64 = text
            .parse()
            .map_err(|_| Wrong::new(format_args!("expected a number, got `{text}`")))?;
        visitor.visit_f64(number)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_seq(Repeated { key: self.key, values: self.all() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_enum(Variant(self.one()?))
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

/// Every occurrence of a key.
struct Repeated<'a, I> {
    key: &'a str,
    values: I,
}

impl<'a, 'de, I: Iterator<Item = &'a str>> SeqAccess<'de> for Repeated<'a, I> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some(value) = self.values.next() else { return Ok(None) };
        let pair = [(self.key, value)];
        seed.deserialize(Value { key: self.key, pairs: &pair }).map(Some)
    }
}

/// The name of a variant that holds nothing.
struct Variant<'a>(&'a str);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Wrong> {
        let name = seed.deserialize(IntoDeserializer::<Wrong>::into_deserializer(self.0))?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Wrong> {
        Err(Wrong::new(format_args!("`{}` needs a value, which a text cannot have", self.0)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Wrong> {
        Err(Wrong::new(format_args!("`{}` needs values, which a text cannot have", self.0)))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Wrong> {
        Err(Wrong::new(format_args!("`{}` needs values, which a text cannot have", self.0)))
    }
}
