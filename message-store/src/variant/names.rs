//! The names in a type, found without a value of it: those of the variants of an enum, or of the fields of a struct.

use serde::de::value::Error as NameError;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// The names of the variants of `E`, which are its message types.
pub(crate) fn names<E: DeserializeOwned>() -> &'static [&'static str] {
    Names::of::<E>().variants
}

/// The names of the fields of a struct. None if `T` is no struct.
pub(crate) fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    Names::of::<T>().fields
}

/// A deserializer that records the names, and then always returns an error.
#[derive(Default)]
struct Names {
    variants: &'static [&'static str],
    fields: &'static [&'static str],
}

impl Names {
    fn of<T: DeserializeOwned>() -> Self {
        let mut names = Self::default();
        let _ = T::deserialize(&mut names);
        names
    }
}

impl<'de> Deserializer<'de> for &mut Names {
    type Error = NameError;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, NameError> {
        self.variants = variants;
        Err(de::Error::custom("heard"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, NameError> {
        self.fields = fields;
        Err(de::Error::custom("heard"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, NameError> {
        Err(de::Error::custom("neither an enum nor a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}
