//! The messages of a case, as a store stores them.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handling::Decider;
use crate::store::Query;
use crate::testing::golden::stored_message;
use crate::{Category, GlobalPosition, Json, Message, Metadata, NewMessage, Position, StreamName, Timestamp, Upcaster};

/// A message in the form of today.
pub(super) fn message(value: &impl Serialize, upcasters: &[Upcaster]) -> NewMessage {
    NewMessage::from_variant(value).unwrap().versioned(upcasters).unwrap()
}

/// A message as it is stored: the type, its version, and the data.
pub(super) fn of_version((message_type, version, data): (&str, u32, &str)) -> NewMessage {
    let version = Some(version).filter(|version| *version != 1).and_then(|version| version.try_into().ok());
    let message = NewMessage::new(message_type, Json::parse(data).unwrap());
    message.with_metadata(&Metadata::new().of_version(version)).unwrap()
}

/// A message as a handler receives it, for a test of [`process_id`](crate::handling::ProcessManager::process_id). It is the
/// first message of the stream and of the store, and has no metadata.
///
/// ```
/// # use serde::Serialize;
/// use message_store::testing::message_in;
///
/// #[derive(Serialize)]
/// enum Event { Shipped { order: String } }
///
/// let message = message_in("parcel-7", &Event::Shipped { order: "o1".into() });
/// assert_eq!(message.message_type, "Shipped");
/// assert_eq!(message.stream.cardinal_id(), Some("7"));
/// ```
pub fn message_in(stream: &str, value: &impl Serialize) -> Message {
    let stream = StreamName::new(stream).unwrap();
    let message = NewMessage::from_variant(value).unwrap();
    message.written(stream, Position::FIRST, GlobalPosition::FIRST, Timestamp::UNIX_EPOCH)
}

pub(super) fn messages(values: &[impl Serialize], upcasters: &[Upcaster]) -> Vec<NewMessage> {
    values.iter().map(|value| message(value, upcasters)).collect()
}

/// The values that a stored message is read as.
#[track_caller]
pub(super) fn read<T: DeserializeOwned>(stored: &Message, upcasters: &[Upcaster]) -> Vec<T> {
    let read = stored.decode_upcast(upcasters).unwrap_or_else(|error| panic!("{error}"));
    read.unwrap_or_else(|| panic!("{} is no type of this enum", stored.message_type))
}

/// The events of a decider, with their tags.
pub(super) fn event_messages<D: Decider>(events: &[D::Event]) -> Vec<NewMessage> {
    let tagged = |event| {
        let message = message(event, D::UPCASTERS);
        let metadata = Metadata::from_json(&message.metadata);
        let metadata = D::tags(event).into_iter().fold(metadata, Metadata::tag);
        message.with_metadata(&metadata).unwrap()
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
#[track_caller]
pub(super) fn survives_storage<T>(value: &T, upcasters: &[Upcaster])
where
    T: Serialize + DeserializeOwned + Debug + PartialEq,
{
    let message = message(value, upcasters);
    let read: Option<Vec<T>> = stored_message(&message)
        .decode_upcast(upcasters)
        .unwrap_or_else(|error| panic!("{value:?}, stored as {message:?}, cannot be read back: {error}"));
    let read = read.as_deref().unwrap_or_default();
    assert!(matches!(read, [one] if one == value), "{message:?} is read back as something else: {read:?}");
}
