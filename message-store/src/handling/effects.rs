//! What was written for a message: found by its derived ids, or by what events of other toolkits say of their cause.

use futures_util::TryStreamExt as _;

use crate::sequence::{places_of, stamp_of};
use crate::{Error, Message, MessageRef, MessageStore, MessageStoreExt as _, Position, Result, StreamName, derived_id};

/// What the handler of this name has written to a stream for the message, by its derived ids.
pub(crate) async fn events_of(
    store: &dyn MessageStore,
    handler: &str,
    message: &Message,
    stream: &StreamName,
) -> Result<Vec<MessageRef>> {
    let mut events = Vec::new();
    while let Some(event) = store.message(derived_id(message.id, handler, "", stream, events.len())).await? {
        events.push(event.reference());
    }
    Ok(events)
}

/// Looks for an event that says it was caused by the message, and not by which handler: the ids that other toolkits
/// give are not derived.
pub(crate) async fn search(
    store: &dyn MessageStore,
    message: &Message,
    stream: &StreamName,
) -> Result<Option<MessageRef>> {
    let here = store.store_id();
    let places = places_of(message, here);
    let mut events = std::pin::pin!(store.stream_messages(stream, Position::FIRST));
    while let Some(event) = events.try_next().await? {
        let (Some(stamp), _) = stamp_of(&event, here) else { continue };
        if stamp.handler.is_none() && places.contains(&stamp.sequence) {
            return Ok(Some(event.reference()));
        }
    }
    Ok(None)
}

/// Refuses a message that stands under an id of ours and was written by another handler, or with another type.
///
/// # Errors
/// [`Error::IdConflict`].
pub(crate) fn assert_written_by(handler: &str, message_type: Option<&str>, found: &Message) -> Result<()> {
    let writer = found.decode_metadata().handler;
    let conflict = |reason| Err(Error::IdConflict { id: found.id, stream: found.stream.clone(), reason });
    if writer.as_deref() != Some(handler) {
        let writer = writer.map_or_else(|| "a writer without a name".to_owned(), |name| format!("the handler {name}"));
        return conflict(format!("it stands at {}, written by {writer}, not by {handler}", found.reference()));
    }
    match message_type {
        Some(expected) if expected != found.message_type => {
            conflict(format!("it stands at {} as a {}, not a {expected}", found.reference(), found.message_type))
        }
        _ => Ok(()),
    }
}
