//! What a handler writes: messages, and timers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use jiff::SignedDuration;
use serde::Serialize;

use super::super::storage::message;
use crate::store::{Due, Timer, TimerKey};
use crate::{Json, NewMessage, StreamName};

/// A message that a handler must write, at once or by a timer: [`written_to`].
#[derive(Clone, Debug)]
#[must_use]
pub struct WrittenTo {
    stream: StreamName,
    message: NewMessage,
    timer: Option<(TimerKey, Due)>,
}

/// A message in a stream, for [`WhenHandled::then`](crate::testing::WhenHandled::then).
pub fn written_to(stream: &str, value: &impl Serialize) -> WrittenTo {
    WrittenTo { stream: StreamName::new(stream).unwrap(), message: message(value, &[]), timer: None }
}

impl WrittenTo {
    /// Says that a timer writes the message: after the case, it waits under this name among the timers of `stream`.
    pub fn by_timer(mut self, stream: &str, name: &str, due: Due) -> Self {
        self.timer = Some((TimerKey::new(StreamName::new(stream).unwrap(), name), due));
        self
    }
}

/// The times at which timers must be due.
pub(super) type Dues = BTreeMap<TimerKey, Due>;

/// What is found after a case, or must be.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Written {
    /// The types and data of the messages of each stream, in order.
    streams: BTreeMap<String, Vec<(String, Json)>>,
    /// The timers that wait.
    timers: BTreeMap<TimerKey, Waiting>,
}

/// A timer that waits, and the message that it writes.
#[derive(Debug, PartialEq)]
struct Waiting {
    due: Due,
    stream: String,
    message_type: String,
    data: Json,
}

impl Written {
    pub(super) fn add(&mut self, WrittenTo { stream, message, timer }: WrittenTo) {
        let NewMessage { message_type, data, .. } = message;
        let Some((key, due)) = timer else { return self.add_message(&stream, message_type, data) };
        let waiting = Waiting { due, stream: stream.as_str().to_owned(), message_type, data };
        assert!(self.timers.insert(key.clone(), waiting).is_none(), "{key:?} is expected twice");
    }

    pub(super) fn add_message(&mut self, stream: &StreamName, message_type: String, data: Json) {
        self.streams.entry(stream.as_str().to_owned()).or_default().push((message_type, data));
    }

    /// Adds a timer that waits. It was set after `begun`.
    pub(super) fn add_timer(&mut self, timer: Timer, expected: &Dues, begun: Instant) {
        let due = expected.get(&timer.key).copied().filter(|due| is_due(*due, &timer, begun));
        let Timer { key, due: at, to, message: NewMessage { message_type, data, .. }, .. } = timer;
        let due = due.unwrap_or(Due::At(at));
        self.timers.insert(key, Waiting { due, stream: to.as_str().to_owned(), message_type, data });
    }

    pub(super) fn message_types(&self) -> BTreeSet<String> {
        self.streams.values().flatten().map(|(message_type, _)| message_type.clone()).collect()
    }

    pub(super) fn dues(&self) -> Dues {
        self.timers.iter().map(|(key, timer)| (key.clone(), timer.due)).collect()
    }
}

/// Whether a timer that was set after `begun` is due at this time.
fn is_due(due: Due, timer: &Timer, begun: Instant) -> bool {
    match due {
        Due::At(time) => time.as_microsecond() == timer.due.as_microsecond(),
        Due::After(time) => {
            let [time, passed] = [time, begun.elapsed()].map(|time| SignedDuration::try_from(time).unwrap());
            (time - passed..=time).contains(&timer.due_in)
        }
    }
}
