//! The timers of a category that is copied to another store.
//!
//! A timer keeps its key, its time and the id of its message. If it has fired in the new store, or another one of its key
//! waits there, it is left out. Why it fires once after all, although it waits in both stores: its message has one id, so a
//! copy of the message that the old store wrote is the message that the new store wrote.

use crate::store::{Due, IfWaiting, Timer, TimerChange, TimerChanged, TimerQuery};
use crate::{Category, Error, MessageStore, Metadata, Result, Stamped};

/// The number of timers that are copied at once.
const PART: usize = 500;

/// Copies the timers whose keys have streams of a category. Returns the number of those that the new store now has and had
/// not before.
pub(super) async fn copy(from: &dyn MessageStore, to: &dyn MessageStore, category: &Category) -> Result<u64> {
    let Some(timers) = from.timers() else { return Ok(0) };
    let mut query = TimerQuery::new().of_category(category.clone()).limit(PART);
    let mut copied = 0;
    loop {
        let listed = timers.list(query.clone()).await?;
        let Some(last) = listed.last() else { return Ok(copied) };
        query = query.after(last);
        let changes = listed.into_iter().map(|timer| copy_of_timer(timer, from)).collect::<Result<Vec<_>>>()?;
        copied += set(changes, to, category.as_str()).await?;
    }
}

/// A timer of the store `from`, as it is set in another store.
pub(crate) fn copy_of_timer(mut timer: Timer, from: &dyn MessageStore) -> Result<Timer> {
    let mut metadata = Metadata::from_json(&timer.message.metadata);
    if let Some(cause) = metadata.cause(from.store_id()) {
        // In the new store, the place of the cause alone would be that of another message.
        metadata.sequence = Some(Stamped::Elsewhere(cause));
        timer.message.metadata = metadata.to_storable_json()?;
    }
    Ok(timer)
}

/// Sets copies of timers. Returns the number of those that the store now has and had not before.
pub(crate) async fn set(copies: Vec<Timer>, to: &dyn MessageStore, whose: &str) -> Result<u64> {
    let unsupported =
        || Error::Unsupported { store: to.describe(), what: format!("timers, of which {whose} has some") };
    let target = to.timers().ok_or_else(unsupported)?;
    let change = |Timer { key, due, to, message, .. }| TimerChange::Set {
        key,
        due: Due::At(due),
        to,
        message,
        if_waiting: IfWaiting::Keep,
    };
    let changed = target.change(copies.into_iter().map(change).collect()).await?;
    Ok(changed.iter().filter(|changed| **changed == TimerChanged::Set).count() as u64)
}
