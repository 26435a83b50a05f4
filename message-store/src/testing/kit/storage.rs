//! The messages of a case, as a store stores them.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handling::Decider;
use crate::store::Query;
use crate::{Category, GlobalPosition, Message, Metadata, NewMessage, Position, Timestamp};

pub(super) fn message(value: &impl Serialize) -> NewMessage {
    NewMessage::from_variant(value).unwrap()
}

pub(super) fn messages(values: &[impl Serialize]) -> Vec<NewMessage> {
    values.iter().map(message).collect()
}

/// The events of a decider, with their tags.
pub(super) fn event_messages<D: Decider>(events: &[D::Event]) -> Vec<NewMessage> {
    let tagged = |event| {
        let metadata = D::tags(event).into_iter().fold(Metadata::new(), Metadata::tag);
        message(event).with_metadata(&metadata).unwrap()
    };
    events.iter().map(tagged).collect()
}

/// The messages that match a query, of the entity `1` and of others, as a read returns them.
pub(super) fn matching<D: Decider>(
    query: &Query,
    given: &[NewMessage],
    others: &[(String, Vec<NewMessage>)],
) -> Vec<Message> {
    let category = Category::new(D::CATEGORY).unwrap();
    let own = std::iter::once(("1", given));
    let (mut found, mut global_position) = (Vec::new(), GlobalPosition::FIRST);
    for (id, messages) in others.iter().map(|(id, messages)| (id.as_str(), &messages[..])).chain(own) {
        let mut position = Position::FIRST;
        for message in messages {
            let stream = category.stream(id).unwrap();
            found.push(message.clone().written(stream, position, global_position, Timestamp::UNIX_EPOCH));
            (position, global_position) = (position.next(), global_position.next());
        }
    }
    found.retain(|message| query.matches(message));
    found
}

/// Panics unless the value is equal after it was encoded and decoded.
pub(super) fn survives_storage<T: Serialize + DeserializeOwned + Debug + PartialEq>(value: &T) {
    let stored = message(value);
    let read: Option<T> = crate::variant::decode(&stored.message_type, &stored.data)
        .unwrap_or_else(|error| panic!("{value:?}, stored as {stored:?}, cannot be read back: {error}"));
    assert_eq!(read.as_ref(), Some(value), "{stored:?} is read back as something else");
}
