//! What a verification remembers of the messages that it has read.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher as _};

use serde::de::IgnoredAny;

use super::Defect;
use crate::{GlobalPosition, Json, Message, MessageId, Metadata, Position, Stamped, StoreId, StreamName, Uuid};

/// What is remembered of all messages.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) here: StoreId,
    ids: Vec<u128>,
    /// The hashes of the places.
    places: Vec<u64>,
    /// The causes that messages name.
    causes: Vec<Cause>,
}

#[derive(Debug)]
struct Cause {
    place: u64,
    /// The message of which it is the cause.
    effect: GlobalPosition,
    stream: Box<str>,
    position: Position,
}

impl Seen {
    pub(super) fn new(here: StoreId) -> Self {
        Self { here, ids: Vec::new(), places: Vec::new(), causes: Vec::new() }
    }

    pub(super) fn note(&mut self, message: &Message, metadata: Metadata) {
        self.ids.push(message.id.as_uuid().as_u128());
        self.places.push(place(message.stream.as_str(), message.position, message.global_position));
        // A copy names a place of the store from which it comes.
        if metadata.origin.is_some() {
            return;
        }
        let Some(Stamped::Here(global_position)) = metadata.sequence else { return };
        let (stream, position) = (metadata.causation_message_stream_name, metadata.causation_message_position);
        if let (Some(stream), Some(position)) = (stream, position) {
            let place = place(&stream, position, global_position);
            self.causes.push(Cause { place, effect: message.global_position, stream: stream.into(), position });
        }
    }

    /// After all messages were noted.
    pub(super) fn compare_ids_and_causes(mut self, found: &mut impl FnMut(Defect)) {
        self.ids.sort_unstable();
        for two in self.ids.windows(2).filter(|two| two[0] == two[1]) {
            found(Defect::RepeatedId(MessageId::from_uuid(Uuid::from_u128(two[0]))));
        }
        self.places.sort_unstable();
        for Cause { place, effect, stream, position } in self.causes {
            if self.places.binary_search(&place).is_err() {
                found(Defect::NoSuchCause { effect, cause: format!("{stream} at {position}") });
            }
        }
    }
}

fn place(stream: &str, position: Position, global_position: GlobalPosition) -> u64 {
    hash((stream, position.get(), global_position.get()))
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What is remembered of the messages of one category.
#[derive(Debug, Default)]
pub(super) struct SeenInCategory {
    pub(super) streams: HashMap<StreamName, LastSeen>,
    last: Option<GlobalPosition>,
    /// The hashes of stream, handler, cause and type of the messages.
    done: HashSet<u64>,
}

#[derive(Debug)]
pub(super) struct LastSeen {
    pub(super) position: Position,
    /// The handler and the cause of the last message.
    written_for: u64,
    /// The types of the messages that were written in one place for that cause.
    types: HashSet<u64>,
}

impl SeenInCategory {
    pub(super) fn compare(
        &mut self,
        message: &Message,
        metadata: &Metadata,
        here: StoreId,
        found: &mut impl FnMut(Defect),
    ) {
        if let Some(after) = self.last.filter(|last| *last >= message.global_position) {
            found(Defect::OutOfOrder { found: message.reference(), after });
        }
        self.last = self.last.max(Some(message.global_position));
        if let Some(what) = unreadable(message) {
            found(Defect::Unreadable { message: message.reference(), what });
        }
        if metadata.reserves.is_some() && message.position > Position::FIRST {
            found(Defect::SecondReservation(message.reference()));
        }
        let written_for = metadata.handler.as_ref().zip(metadata.cause(here)).map(hash);
        let of_type = hash((&message.stream, written_for, &message.message_type));
        let expected = match self.streams.entry(message.stream.clone()) {
            Entry::Vacant(first) => {
                let types = written_for.is_some().then_some(of_type).into_iter().collect();
                first.insert(LastSeen {
                    position: message.position,
                    written_for: written_for.unwrap_or_default(),
                    types,
                });
                Position::FIRST
            }
            Entry::Occupied(mut last) => {
                let last = last.get_mut();
                let expected = last.position.next();
                last.position = last.position.max(message.position);
                if written_for != Some(last.written_for) {
                    self.done.extend(last.types.drain());
                    last.written_for = written_for.unwrap_or_default();
                }
                last.types.extend(written_for.is_some().then_some(of_type));
                expected
            }
        };
        if let Some(handler) =
            metadata.handler.as_ref().filter(|_| written_for.is_some() && self.done.contains(&of_type))
        {
            found(Defect::DoneTwice { again: message.reference(), handler: handler.clone() });
        }
        if message.position != expected {
            found(Defect::WrongPosition { found: message.reference(), expected });
        }
    }
}

/// What of a message cannot be read.
fn unreadable(message: &Message) -> Option<String> {
    let is_json = |json: &Json| json.as_str().is_none_or(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    if !is_json(&message.data) {
        return Some("its data is no JSON".to_owned());
    }
    if !is_json(&message.metadata) {
        return Some("its metadata is no JSON".to_owned());
    }
    None
}
