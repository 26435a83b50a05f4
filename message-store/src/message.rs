//! Messages: the form in which a caller writes one, and the form in which a store returns it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::metadata::{RESERVED, is_erased};
use crate::variant::{Decoded, Form, Unreadable, newest_version, stored_types, types_of_today};
use crate::{
    Category, Error, GlobalPosition, Json, Metadata, Position, Result, Sequence, StoreId, StreamName, Upcaster,
};

/// The identity of a message. It is unique in every store, for ever. A copy of a message keeps its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// A new id, a UUIDv7. It begins with the time, so that ids made at about the same time are close to each other in
    /// the index.
    #[expect(clippy::new_without_default, reason = "each call returns another value, and a default is always the same")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id with this UUID, of any version.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
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
/// The id is chosen here, before anything is sent. A store recognises a second append of the same value by it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewMessage {
    /// Unique in every store, for ever.
    pub id: MessageId,
    /// The name of its enum variant, such as `Deposited`. 1 to 255 bytes, without a NUL character.
    pub message_type: String,
    /// The content, usually the fields of the enum variant.
    pub data: Json,
    /// Usually [`Metadata`]. Other programs may write any JSON here.
    pub metadata: Json,
}

impl NewMessage {
    /// A message of this type, with a new id and no metadata.
    pub fn new(message_type: impl Into<String>, data: Json) -> Self {
        Self { id: MessageId::new(), message_type: message_type.into(), data, metadata: Json::NULL }
    }

    /// Makes a message from a value of an enum. The variant's name is the message type, and its fields are the data.
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
    /// [`Error::Invalid`] when the value is not an enum variant, or has no JSON form.
    pub fn from_variant<E: Serialize>(value: &E) -> Result<Self> {
        let (message_type, data) = crate::variant::encode(value)?;
        Ok(Self::new(message_type, data))
    }

    /// Replaces the metadata. The JSON need not have the form of [`Metadata`].
    #[must_use]
    pub fn with_metadata_json(mut self, metadata: Json) -> Self {
        self.metadata = metadata;
        self
    }

    /// A message with the id, type, data and metadata of a stored one. An append of it is a repeat of the first append.
    pub fn again(message: &Message) -> Self {
        Self {
            id: message.id,
            message_type: message.message_type.clone(),
            data: message.data.clone(),
            metadata: message.metadata.clone(),
        }
    }

    /// For backends: the message in the form in which a store returns it, at these positions.
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

    /// Records the version of the message's type: the newest that these upcasters know. Use it for messages whose type has
    /// more than one version, and after [`with_metadata`](Self::with_metadata), which replaces the record. Without a
    /// record, a message has version 1.
    ///
    /// The runtime does this for the events of a decider or process manager.
    ///
    /// ```
    /// use message_store::{NewMessage, Upcaster};
    /// # #[derive(serde::Serialize)] enum Command { Deposit { amount: u32, currency: &'static str } }
    /// const UPCASTERS: &[Upcaster] = &[Upcaster::upcast(("Deposit", 1), |fields| fields.add("currency", "CZK"))];
    ///
    /// let deposit = Command::Deposit { amount: 7, currency: "EUR" };
    /// let message = NewMessage::from_variant(&deposit)?.versioned(UPCASTERS)?;
    /// assert_eq!(message.metadata.text(), r#"{"messageStore":{"typeVersion":2}}"#);
    /// # Ok::<(), message_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] when the metadata has no JSON form.
    pub fn versioned(mut self, upcasters: &[Upcaster]) -> Result<Self> {
        let version = newest_version(upcasters, &self.message_type);
        if version.is_some() {
            self.metadata = Metadata::from_json(&self.metadata).of_version(version).to_json()?;
        }
        Ok(self)
    }

    /// The size in bytes as it is written: type, data and metadata together.
    pub fn size(&self) -> usize {
        self.message_type.len() + self.data.len() + self.metadata.len()
    }

    /// The size in bytes as PostgreSQL returns it, the same on every store. [`Limits`](crate::Limits) compares it.
    pub fn stored_size(&self) -> usize {
        self.message_type.len() + self.data.stored_size() + self.metadata.stored_size()
    }

