//! The records of the log: what JetStream keeps under one sequence number.

use bytes::Bytes;
use message_store::{
    Error, GlobalPosition, Json, Message, MessageId, NewMessage, Position, Result, StreamName, Timestamp,
};
use serde::{Deserialize, Serialize};

/// What to do about a record that no store has written.
pub(crate) const FOREIGN: &str =
    "Another program wrote it: let only the store write to its subjects, and purge that subject";

/// A record, as the server returns it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) subject: String,
    /// Its sequence number in the log.
    pub(crate) sequence: u64,
    /// By the clock of the server that led the log.
    pub(crate) time: Timestamp,
    pub(crate) payload: Bytes,
}

/// The payload of a message. The stream is the subject of the record, and the global position is its sequence number.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    id: MessageId,
    #[serde(rename = "type")]
    message_type: String,
    position: Position,
    #[serde(default, skip_serializing_if = "Json::is_empty")]
    data: Json,
    #[serde(default, skip_serializing_if = "Json::is_empty")]
    metadata: Json,
}

/// The payload of a message at this position of its stream.
pub(crate) fn encode(message: &NewMessage, position: Position) -> Result<Bytes> {
    let NewMessage { id, message_type, data, metadata, .. } = message.clone();
    let payload = Payload { id, message_type, position, data, metadata };
    let text = serde_json::to_vec(&payload).map_err(|error| Error::invalid("message", error.to_string()))?;
    Ok(text.into())
}

impl Record {
    pub(crate) fn global_position(&self) -> GlobalPosition {
        global_position(self.sequence)
    }

    /// The message of this record.
    ///
    /// # Errors
    /// [`Error::Backend`] if another program has written something else to the subjects of the store.
    pub(crate) fn message(&self, stream: StreamName) -> Result<Message> {
        let payload: Payload = self.decode()?;
        self.check(payload.position)?;
        let message = NewMessage::new(payload.message_type, payload.data).with_id(payload.id);
        let message = message.with_metadata_json(payload.metadata);
        Ok(message.written(stream, payload.position, self.global_position(), self.time))
    }

    /// The position of the message in its stream.
    pub(crate) fn position(&self) -> Result<Position> {
        #[derive(Deserialize)]
        struct Place {
            position: Position,
        }
        let Place { position } = self.decode()?;
        self.check(position)?;
        Ok(position)
    }

    /// Refuses a position that this record cannot have: each message before it in its stream has a record before it.
    fn check(&self, position: Position) -> Result<()> {
        if u64::try_from(position.get()).is_ok_and(|position| position < self.sequence) {
            return Ok(());
        }
        let context = format!("reading the record {} of {}", self.sequence, self.subject);
        Err(Error::backend(context, false, format!("its position {position} cannot be. {FOREIGN}")))
    }

    /// The content of a document.
    pub(crate) fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.payload).map_err(|error| {
            let context = format!("decoding the record {} of {}", self.sequence, self.subject);
            Error::backend(context, false, format!("{error}. {FOREIGN}"))
        })
    }
}

/// The global position of the message with this sequence number.
pub(crate) fn global_position(sequence: u64) -> GlobalPosition {
    GlobalPosition::new(i64::try_from(sequence).unwrap_or(i64::MAX))
}

/// The lowest sequence number at or above a global position.
pub(crate) fn sequence(position: GlobalPosition) -> u64 {
    u64::try_from(position.get()).unwrap_or_default().max(1)
}
