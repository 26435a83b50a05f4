//! Copies of messages, as they are written to another store.

use std::collections::BTreeSet;

use crate::intents::cause_of;
use crate::sequence::place_of;
use crate::{
    Append, Error, Message, MessageStore, MessageStoreExt as _, Metadata, NewMessage, Result, Sequence, StreamName,
};

/// A message of the store `from`, as it is written to another store: its metadata has the place of its original.
pub(crate) async fn copy_of(message: &Message, from: &dyn MessageStore) -> Result<Message> {
    let (mut metadata, here) = (message.decode_metadata(), from.store_id());
    // Another toolkit names a cause by its place. If the cause is a copy, its other copies do not know that place.
    if metadata.names_only_a_place_in(here) {
        let cause = cause_of(from, &metadata).await?;
        // A cause is always before its event. A message after the event took the named place later.
        let cause = cause.filter(|cause| cause.global_position < message.global_position);
        metadata.cause_origin = cause.and_then(|cause| cause.decode_metadata().origin);
    }
    copied_from(&mut metadata, place_of(message, here));
    Ok(Message { metadata: metadata.to_storable_json()?, ..message.clone() })
}

/// Records the place from which a message is copied.
pub(super) fn copied_from(metadata: &mut Metadata, place: Sequence) {
    match metadata.origin {
        None => metadata.origin = Some(place),
        // The message is a copy already. Events that were written for it in this store name its place here.
        Some(_) => metadata.via.push(place),
    }
}

/// Writes copies in their order. Returns the number of those that were not there before.
pub(crate) async fn write(copies: &[Message], to: &dyn MessageStore) -> Result<u64> {
    let mut written = 0;
    for part in parts(copies) {
        written += write_part(part, to).await?;
    }
    Ok(written)
}

/// Writes a part in one append.
async fn write_part(copies: &[Message], to: &dyn MessageStore) -> Result<u64> {
    match append(copies, to).await {
        // An earlier run wrote some of these in other parts, so each is appended separately.
        Err(Error::IdConflict { .. }) if copies.len() > 1 => {
            let mut written = 0;
            for copy in copies.chunks(1) {
                written += append_alone(copy, to).await?;
            }
            Ok(written)
        }
        Err(Error::IdConflict { .. }) => append_alone(copies, to).await,
        result => result,
    }
}

/// Appends one message. It may have been erased after an earlier run.
async fn append_alone(copy: &[Message], to: &dyn MessageStore) -> Result<u64> {
    match append(copy, to).await {
        Err(Error::IdConflict { .. }) if is_erased_there(&copy[0], to).await? => Ok(0),
        result => result,
    }
}

/// Whether the target has this message, erased or not, and the message is erased.
async fn is_erased_there(copy: &Message, to: &dyn MessageStore) -> Result<bool> {
    let found = if copy.is_erased() { to.message(copy.id).await? } else { None };
    Ok(found.is_some_and(|found| found.stream == copy.stream && found.message_type == copy.message_type))
}

async fn append(copies: &[Message], to: &dyn MessageStore) -> Result<u64> {
    let mut appends: Vec<Append> = Vec::new();
    for copy in copies {
        let message = NewMessage::again(copy);
        match appends.last_mut() {
            Some(append) if append.stream == copy.stream => append.messages.push(message),
            _ => appends.push(Append::to(copy.stream.clone()).message(message)),
        }
    }
    let appended = to.append_settled(appends).await?;
    Ok(if appended.already_written { 0 } else { copies.len() as u64 })
}

/// Divides messages into parts that keep their order when each is one append: within a part, the messages of a stream
/// are adjacent.
fn parts(messages: &[Message]) -> Vec<&[Message]> {
    let mut parts = Vec::new();
    let (mut begin, mut seen): (usize, BTreeSet<&StreamName>) = (0, BTreeSet::new());
    for (at, message) in messages.iter().enumerate() {
        let goes_on = at > begin && messages[at - 1].stream == message.stream;
        if !goes_on && !seen.insert(&message.stream) {
            parts.push(&messages[begin..at]);
            begin = at;
            seen = BTreeSet::from([&message.stream]);
        }
    }
    if begin < messages.len() {
        parts.push(&messages[begin..]);
    }
    parts
}
