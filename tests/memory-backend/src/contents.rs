//! The contents of the store: messages in the order of their global positions, and keys.

use std::collections::{BTreeMap, HashMap};

use message_store::store::{ClaimRecord, Stored, written_before};
use message_store::{
    Append, Appended, Error, GlobalPosition, Message, MessageId, Place, Position, Result, StreamName, Timestamp, Uuid,
    Version,
};

/// One lock protects all of it, so each call sees and leaves a consistent state.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) messages: Vec<Message>,
    /// The indexes in `messages` of each stream's messages.
    streams: HashMap<StreamName, Vec<usize>>,
    ids: HashMap<MessageId, usize>,
    /// By scope and key.
    pub(crate) keys: BTreeMap<(String, String), TakenKey>,
    /// By scope and key: the owner of the lease, and its end.
    pub(crate) leases: BTreeMap<(String, String), (Uuid, Timestamp)>,
}

#[derive(Debug)]
pub(crate) struct TakenKey {
    pub(crate) record: ClaimRecord,
    pub(crate) expires_at: Timestamp,
}

impl Contents {
    /// The messages of a stream, in order.
    pub(crate) fn stream(&self, stream: &StreamName) -> impl DoubleEndedIterator<Item = &Message> {
        self.streams.get(stream).into_iter().flatten().map(|&index| &self.messages[index])
    }

    pub(crate) fn message(&self, id: MessageId) -> Option<&Message> {
        self.ids.get(&id).map(|&index| &self.messages[index])
    }

    pub(crate) fn last_position(&self) -> GlobalPosition {
        self.messages.last().map_or(GlobalPosition::new(0), |last| last.global_position)
    }

    /// Appends all messages, or refuses all.
    pub(crate) fn append(&mut self, appends: Vec<Append>) -> Result<Appended> {
        let stored = appends.iter().flat_map(|append| &append.messages).filter_map(|message| self.message(message.id));
        let stored: HashMap<_, _> = stored.map(|message| (message.id, Stored::from(message))).collect();
        if let Some(places) = written_before(&appends, &stored)? {
            return Ok(Appended::already_written(places));
        }
        for Append { stream, expected, .. } in &appends {
            let actual = self.version(stream);
            if !expected.allows(actual) {
                let (stream, expected) = (stream.clone(), *expected);
                return Err(Error::WrongExpectedVersion { stream, expected, actual });
            }
        }
        let mut places = Vec::new();
        for Append { stream, messages, .. } in appends {
            for message in messages {
                let place =
                    Place { position: self.version(&stream).next(), global_position: self.last_position().next() };
                self.push(message.written(stream.clone(), place.position, place.global_position, Timestamp::now()));
                places.push(place);
            }
        }
        Ok(Appended::written(places))
    }

    fn version(&self, stream: &StreamName) -> Version {
        let count = self.streams.get(stream).map_or(0, Vec::len);
        i64::try_from(count)
            .ok()
            .and_then(|count| count.checked_sub(1))
            .filter(|&last| last >= 0)
            .map_or(Version::NO_STREAM, |last| Version::at(Position::new(last)))
    }

    fn push(&mut self, message: Message) {
        let index = self.messages.len();
        self.streams.entry(message.stream.clone()).or_default().push(index);
        self.ids.insert(message.id, index);
        self.messages.push(message);
    }
}
