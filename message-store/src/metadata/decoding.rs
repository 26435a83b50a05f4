//! Decoding of metadata, field by field.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::storable::storable;
use super::{DISPLACED_KEY, Metadata, OWN_KEY};
use crate::{Json, Sequence, Stamped};

pub(super) type Fields = BTreeMap<String, Box<RawValue>>;

/// Removes fields one by one. A field of an unexpected type remains, and its name is noted.
struct Reader<'a> {
    fields: Fields,
    unread: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let raw = self.fields.get(key)?;
        let read = serde_json::from_str::<Option<T>>(raw.get());
        if read.is_ok() {
            self.fields.remove(key);
        } else {
            self.unread.push(key.to_owned());
        }
        read.ok().flatten()
    }

    fn rest(self) -> BTreeMap<String, Json> {
        self.fields.into_iter().map(|(key, raw)| (key, json(&raw))).collect()
    }
}

/// Moves values that other programs wrote under the toolkit's names into one object, so that the toolkit can write its
/// own values there.
fn displace(rest: BTreeMap<String, Json>) -> BTreeMap<String, Json> {
    let is_ours = |key: &str| {
        [
            "sequence",
            "handler",
            "typeVersion",
            "reserves",
            "reservesFor",
            "origin",
            "via",
            "causeOrigin",
            "tags",
            "erased",
        ]
        .contains(&key)
    };
    let (ours, mut rest): (BTreeMap<_, _>, BTreeMap<_, _>) = rest.into_iter().partition(|(key, _)| is_ours(key));
    if ours.is_empty() {
        return rest;
    }
    let mut displaced = ours;
    // Values that were moved before are kept.
    displaced.extend(rest.remove_entry(DISPLACED_KEY));
    if let Ok(displaced) = serde_json::to_string(&displaced) {
        rest.insert(DISPLACED_KEY.to_owned(), storable(&displaced));
    }
    rest
}

/// The database has checked the whole text, so its parts are JSON.
pub(super) fn json(raw: &RawValue) -> Json {
    Json::from_database(Some(raw.get().to_owned()))
}

impl Metadata {
    /// Decodes metadata. No JSON gives empty metadata. A field of an unexpected type is kept in `other`.
    pub fn from_json(json: &Json) -> Self {
        let mut metadata = Self::default();
        let Some(text) = json.as_str() else { return metadata };
        let Ok(fields) = serde_json::from_str::<Fields>(text) else {
            metadata.unread.push("metadata".to_owned());
            metadata.own_other.insert(DISPLACED_KEY.to_owned(), storable(text));
            return metadata;
        };
        let mut reader = Reader { fields, unread: &mut metadata.unread };
        metadata.causation_message_stream_name = reader.take("causationMessageStreamName");
        metadata.causation_message_position = reader.take("causationMessagePosition");
        metadata.causation_message_global_position = reader.take("causationMessageGlobalPosition");
        metadata.correlation_stream_name = reader.take("correlationStreamName");
        metadata.reply_stream_name = reader.take("replyStreamName");
        metadata.schema_version = reader.take("schemaVersion");
        metadata.properties = reader.take("properties").unwrap_or_default();
        metadata.local_properties = reader.take("localProperties").unwrap_or_default();
        metadata.traceparent = reader.take("traceparent");
        metadata.tracestate = reader.take("tracestate");
        if let Some(own) = reader.fields.remove(OWN_KEY) {
            if let Ok(fields) = serde_json::from_str::<Fields>(own.get()) {
                let mut own = Reader { fields, unread: reader.unread };
                metadata.sequence = own.take("sequence");
                metadata.handler = own.take("handler");
                metadata.type_version = own.take("typeVersion");
                metadata.reserves = own.take("reserves");
                metadata.reserves_for = own.take("reservesFor");
                metadata.origin = own.take("origin");
                metadata.via = own.take("via").unwrap_or_default();
                metadata.cause_origin = own.take("causeOrigin");
                metadata.tags = own.take("tags").unwrap_or_default();
                metadata.erased = own.take("erased").unwrap_or_default();
                metadata.own_other = displace(own.rest());
            } else {
                reader.unread.push(OWN_KEY.to_owned());
                metadata.own_other.insert(DISPLACED_KEY.to_owned(), storable(own.get()));
            }
        }
        // Earlier versions wrote these two at the top level.
        metadata.sequence = metadata.sequence.or_else(|| reader.take::<Sequence>("sequence").map(Stamped::from));
        metadata.origin = metadata.origin.or_else(|| reader.take("origin"));
        metadata.other = reader.rest();
        metadata
    }
}
