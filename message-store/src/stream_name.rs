//! Stream names: `category-id`. The category may contain types, and the id may be compound.
//!
//! `account:command-123+456` is a stream of the category `account:command`, with the id `123+456` and the cardinal id
//! `123`. The separator is the *first* `-`. These are Message DB's rules.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, hash::hash_64};

/// The greatest length of a stream name, in bytes.
pub const MAX_STREAM_NAME_BYTES: usize = 255;

/// The name of a stream: a category, and usually an id.
///
/// ```
/// use message_store::StreamName;
/// let stream = StreamName::new("account:command-123+456")?;
/// assert_eq!(stream.category().as_str(), "account:command");
/// assert_eq!(stream.id(), Some("123+456"));
/// assert_eq!(stream.cardinal_id(), Some("123"));
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Arc<str>);

/// The part of a stream name before the first `-`. A consumer reads one category.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Category(Arc<str>);

impl StreamName {
    /// Checks a name: not empty, no NUL character, at most 255 bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLarge`].
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        check("stream name", name)?;
        Ok(Self(name.into()))
    }

    /// The stream of `category` with this id.
    ///
    /// # Errors
    /// As [`StreamName::new`]; an empty id is [`Error::Invalid`].
    pub fn of(category: &Category, id: impl fmt::Display) -> Result<Self> {
        let name = format!("{category}-{id}");
        if name.len() == category.0.len() + 1 {
            return Err(Error::invalid("stream id", "it is empty"));
        }
        check("stream name", &name)?;
        Ok(Self(name.into()))
    }

    /// For backends: takes a name from a database without checks. Other programs may have written a name that
    /// [`StreamName::new`] refuses.
    pub fn from_database(name: &str) -> Self {
        Self(name.into())
    }

    /// The whole name, 1 to 255 bytes unless it is from a database.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `-`, or the whole name if there is none.
    pub fn category(&self) -> Category {
        Category(self.category_str().into())
    }

    pub(crate) fn category_str(&self) -> &str {
        self.0.split_once('-').map_or(&self.0, |(category, _)| category)
    }

    /// The part after the first `-`. `None` for a stream that is named by its category alone.
    pub fn id(&self) -> Option<&str> {
        self.0.split_once('-').map(|(_, id)| id)
    }

    /// The id up to the first `+`. It identifies the entity, and consumer groups partition by it.
    pub fn cardinal_id(&self) -> Option<&str> {
        let (_, id) = self.0.split_once('-')?;
        Some(id.split_once('+').map_or(id, |(cardinal, _)| cardinal))
    }

    /// Message DB's `hash_64` of the cardinal id. Consumer groups assign streams to members by it.
    pub fn cardinal_hash(&self) -> Option<i64> {
        self.cardinal_id().map(hash_64)
    }
}

impl Category {
    /// Checks a category: not empty, no NUL character, no `-`, at most 255 bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLarge`].
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        check("category", name)?;
        if name.contains('-') {
            let reason = format!("{name:?} has a `-`, so it names a stream; give the part before it");
            return Err(Error::invalid("category", reason));
        }
        Ok(Self(name.into()))
    }

    /// The name, without `-`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The stream of this category with the given id.
    ///
    /// # Errors
    /// As [`StreamName::of`].
    pub fn stream(&self, id: impl fmt::Display) -> Result<StreamName> {
        StreamName::of(self, id)
    }
}

/// Allows a look-up by `&str` in a map with categories as keys.
impl std::borrow::Borrow<str> for Category {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn check(what: &'static str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(what, "it is empty"));
    }
    if name.contains('\0') {
        return Err(Error::invalid(what, format!("{name:?} contains a NUL character")));
    }
    if name.len() > MAX_STREAM_NAME_BYTES {
        return Err(Error::TooLarge { what: what.into(), actual: name.len(), limit: MAX_STREAM_NAME_BYTES });
    }
    Ok(())
}

macro_rules! name_conversions {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = Error;
            fn try_from(name: String) -> Result<Self> {
                Self::new(name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.as_str().to_owned()
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({:?})"), &*self.0)
            }
        }
    };
}

name_conversions!(StreamName);
name_conversions!(Category);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_as_message_db_parses_them() {
        for (name, category, id, cardinal) in [
            ("account", "account", None, None),
            ("account-123+456", "account", Some("123+456"), Some("123")),
            ("account:command-1-2-3+4", "account:command", Some("1-2-3+4"), Some("1-2-3")),
            ("account-", "account", Some(""), Some("")),
            ("-x", "", Some("x"), Some("x")),
        ] {
            let stream = StreamName::new(name).unwrap();
            assert_eq!(stream.category_str(), category, "category of {name}");
            assert_eq!(stream.id(), id, "id of {name}");
            assert_eq!(stream.cardinal_id(), cardinal, "cardinal id of {name}");
        }
    }

    #[test]
    fn bad_names_are_refused_with_the_reason() {
        for (name, reason) in [("", "empty"), ("a\0b", "NUL"), (&*"x".repeat(256), "255")] {
            let error = StreamName::new(name).unwrap_err().to_string();
            assert!(error.contains(reason), "{error} should name {reason}");
        }
        assert!(Category::new("account-1").unwrap_err().to_string().contains("names a stream"));
        assert!(Category::new("account").unwrap().stream("").is_err());
    }
}
