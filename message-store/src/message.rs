//! A message: what is written, and what is read back.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Category, Error, GlobalPosition, Json, Metadata, Position, Result, Sequence, StoreId, StreamName};

/// The identity of a message: one message has it, in every store, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// A new id. It begins with the time (UUIDv7), so that ids made together stand together in the index.
    #[expect(clippy::new_without_default, reason = "each is another: a default would be one")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id with this value.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The value.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Uuid::parse_str(text).map(Self).map_err(|error| Error::invalid("message id", error.to_string()))
    }
}

/// A message to be written.
///
/// The id is chosen here, before anything is sent: a retry of the same value is recognised by it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewMessage {
    /// Its identity.
    pub id: MessageId,
    /// Its type, such as `Deposited`.
    pub message_type: String,
    /// What it says.
    pub data: Json,
    /// Where it comes from.
    pub metadata: Json,
}

impl NewMessage {
    /// A message of this type, with a new id and no metadata.
    pub fn new(message_type: impl Into<String>, data: Json) -> Self {
        Self { id: MessageId::new(), message_type: message_type.into(), data, metadata: Json::NULL }
    }

    /// The message that a value of an enum stands for: its variant is the message type, its fields are the data.
    ///
    /// ```
    /// # use message_store::NewMessage;
    /// #[derive(serde::Serialize)]
    /// enum Command { Deposit { amount: u32 } }
    ///
    /// let message = NewMessage::from_variant(&Command::Deposit { amount: 7 })?;
    /// assert_eq!((message.message_type.as_str(), message.data.text()), ("Deposit", r#"{"amount":7}"#));
    /// # Ok::<(), message_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] when the value is no enum variant, or has no JSON form.
    pub fn from_variant<E: Serialize>(value: &E) -> Result<Self> {
        let (message_type, data) = crate::variant::encode(value)?;
        Ok(Self::new(message_type, data))
    }

    /// The same message with this metadata, in whatever shape.
    #[must_use]
    pub fn with_metadata_json(mut self, metadata: Json) -> Self {
        self.metadata = metadata;
        self
    }

    /// What was written as this message, to be written again: its id, type, data and metadata.
    pub fn again(message: &Message) -> Self {
        Self {
            id: message.id,
            message_type: message.message_type.clone(),
            data: message.data.clone(),
            metadata: message.metadata.clone(),
        }
    }

    /// The message as it is read once a store has written it: for backends.
    pub fn written(
        self,
        stream: StreamName,
        position: Position,
        global_position: GlobalPosition,
        time: Timestamp,
    ) -> Message {
        let Self { id, message_type, data, metadata } = self;
        Message { id, stream, message_type, position, global_position, data, metadata, time }
    }

    /// Bytes of type, data and metadata.
    pub fn size(&self) -> usize {
        self.message_type.len() + self.data.len() + self.metadata.len()
    }

    /// The same message with this id.
    #[must_use]
    pub fn with_id(mut self, id: MessageId) -> Self {
        self.id = id;
        self
    }

    /// The same message with this metadata.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the metadata has no JSON form.
    pub fn with_metadata(mut self, metadata: &Metadata) -> Result<Self> {
        self.metadata = metadata.to_json()?;
        Ok(self)
    }
}

/// A message as it was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// Its identity.
    pub id: MessageId,
    /// The stream it stands in.
    pub stream: StreamName,
    /// Its type, such as `Deposited`.
    pub message_type: String,
    /// Its place in its stream.
    pub position: Position,
    /// Its place in the store.
    pub global_position: GlobalPosition,
    /// What it says.
    pub data: Json,
    /// Where it comes from.
    pub metadata: Json,
    /// When its write began, by the database's clock. No decision may depend on it.
    pub time: Timestamp,
}

impl Message {
    /// The metadata, decoded. What others put there in another shape is in it all the same ([`Metadata::unread`]).
    pub fn decode_metadata(&self) -> Metadata {
        Metadata::from_json(&self.metadata)
    }

    /// The data, decoded as one type whatever the message type is.
    ///
    /// # Errors
    /// [`Error::Undecodable`] with the field.
    pub fn decode_data<T: DeserializeOwned>(&self) -> Result<T> {
        self.data.decode().map_err(|error| self.undecodable(&error))
    }

    /// The variant of `E` named like the message type, with the data as its fields; `None` when `E` has no such
    /// variant.
    ///
    /// # Errors
    /// [`Error::Undecodable`] with the field, when the type is known and the data does not fit it.
    pub fn decode_variant<E: DeserializeOwned>(&self) -> Result<Option<E>> {
        crate::variant::decode(&self.message_type, &self.data).map_err(|error| self.undecodable(&error))
    }

    /// The origin of the message, and its global position there. A copy carries both in its metadata; any other message
    /// has its origin in the store `here`, where it was read.
    pub fn sequence(&self, here: StoreId) -> Sequence {
        crate::sequence::sequence_of(self, here)
    }

    /// The category of the message's stream.
    pub fn category(&self) -> Category {
        self.stream.category()
    }

    /// Where the message stands.
    pub fn reference(&self) -> MessageRef {
        MessageRef {
            id: self.id,
            stream: self.stream.clone(),
            position: self.position,
            global_position: self.global_position,
        }
    }

    pub(crate) fn undecodable(&self, error: &dyn fmt::Display) -> Error {
        Error::Undecodable {
            stream: self.stream.clone(),
            position: self.position,
            global_position: self.global_position,
            message_type: self.message_type.clone(),
            reason: error.to_string(),
        }
    }
}

/// Where a message stands: what is needed to find it again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageRef {
    /// Its identity.
    pub id: MessageId,
    /// Its stream.
    pub stream: StreamName,
    /// Its place in its stream.
    pub position: Position,
    /// Its place in the store.
    pub global_position: GlobalPosition,
}

impl MessageRef {
    /// Of the message with this id, which stands there.
    pub fn new(id: MessageId, stream: StreamName, position: Position, global_position: GlobalPosition) -> Self {
        Self { id, stream, position, global_position }
    }
}

impl fmt::Display for MessageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} (global position {})", self.stream, self.position, self.global_position)
    }
}
