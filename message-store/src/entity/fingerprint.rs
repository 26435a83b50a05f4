//! The fingerprint of a projection: a hash of all that the library can see of how a state follows from messages.
//!
//! What it cannot see is the code of `apply` and of the upcasters. The author's version stands for it.

use std::any::type_name;

use serde::Serialize;
use serde::de::value::Error as FieldsError;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use sha2::{Digest as _, Sha256};

use super::Projection;
use super::snapshot_content::FORMAT;
use crate::Upcaster;
use crate::variant::names;

/// # Errors
/// The state cannot be encoded.
pub(super) fn fingerprint<P>(version: u32) -> serde_json::Result<String>
where
    P: Projection + Serialize + DeserializeOwned,
{
    let default = serde_json::to_string(&P::default())?;
    let upcasters = P::UPCASTERS.iter().map(Upcaster::shape).collect::<Vec<_>>().join(";");
    let mut hash = Sha256::new();
    for part in [
        FORMAT,
        &version.to_string(),
        type_name::<P>(),
        P::CATEGORY,
        &names::<P::Event>().join(","),
        &upcasters,
        &fields::<P>().join(","),
        &default,
    ] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let half = hash.first_chunk().copied().unwrap_or_default();
    Ok(uuid::Uuid::from_bytes(half).simple().to_string())
}

/// The names of the fields of a struct.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // The deserializer records the names, and then always returns an error.
    let _ = T::deserialize(Fields(&mut fields));
    fields
}

struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = FieldsError;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, FieldsError> {
        *self.0 = fields;
        Err(de::Error::custom("heard"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, FieldsError> {
        Err(de::Error::custom("not a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
