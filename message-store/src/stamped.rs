//! The form of a stamp's sequence in metadata.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::{Category, GlobalPosition, Sequence, StoreId};

/// The sequence of the message for which the stamped message was written. [`Metadata::cause`](crate::Metadata::cause)
/// reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stamped {
    /// The cause was first written in the store of the stamped message, in the category that the causation names. This
    /// is the usual case. In JSON, a number.
    Here(GlobalPosition),
    /// The cause is a copy, so its origin is another one. In JSON, an object.
    Elsewhere(Sequence),
}

impl Stamped {
    /// The form for a message whose causation names the place `causation`. A cause that is a copy has another sequence
    /// than its place.
    pub(crate) fn new(sequence: &Sequence, causation: &Sequence) -> Self {
        if sequence == causation { Self::Here(sequence.global_position) } else { Self::Elsewhere(sequence.clone()) }
    }

    /// The complete sequence, for a message that was first written in the store `home`. `None` for a number that is not
    /// the position that the causation names: another program wrote it.
    pub(crate) fn resolve(self, home: StoreId, causation: Option<&(Category, GlobalPosition)>) -> Option<Sequence> {
        match (self, causation) {
            (Self::Here(number), Some((category, position))) if number == *position => {
                Some(Sequence::new(home, category.clone(), number))
            }
            (Self::Here(_), _) => None,
            (Self::Elsewhere(sequence), _) => Some(sequence),
        }
    }
}

impl From<Sequence> for Stamped {
    fn from(sequence: Sequence) -> Self {
        Self::Elsewhere(sequence)
    }
}

impl Serialize for Stamped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Here(position) => position.serialize(serializer),
            Self::Elsewhere(sequence) => sequence.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Stamped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Stamped;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a global position, or a sequence")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Stamped, E> {
                Ok(Stamped::Here(GlobalPosition::new(number)))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Stamped, E> {
                let number = i64::try_from(number).map_err(E::custom)?;
                Ok(Stamped::Here(GlobalPosition::new(number)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Stamped, A::Error> {
                Sequence::deserialize(MapAccessDeserializer::new(map)).map(Stamped::Elsewhere)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_number_if_the_causation_names_the_rest_and_an_object_otherwise() {
        let (here, there) = (StoreId::new(), StoreId::new());
        let category = |name| Category::new(name).unwrap();
        let sequence = Sequence::new(here, category("account:command"), GlobalPosition::new(7));
        for (home, cause, position, is_short) in [
            (here, "account:command", 7, true),
            (there, "account:command", 7, false),
            (here, "account", 7, false),
            (here, "account:command", 12, false),
        ] {
            let causation = (category(cause), GlobalPosition::new(position));
            let stamped = Stamped::new(&sequence, &Sequence::new(home, causation.0.clone(), causation.1));
            let text = serde_json::to_string(&stamped).unwrap();
            assert_eq!(text == "7", is_short, "{text}");
            let read: Stamped = serde_json::from_str(&text).unwrap();
            assert_eq!(read, stamped);
            assert_eq!(read.resolve(home, Some(&causation)), Some(sequence.clone()));
        }
        let number = Stamped::Here(GlobalPosition::new(7));
        assert_eq!(number.clone().resolve(here, None), None);
        assert_eq!(number.resolve(here, Some(&(category("account:command"), GlobalPosition::new(8)))), None);
    }

    #[test]
    fn json_of_another_type_is_refused() {
        for text in ["\"7\"", "7.5", "18446744073709551615", "[7]", "{}", "true"] {
            assert!(serde_json::from_str::<Stamped>(text).is_err(), "{text}");
        }
    }
}
