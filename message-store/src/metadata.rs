//! Where a message comes from: what caused it, what it belongs to, where an answer goes.
//!
//! The keys are those of Eventide's `Message::Metadata`, in camelCase, so that its components read ours and we read
//! theirs. Ours besides: `sequence` (the command that an event was decided for) and `origin` (where a copy was born).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::idempotence::Sequence;
use crate::{Error, GlobalPosition, Json, Message, Position, Result};

/// A message's metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Metadata {
    /// The stream of the message that caused this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_message_stream_name: Option<String>,
    /// Its position in that stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_message_position: Option<Position>,
    /// Its global position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_message_global_position: Option<GlobalPosition>,
    /// The stream on whose behalf all this happens: carried on from message to message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_stream_name: Option<String>,
    /// Where an answer is to be written: carried on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_stream_name: Option<String>,
    /// The version of the message's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<String>,
    /// Free values that are carried on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Json>,
    /// Free values of this message alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub local_properties: BTreeMap<String, Json>,
    /// W3C trace context, carried on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// W3C trace state, carried on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// The sequence of the command that this event was decided for. The runtime stamps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// Where this message was born, if it is a copy from another store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Sequence>,
    /// What others put there.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Metadata {
    /// Reads metadata; nothing is empty metadata.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field.
    pub fn from_json(json: &Json) -> Result<Self> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        json.decode().map_err(|error| Error::invalid("metadata", error.to_string()))
    }

    /// The JSON text; empty metadata is nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a value has no JSON form that can be stored.
    pub fn to_json(&self) -> Result<Json> {
        if *self == Self::default() {
            return Ok(Json::NULL);
        }
        Json::encode(self)
    }

    /// Metadata of a message that `preceding` causes: causation is `preceding`, and what is carried on is carried on
    /// (correlation, reply stream, properties, trace context). What belongs to `preceding` alone is not: its local
    /// properties, schema version, sequence and origin.
    ///
    /// # Errors
    /// [`Error::Undecodable`] when the metadata of `preceding` cannot be read.
    pub fn follow(preceding: &Message) -> Result<Self> {
        let carried = preceding.decode_metadata()?;
        Ok(Self {
            causation_message_stream_name: Some(preceding.stream.as_str().to_owned()),
            causation_message_position: Some(preceding.position),
            causation_message_global_position: Some(preceding.global_position),
            correlation_stream_name: carried.correlation_stream_name,
            reply_stream_name: carried.reply_stream_name,
            properties: carried.properties,
            traceparent: carried.traceparent,
            tracestate: carried.tracestate,
            ..Self::default()
        })
    }

    /// Whether a message with this metadata was caused by `preceding`.
    pub fn follows(&self, preceding: &Message) -> bool {
        self.causation_message_stream_name.as_deref() == Some(preceding.stream.as_str())
            && self.causation_message_position == Some(preceding.position)
            && self.causation_message_global_position == Some(preceding.global_position)
    }
}
