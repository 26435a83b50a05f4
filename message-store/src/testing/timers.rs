//! Timers in tests.

use crate::MessageStore;
use crate::store::TimerQuery;

/// Fires all timers of a store that are due, and returns their number. With a [`FaultyStore`](super::FaultyStore), a test
/// can let time pass before.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use std::time::Duration;
/// use message_store::store::{Due, TimerChange, TimerKey};
/// use message_store::testing::{FaultyStore, fire_timers};
/// use message_store::{Json, MessageStore, NewMessage, StreamName};
///
/// let store = FaultyStore::new(&message_store::connect("sqlite::memory:").await?);
/// let key = TimerKey::new(StreamName::new("transfer-7")?, "time-out");
/// let message = NewMessage::new("TimeOut", Json::NULL);
/// let set = TimerChange::set(key, Due::After(Duration::from_secs(60)), StreamName::new("transfer:command-7")?, message);
/// store.timers().unwrap().change(vec![set]).await?;
/// assert_eq!(fire_timers(&*store).await, 0);
/// store.pass(Duration::from_secs(60));
/// assert_eq!(fire_timers(&*store).await, 1);
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn fire_timers(store: &dyn MessageStore) -> usize {
    let timers = store.timers().expect("a store with timers");
    let mut fired = 0;
    loop {
        let due = timers.list(TimerQuery::new().due_within(std::time::Duration::ZERO)).await.unwrap();
        match timers.fire(&due).await.unwrap() {
            0 => return fired,
            count => fired += count,
        }
    }
}
