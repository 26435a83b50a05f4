//! The position at a time.

use jiff::Timestamp;

use crate::{Category, GlobalPosition, MessageStore, Read, Result};

/// The position before the first message of this time or a later one, in a category or in the store. Times rise with the
/// positions, apart from jumps of the clock, so few reads find it.
pub(crate) async fn position_before(
    store: &dyn MessageStore,
    category: Option<&Category>,
    time: Timestamp,
) -> Result<GlobalPosition> {
    let (mut low, mut high) = (GlobalPosition::ZERO, store.given_out(category).await?);
    // All messages up to `low` are earlier, and those above `high` are not.
    while low < high {
        let middle = GlobalPosition::new(low.get() + (high.get() - low.get() + 1) / 2);
        let read = Read::from(middle).limit(1);
        let found = match category {
            Some(category) => store.read_category(category, read).await?,
            None => store.read_all(read).await?,
        };
        match found.messages.first() {
            Some(message) if message.time < time => low = message.global_position.min(high),
            _ => high = middle.previous(),
        }
    }
    Ok(low)
}
