//! Metadata that no store takes: another program wrote it into a SQLite file.
//!
//! Problem: such metadata is JSON, but contains a NUL character, half a surrogate pair, or a number that PostgreSQL
//! cannot store. A copy of its message would be refused for ever. Fix: a value that cannot be stored is treated as a
//! value that is not JSON. It is kept as a text, and all other fields keep their meaning.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::decoding::{Fields, json};
use super::{DISPLACED_KEY, Metadata, OWN_KEY};
use crate::{Error, Json, Result};

/// The form in which a value is kept two levels below the top: unchanged, or as a string when it is not JSON or would
/// be nested too deeply there.
pub(super) fn storable(text: &str) -> Json {
    let nested = format!("[[{text}]]");
    let is_storable = serde_json::from_str::<&RawValue>(text).is_ok() && Json::parse(nested).is_ok();
    if is_storable {
        return Json::from_database(Some(text.to_owned()));
    }
    Json::encode(text).unwrap_or_default()
}

impl Metadata {
    /// As [`Metadata::to_json`]. A field that cannot be stored is kept as a text, together with the values that other
    /// programs wrote under the toolkit's names.
    pub(crate) fn to_storable_json(&self) -> Result<Json> {
        self.to_json().or_else(|_| self.with_texts())
    }

    fn with_texts(&self) -> Result<Json> {
        let invalid = |error: serde_json::Error| Error::invalid("metadata", error.to_string());
        let mut metadata = self.clone();
        // A stamp without the name of its handler would count for every handler. No handler has a name like this one.
        metadata.handler = self.handler.as_ref().map(|name| name.replace('\0', "\u{FFFD}"));
        let text = serde_json::to_string(&metadata).map_err(invalid)?;
        let mut fields: Fields = serde_json::from_str(&text).map_err(invalid)?;
        let mut own = match fields.remove(OWN_KEY) {
            Some(own) => serde_json::from_str(own.get()).map_err(invalid)?,
            None => Fields::new(),
        };
        let mut displaced = Fields::new();
        for (fields, levels) in [(&mut fields, 0), (&mut own, 1)] {
            displaced.extend(fields.extract_if(.., |key, value| !is_storable(key, value, levels)));
        }
        // Values that were displaced before are kept.
        displaced.extend(own.remove_entry(DISPLACED_KEY));
        let mut own = in_json(own);
        own.insert(DISPLACED_KEY.to_owned(), storable(&serde_json::to_string(&displaced).map_err(invalid)?));
        let mut fields = in_json(fields);
        fields.insert(OWN_KEY.to_owned(), Json::encode(&own)?);
        Json::encode(&fields)
    }
}

fn in_json(fields: Fields) -> BTreeMap<String, Json> {
    fields.into_iter().map(|(key, raw)| (key, json(&raw))).collect()
}

/// Whether a field can be stored in an object that is so many levels below the top.
fn is_storable(key: &str, value: &RawValue, levels: usize) -> bool {
    let Ok(key) = serde_json::to_string(key) else { return false };
    let field = format!("{}{{{key}:{value}}}{}", "[".repeat(levels), "]".repeat(levels));
    Json::parse(field).is_ok()
}
