//! Data and metadata: JSON text, carried unparsed until someone decodes it.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::canonical::canonical;
use crate::{Error, Result};

/// How deeply arrays and objects may be nested. A deeper text could be stored but not decoded again.
pub const MAX_JSON_DEPTH: usize = 127;

/// A JSON text, or nothing (SQL's `NULL`, which is what JSON's `null` becomes).
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
    /// Nothing.
    pub const NULL: Self = Self(None);

    /// Takes a JSON text as it is, after a check that it is one.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the text is not JSON, nests too deeply, or holds a character that cannot be stored.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let raw: &RawValue = serde_json::from_str(&text).map_err(|error| Error::invalid("JSON", error.to_string()))?;
        check(raw.get())?;
        // The text itself, unless there is white space around it.
        let is_whole = raw.get().len() == text.len();
        Ok(Self::trusted(if is_whole { text.into() } else { raw.get().into() }))
    }

    /// The JSON text of a value.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the value has no JSON form, or one that cannot be stored.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let text = serde_json::to_string(value).map_err(|error| Error::invalid("JSON", error.to_string()))?;
        check(&text)?;
        Ok(Self::trusted(text.into()))
    }

    pub(crate) fn from_raw(raw: Box<RawValue>) -> Result<Self> {
        check(raw.get())?;
        Ok(Self::trusted(raw.into()))
    }

    /// What the database returned: checked when it was written.
    pub(crate) fn from_database(text: Option<String>) -> Self {
        text.map_or(Self::NULL, |text| Self::trusted(text.into()))
    }

    fn trusted(text: Box<str>) -> Self {
        if &*text == "null" { Self(None) } else { Self(Some(text)) }
    }

    /// The text, or `None` for nothing.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text, with `null` for nothing.
    pub fn text(&self) -> &str {
        self.as_str().unwrap_or("null")
    }

    /// How many bytes the text has.
    pub fn len(&self) -> usize {
        self.as_str().map_or(0, str::len)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Decodes the text.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what the decoder said.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.text()).map_err(|error| Error::invalid("JSON", error.to_string()))
    }

    /// Whether two texts say the same: the order of keys, white space, escapes and the writing of a number
    /// (`1`, `1.0`, `1e0`) do not count. It is what PostgreSQL's `jsonb` calls equal.
    pub fn same_as(&self, other: &Self) -> bool {
        self.text() == other.text()
            || matches!((canonical(self.text()), canonical(other.text())), (Ok(ours), Ok(theirs)) if ours == theirs)
    }
}

/// One pass over a text that is known to be JSON: its depth, and characters no store can hold.
fn check(text: &str) -> Result<()> {
    let bytes = text.as_bytes();
    let (mut depth, mut at, mut in_string) = (0_usize, 0, false);
    while let Some(byte) = bytes.get(at) {
        match (in_string, byte) {
            (true, b'\\') => {
                at += 1;
                if bytes.get(at) == Some(&b'u') {
                    at += check_escape(text, at + 1)?;
                }
            }
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return Err(Error::TooLarge { what: "JSON depth".into(), actual: depth, limit: MAX_JSON_DEPTH });
                }
            }
            (false, b'}' | b']') => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Checks the escape whose digits begin at `at`; returns how many bytes past the `u` were used.
fn check_escape(text: &str, at: usize) -> Result<usize> {
    let unit = |at: usize| text.get(at..at + 4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    match unit(at) {
        Some(0) => Err(Error::invalid("JSON", "a text in it holds a NUL character, which PostgreSQL cannot store")),
        Some(0xD800..=0xDBFF) => match (text.get(at + 4..at + 6), unit(at + 6)) {
            (Some("\\u"), Some(0xDC00..=0xDFFF)) => Ok(10),
            _ => Err(Error::invalid("JSON", "a text in it holds half of a surrogate pair")),
        },
        Some(0xDC00..=0xDFFF) => Err(Error::invalid("JSON", "a text in it holds half of a surrogate pair")),
        _ => Ok(4),
    }
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
    fn a_text_no_store_can_hold_is_refused() {
        for (text, reason) in [
            (r#"{"a":"\u0000"}"#, "NUL"),
            (r#""\ud800""#, "surrogate"),
            (r#""\udc00x""#, "surrogate"),
            (r#""\ud800\u0041""#, "surrogate"),
            (&*"[".repeat(200_000), "JSON"),
            (&*format!("{}{}", "[".repeat(128), "]".repeat(128)), "depth"),
            ("{", "EOF"),
        ] {
            let error = Json::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error} should name {reason}");
        }
    }

    #[test]
    fn a_text_that_only_looks_dangerous_is_taken() {
        for text in [r#""\\u0000""#, r#""[[[""#, r#""\ud83d\ude00""#, r#""é\u00e9\"{""#] {
            assert_eq!(Json::parse(text).unwrap().as_str(), Some(text));
        }
        let deepest = format!("{}{}", "[".repeat(MAX_JSON_DEPTH), "]".repeat(MAX_JSON_DEPTH));
        assert!(Json::parse(deepest).unwrap().decode::<serde_json::Value>().is_ok());
    }

    #[test]
    fn null_is_nothing() {
        assert!(Json::parse("null").unwrap().is_empty());
        assert!(Json::parse(" null ").unwrap().same_as(&Json::NULL));
    }
}
