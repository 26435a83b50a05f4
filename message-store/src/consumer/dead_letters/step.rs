//! The steps of a letter, as they stand in its stream.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{GlobalPosition, Message, MessageId, MessageRef, Position, StreamName};

/// What happens to a message that could not be handled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub(super) enum Step {
    /// It is about to be delivered again, as was asked for.
    Attempted {
        /// With nothing else under way in the process.
        #[serde(default)]
        alone: bool,
    },
    /// Others have begun before the delivery that was alone had ended.
    NotAlone {},
    /// It is set aside.
    Parked {
        #[serde(flatten)]
        message: MessagePlace,
        message_type: String,
        attempts: u32,
        error: String,
        /// Later messages of its entity wait behind it.
        holds: bool,
    },
    /// An operator asked for another delivery.
    RetryRequested {},
    /// It was delivered, with this outcome.
    Resolved { outcome: String },
    /// An operator gave it up.
    Discarded { why: String },
}

impl Step {
    /// The step that a message is; `None` for a message of another kind. Any program can write to the category of the
    /// letters: a step that cannot be read must not stop a consumer.
    pub(super) fn of(message: &Message) -> Option<Self> {
        message.decode_variant().unwrap_or_else(|error| {
            tracing::warn!(%error, "a broken step of a dead letter is passed over");
            None
        })
    }
}

/// The message of a letter, and where it stands in the store in which it was set aside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessagePlace {
    pub(super) message_id: MessageId,
    #[serde(deserialize_with = "as_it_stands")]
    pub(super) stream: StreamName,
    pub(super) position: Position,
    pub(super) global_position: GlobalPosition,
}

/// Whether a step was copied here from another store. (A copy may have been born here, and its message moved away and
/// back.)
pub(super) fn is_copy(step: &Message) -> bool {
    step.decode_metadata().origin.is_some()
}

/// Another program may have written a name that is longer than ours may be.
fn as_it_stands<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StreamName, D::Error> {
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
