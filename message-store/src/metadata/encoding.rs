//! Encoding of metadata.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::{Metadata, OWN_KEY};
use crate::{Json, Result};

impl Metadata {
    /// Encodes the metadata. Empty metadata gives no JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when a value has no JSON form that can be stored.
    pub fn to_json(&self) -> Result<Json> {
        if *self == Self::default() {
            return Ok(Json::NULL);
        }
        Json::encode(self)
    }

    /// Whether the toolkit writes this key, so that the value of another program under it is left out.
    fn writes(&self, key: &str) -> bool {
        match key {
            "causationMessageStreamName" => self.causation_message_stream_name.is_some(),
            "causationMessagePosition" => self.causation_message_position.is_some(),
            "causationMessageGlobalPosition" => self.causation_message_global_position.is_some(),
            "correlationStreamName" => self.correlation_stream_name.is_some(),
            "replyStreamName" => self.reply_stream_name.is_some(),
            "schemaVersion" => self.schema_version.is_some(),
            "properties" => !self.properties.is_empty(),
            "localProperties" => !self.local_properties.is_empty(),
            "traceparent" => self.traceparent.is_some(),
            "tracestate" => self.tracestate.is_some(),
            _ => key == OWN_KEY,
        }
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut texts = |key: &str, text: &Option<String>| match text {
            Some(text) => map.serialize_entry(key, text),
            None => Ok(()),
        };
        texts("causationMessageStreamName", &self.causation_message_stream_name)?;
        texts("correlationStreamName", &self.correlation_stream_name)?;
        texts("replyStreamName", &self.reply_stream_name)?;
        texts("schemaVersion", &self.schema_version)?;
        texts("traceparent", &self.traceparent)?;
        texts("tracestate", &self.tracestate)?;
        if let Some(position) = self.causation_message_position {
            map.serialize_entry("causationMessagePosition", &position)?;
        }
        if let Some(position) = self.causation_message_global_position {
            map.serialize_entry("causationMessageGlobalPosition", &position)?;
        }
        for (key, values) in [("properties", &self.properties), ("localProperties", &self.local_properties)] {
            if !values.is_empty() {
                map.serialize_entry(key, values)?;
            }
        }
        let own = OwnFields(self);
        if !own.is_empty() {
            map.serialize_entry(OWN_KEY, &own)?;
        }
        let others = self.other.iter().filter(|(key, _)| !self.writes(key));
        others.into_iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

/// The object under the toolkit's key.
struct OwnFields<'a>(&'a Metadata);

impl OwnFields<'_> {
    fn is_empty(&self) -> bool {
        let Metadata { sequence, handler, type_version, origin, via, cause_origin, tags, own_other, .. } = self.0;
        let is_reservation = self.0.reserves.is_some() || self.0.reserves_for.is_some();
        let is_stamped = sequence.is_some() || handler.is_some() || type_version.is_some() || self.0.erased;
        let is_copy = origin.is_some() || !via.is_empty() || cause_origin.is_some();
        !is_stamped && !is_reservation && !is_copy && tags.is_empty() && own_other.is_empty()
    }
}

impl Serialize for OwnFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Metadata { sequence, handler, type_version, origin, via, cause_origin, tags, own_other, .. } = self.0;
        let mut map = serializer.serialize_map(None)?;
        if let Some(sequence) = sequence {
            map.serialize_entry("sequence", sequence)?;
        }
        if let Some(handler) = handler {
            map.serialize_entry("handler", handler)?;
        }
        if let Some(type_version) = type_version {
            map.serialize_entry("typeVersion", type_version)?;
        }
        if let Some(reserves) = &self.0.reserves {
            map.serialize_entry("reserves", reserves)?;
        }
        if let Some(reserves_for) = &self.0.reserves_for {
            map.serialize_entry("reservesFor", reserves_for)?;
        }
        if let Some(origin) = origin {
            map.serialize_entry("origin", origin)?;
        }
        if !via.is_empty() {
            map.serialize_entry("via", via)?;
        }
        if let Some(cause_origin) = cause_origin {
            map.serialize_entry("causeOrigin", cause_origin)?;
        }
        if !tags.is_empty() {
            map.serialize_entry("tags", tags)?;
        }
        if self.0.erased {
            map.serialize_entry("erased", &true)?;
        }
        own_other.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}
