//! JSON texts. Data and metadata remain text until a caller decodes them.

mod check;
mod stored_size;

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::canonical::{self, canonical};
use crate::finite::assert_finite;
use crate::{Error, Result};
use check::check;
use stored_size::stored_size;

/// How deeply arrays and objects may be nested. A deeper text could be stored but not decoded again.
pub const MAX_JSON_DEPTH: usize = 127;

/// A JSON text, or nothing. Nothing is `NULL` in SQL, and JSON's `null` becomes nothing.
///
/// ```
/// use message_store::Json;
/// let data = Json::parse(r#"{"amount": 7.50}"#)?;
/// assert!(data.same_as(&Json::parse(r#"{ "amount" : 7.5 }"#)?));
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Json(Option<Box<str>>);

impl Json {
    /// Nothing: `NULL` in SQL.
    pub const NULL: Self = Self(None);

    /// Checks that a text is JSON, and takes it as it is. If an object has equal keys, only the last of them is kept,
    /// on every store.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the text is not JSON, or contains a character or a number that PostgreSQL cannot store.
    /// [`Error::TooLarge`] above [`MAX_JSON_DEPTH`].
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let raw: &RawValue = serde_json::from_str(&text).map_err(|error| Error::invalid("JSON", error.to_string()))?;
        // Reuses the caller's text unless it has white space around the JSON.
        let is_whole = raw.get().len() == text.len();
        Self::known_to_be_json(if is_whole { text } else { raw.get().to_owned() })
    }

    /// Encodes a value.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the value has no JSON form, or one that cannot be stored.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let text = text_of(value)?;
        assert_finite(value, &text)?;
        Self::known_to_be_json(text)
    }

    /// As [`Json::encode`], without the checks, for a struct. Every part of the value was read from a store, so it can
    /// be stored again.
    pub(crate) fn encode_stored<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        Ok(Self(Some(text_of(value)?.into())))
    }

    pub(crate) fn from_raw(raw: Box<RawValue>) -> Result<Self> {
        Self::known_to_be_json(String::from(Box::<str>::from(raw)))
    }

    /// Takes a text that the caller knows to be JSON, and checks only whether it can be stored.
    pub(crate) fn known_to_be_json(text: String) -> Result<Self> {
        if check(&text)?.has_equal_keys {
            return last_of_equal_keys(&text);
        }
        Ok(Self::trusted(text.into()))
    }

    /// For backends: takes a text that a database returned. It was checked when it was written, so it is not parsed
    /// here.
    pub fn from_database(text: Option<String>) -> Self {
        text.map_or(Self::NULL, |text| Self::trusted(text.into()))
    }

    fn trusted(text: Box<str>) -> Self {
        if &*text == "null" { Self(None) } else { Self(Some(text)) }
    }

    /// `None` if there is no JSON.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text, or `null` if there is no JSON.
    pub fn text(&self) -> &str {
        self.0.as_deref().unwrap_or("null")
    }

    /// The number of bytes, 0 if there is no JSON.
    pub fn len(&self) -> usize {
        self.0.as_deref().map_or(0, str::len)
    }

    /// The number of bytes of the text as PostgreSQL returns it, the same on every store. 0 if there is no JSON.
    pub(crate) fn stored_size(&self) -> usize {
        self.0.as_deref().map_or(0, stored_size)
    }

    /// An upper bound of [`Json::stored_size`]. It is quick to compute: the stored form of a text is at most twice as
    /// long, unless the text contains a number with an exponent (a digit, then `e`, then a digit or a sign; strings are
    /// looked at too).
    pub(crate) fn stored_size_at_most(&self) -> usize {
        let Some(text) = self.0.as_deref() else { return 0 };
        let is_exponent = |three: &[u8]| {
            let [before, b'e' | b'E', after] = three else { return false };
            before.is_ascii_digit() && matches!(after, b'+' | b'-' | b'0'..=b'9')
        };
        if text.as_bytes().windows(3).any(is_exponent) { stored_size(text) } else { 2 * text.len() }
    }

    /// Whether there is no JSON. An empty object or list is not empty in this sense.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Decodes the text.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the decoder's text.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.text()).map_err(|error| Error::invalid("JSON", error.to_string()))
    }

    /// Whether two texts have the same value. The order of keys, white space, escapes and the writing of a number (`1`,
    /// `1.0`, `1e0`) do not count. PostgreSQL's `jsonb` compares in the same way.
    pub fn same_as(&self, other: &Self) -> bool {
        self.text() == other.text()
            || matches!((canonical(self.text()), canonical(other.text())), (Ok(ours), Ok(theirs)) if ours == theirs)
    }
}

fn text_of<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::invalid("JSON", error.to_string()))
}

fn last_of_equal_keys(text: &str) -> Result<Json> {
    let text = canonical::last_of_equal_keys(text).map_err(|error| Error::invalid("JSON", error.to_string()))?;
    Ok(Json::trusted(text.into()))
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl PartialEq for Json {
    /// As [`Json::same_as`].
    fn eq(&self, other: &Self) -> bool {
        self.same_as(other)
    }
}

impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.text()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_raw(raw).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_no_store_can_store_is_refused() {
        for (text, reason) in [
            (r#"{"a":"\u0000"}"#, "NUL"),
            (r#""\ud800""#, "surrogate"),
            (r#""\udc00x""#, "surrogate"),
            (r#""\ud800\u0041""#, "surrogate"),
            (&*"[".repeat(200_000), "JSON"),
            (&*format!("{}{}", "[".repeat(128), "]".repeat(128)), "depth"),
            ("{", "EOF"),
            (r#"{"a":1e200000}"#, "digits"),
            ("[1e-20000]", "digits"),
            ("1e99999999999999999999", "digits"),
        ] {
            let error = Json::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error} should name {reason}");
        }
    }

    #[test]
    fn a_text_that_only_resembles_a_refused_one_is_accepted() {
        for text in [
            r#""\\u0000""#,
            r#""[[[""#,
            r#""\ud83d\ude00""#,
            r#""é\u00e9\"{""#,
            "1e131071",
            "-0.5E-300",
            "[1,-2.5,3e2]",
        ] {
            assert_eq!(Json::parse(text).unwrap().as_str(), Some(text));
        }
        let deepest = format!("{}{}", "[".repeat(MAX_JSON_DEPTH), "]".repeat(MAX_JSON_DEPTH));
        assert!(Json::parse(deepest).unwrap().decode::<serde_json::Value>().is_ok());
    }

    #[test]
    fn the_last_of_equal_keys_is_kept_also_with_escapes() {
        for (text, kept) in [
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
            (r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#),
            (r#"[{"x":{"k":"a","k":"k"}}]"#, r#"[{"x":{"k":"k"}}]"#),
        ] {
            assert_eq!(Json::parse(text).unwrap().as_str(), Some(kept));
        }
        for text in [r#"{"a":"a","b":{"a":["a","a"]}}"#, r#"[{"a":1},{"a":1}]"#, r#"{"a":{"b":1},"b":{"b":1}}"#] {
            assert_eq!(Json::parse(text).unwrap().as_str(), Some(text));
        }
    }

    #[test]
    fn null_is_nothing() {
        assert!(Json::parse("null").unwrap().is_empty());
        assert!(Json::parse(" null ").unwrap().same_as(&Json::NULL));
    }
}
