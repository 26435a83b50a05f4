//! The fields of a message's data, for upcasters.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{Error, Json, Result};

/// The fields of an object. A value that is not changed keeps its text, so an amount of money keeps all of its digits.
///
/// ```
/// use message_store::{Fields, Json};
/// let mut fields = Fields::of(&Json::parse(r#"{"amount": 12345678901234567890.10, "note": "x"}"#)?)?;
/// fields.rename("note", "reason")?;
/// fields.add("currency", "CZK")?;
/// assert_eq!(fields.to_json().text(), r#"{"amount":12345678901234567890.10,"currency":"CZK","reason":"x"}"#);
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// The fields of an object. No data has no fields.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the data is not an object.
    pub fn of(data: &Json) -> Result<Self> {
        let Some(text) = data.as_str() else { return Ok(Self::default()) };
        let fields = serde_json::from_str(text).map_err(|error| {
            Error::invalid("data of an upcaster", format!("it is not an object, so it has no fields: {error}"))
        })?;
        Ok(Self(fields))
    }

    /// The data with these fields.
    pub fn to_json(&self) -> Json {
        let names = self.0.keys().map(|name| serde_json::Value::from(name.as_str()));
        let fields: Vec<String> =
            names.zip(self.0.values()).map(|(name, value)| format!("{name}:{}", value.get())).collect();
        // Every part was JSON before.
        Json::from_database(Some(format!("{{{}}}", fields.join(","))))
    }

    /// Decodes a field. `None` if there is none, or it is `null`. As a [`Json`], it is the exact text.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the field has another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|error| Error::invalid(format!("field {name}"), error.to_string()))
    }

    /// Whether there is a field with this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds a field, if there is none with this name.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the value has no JSON form that can be stored.
    pub fn add<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<()> {
        if self.contains(name) { Ok(()) } else { self.set(name, value) }
    }

    /// Adds a field, or replaces its value.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<()> {
        let text = Json::encode(value)?.text().to_owned();
        let value =
            RawValue::from_string(text).map_err(|error| Error::invalid(format!("field {name}"), error.to_string()))?;
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// Removes a field. Returns whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Gives a field another name. If there is no field with the earlier name, nothing changes.
    ///
    /// # Errors
    /// [`Error::Invalid`] when both names have a field.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let Some(value) = self.0.remove(from) else { return Ok(()) };
        if self.contains(to) {
            return Err(Error::invalid("data of an upcaster", format!("it has both {from} and {to}")));
        }
        self.0.insert(to.to_owned(), value);
        Ok(())
    }

    /// The fields of a field that is an object: change them, and [`set`](Self::set) the field to them.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not an object.
    pub fn object(&self, name: &str) -> Result<Self> {
        Self::of(&self.get(name)?.unwrap_or_default())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_one_field_keeps_the_text_of_the_others() {
        let text = r#"{"amount":0.1000,"big":123456789012345678901234567890,"nested":{"a":[1.50,null]},"none":null}"#;
        let mut fields = Fields::of(&Json::parse(text).unwrap()).unwrap();
        fields.add("amount", &7).unwrap();
        fields.rename("missing", "other").unwrap();
        assert!(!fields.remove("missing"));
        assert_eq!(fields.to_json().text(), text);
        let mut nested = fields.object("nested").unwrap();
        nested.set("b", "x").unwrap();
        fields.set("nested", &nested).unwrap();
        assert!(fields.to_json().text().contains(r#""nested":{"a":[1.50,null],"b":"x"}"#), "{fields:?}");
        assert_eq!(fields.get::<Json>("big").unwrap().unwrap().text(), "123456789012345678901234567890");
        assert_eq!(fields.get::<u8>("none").unwrap(), None);
    }

    #[test]
    fn what_is_ambiguous_or_no_object_is_refused() {
        let mut both = Fields::of(&Json::parse(r#"{"a":1,"b":2}"#).unwrap()).unwrap();
        assert!(both.rename("a", "b").is_err());
        for text in ["[1]", "7", "\"text\""] {
            assert!(Fields::of(&Json::parse(text).unwrap()).is_err(), "{text}");
        }
        assert_eq!(Fields::of(&Json::NULL).unwrap().to_json().text(), "{}");
    }
}
