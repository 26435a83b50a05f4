//! Numbers without a JSON form: infinities and NaN.
//!
//! `serde_json` writes `null` for a number that is not finite, and no reader can decode that as the number. So a value
//! whose text contains `null` is examined before it is accepted. This serializer writes nothing, and fails at a number
//! that is not finite.

use std::fmt;

use serde::Serialize;
use serde::ser::{self, Serializer};

use crate::{Error, Result};

/// Refuses a value that contains a number that is not finite. `text` is the JSON of the value.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn assert_finite<T: Serialize + ?Sized>(value: &T, text: &str) -> Result<()> {
    if !text.contains("null") {
        return Ok(());
    }
    match value.serialize(AssertFinite) {
        Err(NotFinite::Number(number)) => {
            Err(Error::invalid("JSON", format!("the number {number} is not finite, and JSON has no form for it")))
        }
        Ok(()) | Err(NotFinite::Other) => Ok(()),
    }
}

/// The reason why the serializer stopped.
#[derive(Debug)]
enum NotFinite {
    Number(f64),
    /// The value's own code failed. The serializer that wrote `text` has reported that already.
    Other,
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not finite")
    }
}

impl std::error::Error for NotFinite {}

impl ser::Error for NotFinite {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }
}

#[derive(Clone, Copy)]
struct AssertFinite;

macro_rules! pass {
    ($($method:ident($($kind:ty),*);)*) => { $(fn $method(self, $(_: $kind),*) -> Result<(), NotFinite> { Ok(()) })* };
}

macro_rules! open {
    ($($method:ident($($kind:ty),*);)*) => { $(fn $method(self, $(_: $kind),*) -> Result<Self, NotFinite> { Ok(self) })* };
}

impl Serializer for AssertFinite {
    type Ok = ();
    type Error = NotFinite;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn serialize_f32(self, number: f32) -> Result<(), NotFinite> {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<(), NotFinite> {
        if number.is_finite() { Ok(()) } else { Err(NotFinite::Number(number)) }
    }

    pass! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    open! {
        serialize_seq(Option<usize>);
        serialize_tuple(usize);
        serialize_tuple_struct(&'static str, usize);
        serialize_tuple_variant(&'static str, u32, &'static str, usize);
        serialize_map(Option<usize>);
        serialize_struct(&'static str, usize);
        serialize_struct_variant(&'static str, u32, &'static str, usize);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotFinite> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), NotFinite> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotFinite> {
        value.serialize(self)
    }
}

macro_rules! visit_parts {
    ($($part:ident: $method:ident($($key:ty)?);)*) => {
        $(impl ser::$part for AssertFinite {
            type Ok = ();
            type Error = NotFinite;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $key,)? value: &T) -> Result<(), NotFinite> {
                value.serialize(*self)
            }

            fn end(self) -> Result<(), NotFinite> {
                Ok(())
            }
        })*
    };
}

visit_parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}

impl ser::SerializeMap for AssertFinite {
    type Ok = ();
    type Error = NotFinite;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), NotFinite> {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotFinite> {
        value.serialize(*self)
    }

    fn end(self) -> Result<(), NotFinite> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Json, NewMessage};

    #[derive(Serialize)]
    enum Event {
        Measured { at: Option<u8>, values: Vec<(f32, Option<f64>)>, by_name: BTreeMap<&'static str, f64> },
        Single(f64),
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused_wherever_it_stands() {
        let measured = |single, option, named| Event::Measured {
            at: None,
            values: vec![(single, option)],
            by_name: BTreeMap::from([("x", named)]),
        };
        assert!(NewMessage::from_variant(&measured(1.5, None, 2.0)).is_ok());
        assert!(NewMessage::from_variant(&Event::Single(-0.0)).is_ok());
        for event in [
            measured(f32::NAN, None, 0.0),
            measured(0.0, Some(f64::INFINITY), 0.0),
            measured(0.0, None, f64::NEG_INFINITY),
            Event::Single(f64::NAN),
        ] {
            let error = NewMessage::from_variant(&event).unwrap_err().to_string();
            assert!(error.contains("is not finite"), "{error}");
        }
        assert!(Json::encode(&[f64::NAN]).is_err());
        assert!(Json::encode(&[Some(1.0), None]).is_ok());
    }
}
