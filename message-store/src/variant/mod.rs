//! Enums as messages. The variant's name is the message type, and its fields are the data.
//!
//! The stored text is decoded into the variant without a value tree in between: this module acts as a deserializer that
//! already knows the variant. So an error names the field and the column, and an unknown type is distinguished from a
//! known type with wrong data.
//!
//! A message of an earlier form is upcast before it is decoded ([`Upcaster`]).

mod capture;
mod chain;
mod fields;
mod names;
mod upcaster;
mod upcasting;

use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, VariantAccess, Visitor};
use serde::{Serialize, forward_to_deserialize_any};

use crate::finite::assert_finite;
use crate::{Error, Json, Result};
use capture::Capture;
pub use chain::ChainFault;
pub(crate) use chain::{Reader, check};
pub use fields::Fields;
pub(crate) use names::{field_names, names};
pub use upcaster::{Split, TypeVersion, Upcaster};
pub(crate) use upcaster::{newest_version, stored_types};
pub(crate) use upcasting::{Decoded, Form, Unreadable, types_of_today};

/// The message type and the data of an enum's value.
pub(crate) fn encode<E: Serialize>(value: &E) -> Result<(String, Json)> {
    let (name, data) = encode_unchecked(value)?;
    Ok((name.to_owned(), Json::known_to_be_json(data)?))
}

/// As [`encode`], without the check that a store can store the data.
pub(crate) fn encode_unchecked<E: Serialize>(value: &E) -> Result<(&'static str, String)> {
    let mut data = Vec::with_capacity(128);
    let name = value
        .serialize(Capture(&mut serde_json::Serializer::new(&mut data)))
        .map_err(|error| Error::invalid("message", error.to_string()))?;
    let data = String::from_utf8(data).map_err(|error| Error::invalid("message", error.to_string()))?;
    assert_finite(value, &data)?;
    Ok((name, data))
}

/// The variant with the name `message_type`, and `data` as its fields. `None` if `E` has no such variant.
pub(crate) fn decode<E: DeserializeOwned>(message_type: &str, data: &Json) -> serde_json::Result<Option<E>> {
    let mut known = true;
    let variant = Variant { name: message_type, data: data.text(), known: &mut known };
    match E::deserialize(variant) {
        Ok(value) => Ok(Some(value)),
        Err(_) if !known => Ok(None),
        Err(error) => Err(error),
    }
}

struct Variant<'a> {
    name: &'a str,
    data: &'a str,
    known: &'a mut bool,
}

impl<'de> Deserializer<'de> for Variant<'de> {
    type Error = serde_json::Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if !variants.contains(&self.name) {
            *self.known = false;
            return Err(de::Error::unknown_variant(self.name, variants));
        }
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("the type that reads messages must be an enum with a variant for each message type"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = serde_json::Error;
    type Variant = Data<'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Data<'de>), Self::Error> {
        let name = StrDeserializer::<NameError>::new(self.name);
        let value = seed.deserialize(name).map_err(de::Error::custom)?;
        Ok((value, Data(self.data)))
    }
}

struct Data<'a>(&'a str);

impl<'de> VariantAccess<'de> for Data<'de> {
    type Error = serde_json::Error;

    fn unit_variant(self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Self::Error> {
        seed.deserialize(&mut serde_json::Deserializer::from_str(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Self::Error> {
        serde_json::Deserializer::from_str(self.0).deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        serde_json::Deserializer::from_str(self.0).deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    enum Event {
        Opened { owner: String },
        Moved(Box<RawValueText>),
        Pair(u8, u8),
        Closed,
    }

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct RawValueText {
        to: String,
    }

    #[test]
    fn every_shape_of_variant_survives_the_round_trip() {
        for (event, message_type, data) in [
            (Event::Opened { owner: "Ann".into() }, "Opened", r#"{"owner":"Ann"}"#),
            (Event::Moved(Box::new(RawValueText { to: "Rome".into() })), "Moved", r#"{"to":"Rome"}"#),
            (Event::Pair(1, 2), "Pair", "[1,2]"),
            (Event::Closed, "Closed", "null"),
        ] {
            let (name, json) = encode(&event).unwrap();
            assert_eq!((name.as_str(), json.text()), (message_type, data));
            assert_eq!(decode::<Event>(&name, &json).unwrap(), Some(event));
        }
    }

    #[test]
    fn an_unknown_type_is_none_and_bad_data_of_a_known_type_is_an_error_naming_the_field() {
        let data = Json::parse(r#"{"owner":7}"#).unwrap();
        assert_eq!(decode::<Event>("Renamed", &data).unwrap(), None);
        assert!(decode::<Event>("Opened", &data).unwrap_err().to_string().contains("invalid type"));
        let missing = decode::<Event>("Opened", &Json::parse("{}").unwrap()).unwrap_err();
        assert!(missing.to_string().contains("owner"), "{missing}");
    }

    #[test]
    fn the_message_types_of_an_enum_are_known_without_a_value() {
        assert_eq!(names::<Event>(), ["Opened", "Moved", "Pair", "Closed"]);
    }

    #[test]
    fn a_value_that_is_no_variant_is_refused() {
        let error = encode(&BTreeMap::from([("a", 1)])).unwrap_err().to_string();
        assert!(error.contains("enum variant"), "{error}");
        assert!(encode(&7).is_err());
        assert!(encode(&RawValueText { to: "Rome".into() }).is_err());
        assert_eq!(encode(&Some(Event::Closed)).unwrap().0, "Closed");
    }
}