    /// Replaces the id.
    #[must_use]
    pub fn with_id(mut self, id: MessageId) -> Self {
        self.id = id;
        self
    }

    /// Replaces the metadata.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the metadata has no JSON form.
    pub fn with_metadata(mut self, metadata: &Metadata) -> Result<Self> {
        self.metadata = metadata.to_json()?;
        Ok(self)
    }
}

/// A message that a store has returned.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// Unique in every store, for ever.
    pub id: MessageId,
    #[allow(missing_docs)]
    pub stream: StreamName,
    /// The name of its enum variant, such as `Deposited`. 1 to 255 bytes, without a NUL character.
    pub message_type: String,
    /// From 0, without gaps.
    pub position: Position,
    /// From 1. It may have gaps.
    pub global_position: GlobalPosition,
    /// The content, usually the fields of the enum variant.
    pub data: Json,
    /// Usually [`Metadata`]. Other programs may write any JSON here.
    pub metadata: Json,
    /// The time at which its write began, by the database's clock. No decision may depend on it: clocks can go back.
    pub time: Timestamp,
}

impl Message {
    /// Whether the message was [erased](crate::operations::Erasing). It has no data, and of its metadata what others
    /// need to recognise it.
    pub fn is_erased(&self) -> bool {
        is_erased(&self.data, &self.metadata)
    }

    /// Decodes the metadata. Fields of an unexpected shape are kept ([`Metadata::unread`]), so this cannot fail.
    pub fn decode_metadata(&self) -> Metadata {
        Metadata::from_json(&self.metadata)
    }

    /// The place of the message, if the handler named `handler` has written it.
    pub(crate) fn place_if_written_by(&self, handler: &str) -> Option<MessageRef> {
        (self.decode_metadata().handler.as_deref() == Some(handler)).then(|| self.reference())
    }

    /// Decodes the data as `T`, and ignores the message type.
    ///
    /// # Errors
    /// [`Error::Undecodable`], which names the field, and for a message that was erased.
    pub fn decode_data<T: DeserializeOwned>(&self) -> Result<T> {
        self.assert_not_erased()?;
        self.data.decode().map_err(|error| self.undecodable(&error))
    }

    /// Decodes the data as the variant of `E` that has the name of the message type. Returns `None` if `E` has no such
    /// variant. It reads version 1 of each type: see [`decode_upcast`](Self::decode_upcast).
    ///
    /// # Errors
    /// [`Error::Undecodable`], which names the field, when `E` has the variant and the data does not fit it, and for a
    /// message that was erased.
    /// [`Error::NewerVersion`] when `E` has the variant and the message has a later version.
    pub fn decode_variant<E: DeserializeOwned>(&self) -> Result<Option<E>> {
        match self.decode(&[], self.type_version())? {
            Decoded::One(value) => Ok(Some(value)),
            // Without upcasters, nothing is split.
            Decoded::Unknown(_) | Decoded::Several(_) => Ok(None),
        }
    }

    /// As [`decode_variant`](Self::decode_variant), for a message of any version: these upcasters lead it to the variants
    /// of today. There are several after a split, and none if the message is dropped. Parts whose type `E` does not have
    /// are left out. Returns `None` if `E` does not have the type of a message that is not split.
    ///
    /// # Errors
    /// As [`decode_variant`](Self::decode_variant); [`Error::Upcasters`] if they are wrong.
    pub fn decode_upcast<E: DeserializeOwned>(&self, upcasters: &[Upcaster]) -> Result<Option<Vec<E>>> {
        let known = |part| match part {
            Decoded::One(value) => Some(value),
            Decoded::Unknown(_) | Decoded::Several(_) => None,
        };
        Ok(match self.decode(upcasters, self.type_version())? {
            Decoded::Several(parts) => Some(parts.into_iter().filter_map(known).collect()),
            one => known(one).map(|value| vec![value]),
        })
    }

