//! The sender writes the planned messages in parts.

use std::sync::Arc;

use anyhow::Result;
use message_store::{
    Append, Appended, Error, GlobalPosition, MessageStore, MessageStoreExt as _, NewMessage, StreamName,
};

use super::plan::Plan;

/// The largest number of messages in one append, where the store allows it.
const PART: usize = 500;

/// Writes the messages that are not written yet. Returns the highest global position of all planned messages.
pub(super) async fn send(
    store: &Arc<dyn MessageStore>,
    plan: &Plan,
    mut written: impl FnMut(usize),
) -> Result<GlobalPosition> {
    let mut last = GlobalPosition::ZERO;
    for part in plan.parts(PART.min(store.limits().append_messages)) {
        let mut note = |appended: &Appended| {
            last = appended.written.iter().map(|place| place.global_position).fold(last, Ord::max);
        };
        match store.append_settled(by_stream(part)).await {
            Ok(appended) => note(&appended),
            // An earlier run with other arguments wrote some of them, so each is appended separately.
            Err(Error::IdConflict { .. }) => {
                for message in part {
                    note(&store.append_settled(by_stream(std::slice::from_ref(message))).await?);
                }
            }
            Err(error) => return Err(error.into()),
        }
        written(part.len());
    }
    Ok(last)
}

/// One append for each stream; within a stream the order is kept.
fn by_stream(messages: &[(StreamName, NewMessage)]) -> Vec<Append> {
    let mut appends: Vec<Append> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (stream, message) in messages {
        let place = *places.entry(stream).or_insert_with(|| {
            appends.push(Append::to(stream.clone()));
            appends.len() - 1
        });
        appends[place].messages.push(message.clone());
    }
    appends
}
