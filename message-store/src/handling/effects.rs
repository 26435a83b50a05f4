//! The events that were written for a message: found by their derived ids, or by the causes that events of other
//! toolkits name.

use futures_util::TryStreamExt as _;

use crate::sequence::{places_of, stamp_of};
use crate::{
    Error, Message, MessageId, MessageRef, MessageStore, MessageStoreExt as _, Position, Result, StreamName, derived_id,
};

/// The events that the handler named `handler` has written to `stream` for the message, found by their derived ids.
pub(crate) async fn events_of(
    store: &dyn MessageStore,
    handler: &str,
    message: &Message,
    stream: &StreamName,
) -> Result<Vec<MessageRef>> {
    let events = events_written(store, handler, message.id, stream).await?;
    Ok(events.iter().map(Message::reference).collect())
}

/// As [`events_of`], with their content, for the message with this id.
pub(crate) async fn events_written(
    store: &dyn MessageStore,
    handler: &str,
    cause: MessageId,
    stream: &StreamName,
) -> Result<Vec<Message>> {
    let mut events = Vec::new();
    while let Some(event) = store.message(derived_id(cause, handler, "", stream, events.len())).await? {
        events.push(event);
    }
    Ok(events)
}

/// The events that were written in one append with `first`, for the same message, by their stamps.
pub(crate) async fn events_from(store: &dyn MessageStore, first: Message) -> Result<Vec<Message>> {
    let here = store.store_id();
    let cause = |event: &Message| stamp_of(event, here).map(|stamp| (stamp.sequence, stamp.handler));
    let (stream, next, first_cause) = (first.stream.clone(), first.position.next(), cause(&first));
    let mut events = vec![first];
    let mut following = std::pin::pin!(store.stream_messages(&stream, next));
    while let Some(event) = following.try_next().await? {
        if first_cause.is_none() || cause(&event) != first_cause {
            break;
        }
        events.push(event);
    }
    Ok(events)
}

/// Searches for an event of another toolkit that names the message as its cause. Such an event names no handler, and
/// its id is not derived, so the search reads the whole stream.
pub(crate) async fn find_by_stamps(
    store: &dyn MessageStore,
    message: &Message,
    stream: &StreamName,
) -> Result<Option<MessageRef>> {
    let here = store.store_id();
    let places = places_of(message, here);
    let mut events = std::pin::pin!(store.stream_messages(stream, Position::FIRST));
    while let Some(event) = events.try_next().await? {
        let Some(stamp) = stamp_of(&event, here) else { continue };
        if stamp.handler.is_none() && places.contains(&stamp.sequence) {
            return Ok(Some(event.reference()));
        }
    }
    Ok(None)
}

/// Fails if `found`, which has an id that `handler` derives, was written by another handler or has another type.
///
/// # Errors
/// [`Error::IdConflict`].
pub(crate) fn assert_written_by(handler: &str, message_type: Option<&str>, found: &Message) -> Result<()> {
    let writer = found.decode_metadata().handler;
    let conflict = |reason| Err(Error::IdConflict { id: found.id, stream: found.stream.clone(), reason });
    if writer.as_deref() != Some(handler) {
        let writer = writer.map_or_else(|| "a writer without a name".to_owned(), |name| format!("the handler {name}"));
        return conflict(format!("{writer} has written the message at {}, not {handler}", found.reference()));
    }
    match message_type {
        Some(expected) if expected != found.message_type => {
            conflict(format!("the message at {} is a {}, not a {expected}", found.reference(), found.message_type))
        }
        _ => Ok(()),
    }
}