    /// `version` is that of the message's type, which the caller has read from the metadata.
    pub(crate) fn decode<E: DeserializeOwned>(&self, upcasters: &[Upcaster], version: u32) -> Result<Decoded<E>> {
        self.assert_not_erased()?;
        if self.message_type == RESERVED && self.decode_metadata().reserves.is_some() {
            // It reserves an intent. An enum may have a variant of that name, which is something else.
            return Ok(Decoded::Unknown(self.message_type.clone()));
        }
        let form = Form::new(&self.message_type, version, &self.data);
        form.decode(upcasters).map_err(|unreadable| self.unreadable(unreadable))
    }

    /// Whether upcasters read it as a message of this type, alone or among others.
    pub(crate) fn is_read_as(&self, message_type: &str, upcasters: &[Upcaster]) -> Result<bool> {
        if self.is_erased() {
            return Ok(stored_types(upcasters, [message_type]).contains(&&*self.message_type));
        }
        let form = Form::new(&self.message_type, self.type_version(), &self.data);
        let forms = form.upcast(upcasters).map_err(|unreadable| self.unreadable(unreadable))?;
        Ok(forms.iter().any(|form| form.message_type == message_type))
    }

    /// The types as which the message is read, if it was erased: see [`types_of_today`].
    pub(crate) fn erased_types<E: DeserializeOwned>(
        &self,
        upcasters: &[Upcaster],
        version: u32,
    ) -> Result<Vec<Decoded<String>>> {
        types_of_today::<E>(&self.message_type, version, upcasters).map_err(|unreadable| self.unreadable(unreadable))
    }

    fn unreadable(&self, unreadable: Unreadable) -> Error {
        match unreadable {
            Unreadable::Undecodable(reason) => self.undecodable(&reason),
            Unreadable::Newer(known) => {
                let (message, message_type, version) =
                    (self.reference(), self.message_type.clone(), self.type_version());
                Error::NewerVersion { message, message_type, version, known }
            }
            Unreadable::Chain(fault) => Error::Upcasters { of: "this message", fault },
        }
    }

    /// The version of the message's type: the form of its data. It is 1 unless the metadata names another one.
    pub fn type_version(&self) -> u32 {
        crate::sequence::type_version_of(self)
    }

    /// The id of the stream with which the message is correlated, if that stream is of this category: for example the id
    /// of the process on whose behalf the message was written.
    pub fn correlation_id(&self, category: &str) -> Option<String> {
        let stream = StreamName::from_database(self.decode_metadata().correlation_stream_name.as_deref()?);
        (stream.category_str() == category).then(|| stream.id().map(str::to_owned)).flatten()
    }

    /// The origin of the message, and its global position there. A copy carries both in its metadata. Any other message
    /// has its origin in the store that it was read from, whose id is `here`.
    pub fn sequence(&self, here: StoreId) -> Sequence {
        crate::sequence::sequence_of(self, here)
    }

    /// The category of the message's stream.
    pub fn category(&self) -> Category {
        self.stream.category()
    }

    /// The message's id and places, without its content.
    pub fn reference(&self) -> MessageRef {
        MessageRef {
            id: self.id,
            stream: self.stream.clone(),
            position: self.position,
            global_position: self.global_position,
        }
    }

    fn assert_not_erased(&self) -> Result<()> {
        if self.is_erased() { Err(self.undecodable(&"its data was erased")) } else { Ok(()) }
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

/// The id and the places of a stored message. They are enough to find it again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageRef {
    /// Unique in every store, for ever.
    pub id: MessageId,
    #[allow(missing_docs)]
    pub stream: StreamName,
    /// From 0, without gaps.
    pub position: Position,
    /// From 1. It may have gaps.
    pub global_position: GlobalPosition,
}

impl MessageRef {
    /// A reference to the message with this id, at these places.
    pub fn new(id: MessageId, stream: StreamName, position: Position, global_position: GlobalPosition) -> Self {
        Self { id, stream, position, global_position }
    }
}

impl fmt::Display for MessageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} (global position {})", self.stream, self.position, self.global_position)
    }
}
