//! The check whether a store can store a JSON text.

use super::MAX_JSON_DEPTH;
use crate::canonical;
use crate::{Error, Result};

/// The result of [`check`].
pub(super) struct Checked {
    /// At least one object has a key twice.
    pub(super) has_equal_keys: bool,
}

/// An array or object whose end [`check`] has not reached.
struct Open {
    is_object: bool,
    /// The index of its first key in the list of the keys of all open objects.
    first_key: usize,
}

/// Checks, in one pass over a text that is known to be JSON, the depth, the characters and numbers that no store can
/// store, and equal keys.
pub(super) fn check(text: &str) -> Result<Checked> {
    let bytes = text.as_bytes();
    let (mut at, mut string, mut is_key) = (0, None, false);
    let (mut open, mut keys): (Vec<Open>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut checked = Checked { has_equal_keys: false };
    while let Some(byte) = bytes.get(at) {
        match (string, byte) {
            (Some(_), byte) if !matches!(byte, b'"' | b'\\') => {
                // Skips to the next quote or backslash.
                let rest = bytes.get(at + 1..).unwrap_or_default();
                at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
            }
            (Some(_), b'\\') => {
                at += 1;
                if bytes.get(at) == Some(&b'u') {
                    at += check_escape(text, at + 1)?;
                }
            }
            (Some(begin), b'"') => {
                if is_key {
                    keys.extend(text.get(begin..=at));
                }
                string = None;
            }
            (None, b'"') => string = Some(at),
            (None, b'{' | b'[') => {
                if open.len() == MAX_JSON_DEPTH {
                    let actual = open.len() + 1;
                    return Err(Error::TooLarge { what: "JSON depth".into(), actual, limit: MAX_JSON_DEPTH });
                }
                is_key = *byte == b'{';
                open.push(Open { is_object: is_key, first_key: keys.len() });
            }
            (None, b'}' | b']') => {
                if let Some(Open { first_key, .. }) = open.pop() {
                    checked.has_equal_keys |= are_some_equal(keys.get_mut(first_key..).unwrap_or_default());
                    keys.truncate(first_key);
                }
                is_key = false;
            }
            (None, b':') => is_key = false,
            (None, b',') => is_key = open.last().is_some_and(|open| open.is_object),
            (None, b'-' | b'0'..=b'9') => at += check_number(text.get(at..).unwrap_or_default())? - 1,
            _ => {}
        }
        at += 1;
    }
    Ok(checked)
}

/// Checks the number at the beginning of a text. Returns its length in bytes.
fn check_number(text: &str) -> Result<usize> {
    /// A number without an exponent that is at most this long always fits.
    const SHORT: usize = 1_000;
    let length = text.bytes().take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')).count();
    let number = text.get(..length).unwrap_or_default();
    let is_plain = length <= SHORT && !number.contains(['e', 'E']);
    if !is_plain && !canonical::fits_numeric(number) {
        return Err(Error::invalid("JSON", "a number in it has more digits than PostgreSQL can store"));
    }
    Ok(length)
}

/// Whether two of these keys, each with its quotes, are equal.
fn are_some_equal(keys: &mut [&str]) -> bool {
    if keys.iter().any(|key| key.contains('\\')) {
        let mut read: Vec<String> = keys.iter().filter_map(|key| serde_json::from_str(key).ok()).collect();
        read.sort_unstable();
        return read.windows(2).any(|pair| pair[0] == pair[1]);
    }
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

/// Checks the escape whose digits begin at `at`. Returns the number of bytes used after the `u`.
fn check_escape(text: &str, at: usize) -> Result<usize> {
    let unit = |at: usize| text.get(at..at + 4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    match unit(at) {
        Some(0) => {
            Err(Error::invalid("JSON", "a string in it contains a NUL character, which PostgreSQL cannot store"))
        }
        Some(0xD800..=0xDBFF) => match (text.get(at + 4..at + 6), unit(at + 6)) {
            (Some("\\u"), Some(0xDC00..=0xDFFF)) => Ok(10),
            _ => Err(Error::invalid("JSON", "a string in it contains half of a surrogate pair")),
        },
        Some(0xDC00..=0xDFFF) => Err(Error::invalid("JSON", "a string in it contains half of a surrogate pair")),
        _ => Ok(4),
    }
}
