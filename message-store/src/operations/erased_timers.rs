//! The timers that wait with a message of what is erased.
//!
//! They keep their keys, times and ids, and lose the data of their messages. A timer that was fired, cancelled, moved or set
//! anew since it was listed stays as it is now: only the message with the listed id loses its data. A timer that is written
//! nevertheless, because it became due meanwhile, is erased as a message: this is done before the messages are read.

use crate::metadata::{erased_metadata, is_erased};
use crate::store::{TimerChange, TimerQuery};
use crate::{Json, MessageStore, Result, StreamName};

/// The number of timers that are listed at once.
const PART: usize = 500;

/// Erases the messages of the timers that belong to these streams, or whose messages are for them.
pub(super) async fn erase(store: &dyn MessageStore, is_target: impl Fn(&StreamName) -> bool) -> Result<()> {
    let Some(timers) = store.timers() else { return Ok(()) };
    let mut query = TimerQuery::new().limit(PART);
    loop {
        let listed = timers.list(query.clone()).await?;
        let Some(last) = listed.last() else { return Ok(()) };
        query = query.after(last);
        for timer in listed {
            let is_erased = is_erased(&timer.message.data, &timer.message.metadata);
            if is_erased || !(is_target(&timer.key.stream) || is_target(&timer.to)) {
                continue;
            }
            let (id, metadata) = (timer.id(), erased_metadata(&timer.message.metadata)?);
            timers.change(vec![TimerChange::Redact { key: timer.key, id, data: Json::NULL, metadata }]).await?;
        }
    }
}
