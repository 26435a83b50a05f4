//! Functions that many rules use to write and read.

use crate::{
    Append, Appended, Category, Filter, Json, Message, MessageStore, NewMessage, Place, Position, Read, StreamName,
    StreamRead, Version,
};

pub(super) fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

pub(super) fn category(name: &str) -> Category {
    Category::new(name).unwrap()
}

pub(super) fn message(message_type: &str) -> NewMessage {
    NewMessage::new(message_type, Json::NULL)
}

pub(super) fn numbered(number: usize) -> NewMessage {
    NewMessage::new("Numbered", Json::encode(&number).unwrap())
}

/// A message of `bytes` bytes.
pub(super) fn sized(bytes: usize) -> NewMessage {
    NewMessage::new("T", Json::encode(&"x".repeat(bytes - 3)).unwrap())
}

/// An append of messages of these types to a stream, at any version.
pub(super) fn to(name: &str, types: &[&str]) -> Append {
    Append::to(stream(name)).messages(types.iter().map(|message_type| message(message_type)))
}

/// Appends messages of these types to a stream, at any version.
pub(super) async fn append(store: &dyn MessageStore, name: &str, types: &[&str]) -> Appended {
    store.append(to(name, types).into()).await.unwrap()
}

/// Appends a message to a stream, at any version.
pub(super) async fn append_one(store: &dyn MessageStore, name: &str, message: NewMessage) -> Place {
    store.append(Append::to(stream(name)).message(message).into()).await.unwrap().written[0]
}

/// Appends `count` numbered messages to a stream, in appends that the store's limits allow.
pub(super) async fn append_many(store: &dyn MessageStore, name: &str, count: usize) {
    let numbers: Vec<usize> = (0..count).collect();
    for part in numbers.chunks(store.limits().append_messages.min(1_000)) {
        let append = Append::to(stream(name)).messages(part.iter().map(|number| numbered(*number)));
        store.append(append.into()).await.unwrap();
    }
}

pub(super) fn positions(appended: &Appended) -> Vec<i64> {
    appended.written.iter().map(|place| place.position.get()).collect()
}

pub(super) fn types(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.message_type.as_str()).collect()
}

/// The types of a stream's messages.
pub(super) async fn types_in(store: &dyn MessageStore, name: &str) -> Vec<String> {
    let messages = store.read_stream(&stream(name), StreamRead::default()).await.unwrap();
    messages.into_iter().map(|message| message.message_type).collect()
}

/// Whether a stream has no messages.
pub(super) async fn is_empty(store: &dyn MessageStore, name: &str) -> bool {
    store.version(&stream(name)).await.unwrap() == Version::NO_STREAM && types_in(store, name).await.is_empty()
}

/// A read of the messages that pass a filter.
pub(super) fn filtered(filter: Filter) -> Read {
    Read::default().filter(filter)
}

/// The version of a stream whose last message is at this position.
pub(super) fn version(position: i64) -> Version {
    Version::at(Position::new(position))
}
