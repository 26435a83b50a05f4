//! The steps of a letter, as they are stored in its stream.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::ErrorClass;
use crate::{GlobalPosition, Message, MessageId, MessageRef, Position, StreamName};

/// A change of a letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub(super) enum Step {
    /// A redelivery is about to begin.
    Attempted {
        /// No other message is under way in the process.
        #[serde(default)]
        alone: bool,
    },
    /// The redelivery is no longer alone: other messages begin before it has ended.
    NotAlone {},
    /// The redelivery ended without a result, and the process did not: it was stopped, or waited out an outage.
    Interrupted {},
    /// The message was set aside.
    Parked {
        #[serde(flatten)]
        message: MessagePlace,
        message_type: String,
        attempts: u32,
        error: String,
        #[serde(default, deserialize_with = "ErrorClass::known", skip_serializing_if = "Option::is_none")]
        error_class: Option<ErrorClass>,
        /// Later messages of the entity wait.
        holds: bool,
        /// The time at which the message is delivered again, if the handler asked for that. Otherwise it waits for an
        /// operator, or behind another message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again_at: Option<Timestamp>,
        /// The member of the group that delivered the message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<String>,
    },
    /// Another delivery was requested.
    RetryRequested {},
    /// The message was handled, with this outcome.
    Resolved { outcome: String },
    /// The message was discarded.
    Discarded { why: String },
}

impl Step {
    /// Decodes a step. `None` if the message is not a step, or cannot be decoded. Any program can write to the category
    /// of the letters, so such a message must not stop the consumer.
    pub(super) fn of(message: &Message) -> Option<Self> {
        message.decode_variant().unwrap_or_else(|error| {
            tracing::warn!(target: "message_store::consumer", %error, "ignoring a step of a dead letter that cannot be decoded");
            None
        })
    }
}

impl Step {
    /// Whether this step can open a letter that was closed at a position, or did not exist. A copied request for a
    /// delivery opens a letter that was closed here. Without a position, the step that set the message aside is there
    /// too.
    pub(super) fn can_open_after(&self, position: GlobalPosition) -> bool {
        match self {
            Self::Parked { .. } => true,
            Self::RetryRequested {} => position > GlobalPosition::ZERO,
            _ => false,
        }
    }
}

/// The message of a letter, and its place in the store in which it was set aside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessagePlace {
    pub(super) message_id: MessageId,
    #[serde(deserialize_with = "unchecked_name")]
    pub(super) stream: StreamName,
    pub(super) position: Position,
    pub(super) global_position: GlobalPosition,
}

/// Whether a step was copied here from another store. (Its origin may be this store, if it was copied to another store
/// and back.)
pub(super) fn is_copy(step: &Message) -> bool {
    step.decode_metadata().origin.is_some()
}

/// Decodes a name without checking it: another program may have written a longer name than this library writes.
fn unchecked_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StreamName, D::Error> {
    Ok(StreamName::from_database(&String::deserialize(deserializer)?))
}

impl From<&Message> for MessagePlace {
    fn from(message: &Message) -> Self {
        let MessageRef { id: message_id, stream, position, global_position } = message.reference();
        Self { message_id, stream, position, global_position }
    }
}

impl From<MessagePlace> for MessageRef {
    fn from(place: MessagePlace) -> Self {
        let MessagePlace { message_id: id, stream, position, global_position } = place;
        Self { id, stream, position, global_position }
    }
}
