//! Tags: texts in the metadata of a message, by which queries find it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The greatest length of a tag, in bytes.
pub const MAX_TAG_BYTES: usize = 512;

/// A text by which a [query](crate::store::Query) finds a message, such as `email:ann@example.com`. The store keeps it in
/// the message's metadata ([`Metadata::tag`](crate::Metadata::tag)).
///
/// The usual form is a name, a colon and a value. The store compares whole tags, byte by byte: put a value into one form,
/// such as lower case, before you make a tag of it. A tag remains in the store as long as its message. For personal data,
/// make the tag of a keyed hash.
///
/// ```
/// use message_store::Tag;
/// assert_eq!(Tag::new("email:ann@example.com")?.as_str(), "email:ann@example.com");
/// assert!(Tag::new("").is_err());
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(String);

impl Tag {
    /// Makes a tag.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty text or one with a NUL character, [`Error::TooLarge`] above 512 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if text.is_empty() {
            return Err(Error::invalid("tag", "it is empty, so it would find unrelated messages"));
        }
        if text.contains('\0') {
            return Err(Error::invalid("tag", format!("{text:?} contains a NUL character")));
        }
        if text.len() > MAX_TAG_BYTES {
            return Err(Error::TooLarge { what: "a tag".into(), actual: text.len(), limit: MAX_TAG_BYTES });
        }
        Ok(Self(text))
    }

    /// The text, 1 to 512 bytes; of a message that another program wrote, any text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
