//! Keys of requests from outside the store. Two requests with one key are the same request.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::canonical::{canonical, plain_number};
use crate::{Category, Error, Json, MAX_STREAM_NAME_BYTES, Result, StreamName};

/// The greatest length of a key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// The text that identifies a request within a scope.
///
/// ```
/// use message_store::{Json, Key};
/// let body = Json::parse(r#"{"event": {"id": "evt_1"}, "amount": 7}"#)?;
/// assert_eq!(Key::from_field(&body, "/event/id")?, Key::new("evt_1")?);
/// assert_eq!(Key::from_content(&body)?, Key::from_content(&Json::parse(r#"{"amount":7.0,"event":{"id":"evt_1"}}"#)?)?);
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Makes a key from a text that the caller computes from the request.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty text or one with a NUL character, [`Error::TooLarge`] above 255 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if text.is_empty() {
            return Err(Error::invalid("key", "it is empty, so different requests would have the same key"));
        }
        if text.contains('\0') {
            return Err(Error::invalid("key", format!("{text:?} contains a NUL character")));
        }
        if text.len() > MAX_KEY_BYTES {
            return Err(Error::TooLarge { what: "a key".into(), actual: text.len(), limit: MAX_KEY_BYTES });
        }
        Ok(Self(text))
    }

    /// Makes a key from the value of a header. Upper and lower case of the header's name do not count.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such header, and as [`Key::new`].
    pub fn from_header<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, name: &str) -> Result<Self> {
        let value = headers.into_iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        Self::new(value.ok_or_else(|| Error::invalid("key", format!("there is no header {name}")))?)
    }

    /// Makes a key from a string or number in the data. A JSON pointer (`/event/id`) names the field. A number keeps
    /// every digit, and the way it is written (`7`, `7.0`) does not count.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such field, or it is neither a string nor a number, and as [`Key::new`].
    pub fn from_field(data: &Json, pointer: &str) -> Result<Self> {
        let value = at_pointer(data.text(), pointer).map_err(|error| Error::invalid("JSON", error.to_string()))?;
        match value.as_ref().and_then(|value| value.bytes().next()) {
            Some(b'"') => Self::new(Json::parse(value.unwrap_or_default())?.decode::<String>()?),
            Some(b'-' | b'0'..=b'9') => Self::new(plain_number(&value.unwrap_or_default())),
            Some(_) => Err(Error::invalid("key", format!("the field {pointer} is neither a string nor a number"))),
            None => Err(Error::invalid("key", format!("there is no field {pointer}"))),
        }
    }

    /// Makes a key from a hash of the data, for requests without an identity. The order of keys, white space and the
    /// writing of a number (`1`, `1.0`) do not count. Two requests with equal data are the same request: add a time to
    /// the data to distinguish them.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the JSON cannot be read.
    pub fn from_content(data: &Json) -> Result<Self> {
        Ok(Self(fingerprint(data)?))
    }

    /// The text, 1 to 255 bytes; from [`Key::from_content`], 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The stream of a category for this key. If the name would be too long, `%H` and a hash of the key replace the
    /// key.
    pub(crate) fn stream(&self, category: &Category) -> Result<StreamName> {
        let is_long = category.as_str().len() + self.0.len() + 1 > MAX_STREAM_NAME_BYTES;
        // A key that begins like a shortened one is shortened too, so that the two cannot be equal.
        if is_long || self.0.starts_with(SHORTENED) {
            return category.stream(shortened(&self.0));
        }
        category.stream(self)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of the value that a JSON pointer names. It is never converted to a number type, which would round it.
fn at_pointer(text: &str, pointer: &str) -> serde_json::Result<Option<String>> {
    let mut value: Box<RawValue> = serde_json::from_str(text)?;
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Ok(None);
    }
    for token in pointer.split('/').skip(1) {
        let name = token.replace("~1", "/").replace("~0", "~");
        let next = match value.get().bytes().next() {
            Some(b'{') => serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(value.get())?.remove(&name),
            Some(b'[') => {
                let elements: Vec<Box<RawValue>> = serde_json::from_str(value.get())?;
                let is_index = name == "0" || !name.starts_with(['0', '+']);
                name.parse().ok().filter(|_| is_index).and_then(|index: usize| elements.into_iter().nth(index))
            }
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(value.get().to_owned()))
}

/// The SHA-256 of the canonical form, in hexadecimal digits.
pub(crate) fn fingerprint(data: &Json) -> Result<String> {
    let text = canonical(data.text()).map_err(|error| Error::invalid("JSON", error.to_string()))?;
    Ok(hex_digest(&text))
}

/// The beginning of every shortened text.
const SHORTENED: &str = "%H";

/// The replacement, in a stream name, for a text that is too long.
pub(crate) fn shortened(text: &str) -> String {
    format!("{SHORTENED}{}", hex_digest(text))
}

/// The SHA-256 of a text, in hexadecimal digits.
fn hex_digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_missing_or_empty_or_too_long_is_an_error_and_never_an_empty_key() {
        let body = Json::parse(r#"{"id":"","list":[],"n":7}"#).unwrap();
        for (key, reason) in [
            (Key::new(""), "empty"),
            (Key::new("a\0"), "NUL"),
            (Key::new("x".repeat(256)), "255"),
            (Key::from_header([("Other", "1")], "Idempotency-Key"), "no header Idempotency-Key"),
            (Key::from_field(&body, "/id"), "empty"),
            (Key::from_field(&body, "/list"), "neither"),
            (Key::from_field(&body, "/none"), "no field /none"),
        ] {
            let error = key.unwrap_err().to_string();
            assert!(error.contains(reason), "{error} should contain {reason}");
        }
        assert_eq!(Key::from_header([("idempotency-key", "k")], "Idempotency-Key").unwrap().as_str(), "k");
        assert_eq!(Key::from_field(&body, "/n").unwrap().as_str(), "7");
    }

    #[test]
    fn a_key_keeps_every_digit_of_a_number() {
        let key = |text: &str| Key::from_field(&Json::parse(text).unwrap(), "/a/1/id").unwrap();
        assert_ne!(
            key(r#"{"a":[0,{"id":123456789012345678901617}]}"#),
            key(r#"{"a":[0,{"id":123456789012345678901618}]}"#)
        );
        assert_ne!(key(r#"{"a":[0,{"id":0.10000000000000000001}]}"#), key(r#"{"a":[0,{"id":0.1}]}"#));
        assert_eq!(key(r#"{"a":[0,{"id":7.0}]}"#), key(r#"{"a":[0,{"id":7}]}"#));
        let content = |text: &str| Key::from_content(&Json::parse(text).unwrap()).unwrap();
        assert_ne!(content(r#"{"id":123456789012345678901617}"#), content(r#"{"id":123456789012345678901618}"#));
    }

    #[test]
    fn a_key_names_a_stream_whatever_its_length() {
        let category = Category::new("guard:payments").unwrap();
        let name = |key: &str| Key::new(key).unwrap().stream(&category).unwrap();
        assert_eq!(name("pay-1").as_str(), "guard:payments-pay-1");
        let (long, other) = ("x".repeat(MAX_KEY_BYTES), format!("{}y", "x".repeat(MAX_KEY_BYTES - 1)));
        assert_ne!(name(&long), name(&other));
        assert_ne!(name(name(&long).id().unwrap()), name(&long));
    }

    #[test]
    fn keys_that_look_alike_are_different() {
        assert_ne!(Key::new("a").unwrap(), Key::new("а").unwrap(), "Latin and Cyrillic");
        assert_ne!(Key::new("a").unwrap(), Key::new("A").unwrap());
    }
}
