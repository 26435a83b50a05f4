//! A serializer that accepts only enum variants. It returns the variant's name, and writes its fields as JSON.

use std::fmt;

use serde::ser::{self, Impossible, Serialize, SerializeStructVariant, SerializeTupleVariant, Serializer};
use serde_json::Error;

type Writer<'a> = serde_json::Serializer<&'a mut Vec<u8>>;

pub(super) struct Capture<'w, 'a>(pub(super) &'w mut Writer<'a>);

/// The serializer of a variant's fields.
pub(super) struct Fields<C> {
    name: &'static str,
    fields: C,
}

fn no_variant<T>(what: impl fmt::Display) -> Result<T, Error> {
    Err(ser::Error::custom(format_args!("it must be an enum variant, not {what}")))
}

macro_rules! refuse {
    ($($method:ident($($kind:ty),*) -> $result:ty, $what:literal;)*) => {
        $(fn $method(self, $(_: $kind),*) -> Result<$result, Error> { no_variant($what) })*
    };
}

impl<'w, 'a> Serializer for Capture<'w, 'a> {
    type Ok = &'static str;
    type Error = Error;
    type SerializeSeq = Impossible<&'static str, Error>;
    type SerializeTuple = Impossible<&'static str, Error>;
    type SerializeTupleStruct = Impossible<&'static str, Error>;
    type SerializeTupleVariant = Fields<<&'w mut Writer<'a> as Serializer>::SerializeTuple>;
    type SerializeMap = Impossible<&'static str, Error>;
    type SerializeStruct = Impossible<&'static str, Error>;
    type SerializeStructVariant = Fields<<&'w mut Writer<'a> as Serializer>::SerializeStruct>;

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<&'static str, Error> {
        self.0.serialize_unit()?;
        Ok(name)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<&'static str, Error> {
        value.serialize(self.0)?;
        Ok(name)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Ok(Fields { name, fields: self.0.serialize_tuple(len)? })
    }

    fn serialize_struct_variant(
        self,
        enumeration: &'static str,
        _: u32,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Ok(Fields { name, fields: self.0.serialize_struct(enumeration, len)? })
    }

    // A wrapper has the variant inside.
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<&'static str, Error> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<&'static str, Error> {
        value.serialize(self)
    }

    refuse! {
        serialize_bool(bool) -> &'static str, "a boolean";
        serialize_i8(i8) -> &'static str, "a number";
        serialize_i16(i16) -> &'static str, "a number";
        serialize_i32(i32) -> &'static str, "a number";
        serialize_i64(i64) -> &'static str, "a number";
        serialize_u8(u8) -> &'static str, "a number";
        serialize_u16(u16) -> &'static str, "a number";
        serialize_u32(u32) -> &'static str, "a number";
        serialize_u64(u64) -> &'static str, "a number";
        serialize_f32(f32) -> &'static str, "a number";
        serialize_f64(f64) -> &'static str, "a number";
        serialize_char(char) -> &'static str, "a text";
        serialize_str(&str) -> &'static str, "a text";
        serialize_bytes(&[u8]) -> &'static str, "bytes";
        serialize_none() -> &'static str, "nothing";
        serialize_unit() -> &'static str, "nothing";
        serialize_unit_struct(&'static str) -> &'static str, "a struct";
        serialize_seq(Option<usize>) -> Self::SerializeSeq, "a list";
        serialize_tuple(usize) -> Self::SerializeTuple, "a tuple";
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct, "a struct";
        serialize_map(Option<usize>) -> Self::SerializeMap, "a map";
        serialize_struct(&'static str, usize) -> Self::SerializeStruct, "a struct";
    }
}

impl<C: ser::SerializeTuple<Error = Error>> SerializeTupleVariant for Fields<C> {
    type Ok = &'static str;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.fields.serialize_element(value)
    }

    fn end(self) -> Result<&'static str, Error> {
        self.fields.end()?;
        Ok(self.name)
    }
}

impl<C: ser::SerializeStruct<Error = Error>> SerializeStructVariant for Fields<C> {
    type Ok = &'static str;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.fields.serialize_field(key, value)
    }

    fn skip_field(&mut self, key: &'static str) -> Result<(), Error> {
        self.fields.skip_field(key)
    }

    fn end(self) -> Result<&'static str, Error> {
        self.fields.end()?;
        Ok(self.name)
    }
}
