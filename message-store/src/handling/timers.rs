//! The timers that a handler sets: their ids, and the metadata of their messages.

use super::followed::follow;
use crate::derived_id::DeriveId;
use crate::store::{TimerChange, TimerKey};
use crate::{Json, Message, MessageId, Metadata, Result, StreamName};

/// Completes the timers that are changed for a message: their messages follow from it, as its other messages do, and have
/// ids that are derived from it. So a timer that is set for it again is the same timer.
pub(super) fn complete(
    timers: &mut [TimerChange],
    cause: &Message,
    (handler, write): (&str, &str),
    (metadata, followed): (&Metadata, &mut Option<Json>),
    derive_id: DeriveId,
) -> Result<()> {
    for (index, change) in timers.iter_mut().enumerate() {
        if let TimerChange::Set { key, to, message, .. } = change {
            message.id = timer_id(cause.id, (handler, write), (key, index), to, derive_id);
            message.metadata = follow(metadata, &message.metadata, followed)?;
        }
    }
    Ok(())
}

/// Derived in two steps, so that it is not the id of another message of the same write.
fn timer_id(
    cause: MessageId,
    (handler, write): (&str, &str),
    (key, index): (&TimerKey, usize),
    to: &StreamName,
    derive_id: DeriveId,
) -> MessageId {
    let write = derive_id(cause, handler, write, &key.stream, index);
    derive_id(write, handler, &key.name, to, index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived_id;

    #[test]
    fn the_id_of_a_timer_depends_on_its_key_and_is_no_other_id_of_the_write() {
        let stream = |name| StreamName::new(name).unwrap();
        let (cause, to) = (MessageId::new(), stream("transfer:command-7"));
        let id = |stream_name, name: &str, index| {
            timer_id(cause, ("transfer", ""), (&TimerKey::new(stream(stream_name), name), index), &to, derived_id)
        };
        let first = id("transfer-7", "time-out", 0);
        assert_eq!(first, id("transfer-7", "time-out", 0));
        for other in [
            id("transfer-8", "time-out", 0),
            id("transfer-7", "reminder", 0),
            id("transfer-7", "time-out", 1),
            derived_id(cause, "transfer", "", &to, 0),
            derived_id(cause, "transfer", "time-out", &to, 0),
        ] {
            assert_ne!(first, other);
        }
    }
}
