//! Timers: one document for each. A process keeps the timers that wait in memory, by the times at which they are due, and
//! reads what has changed since it listed them last. The clock is the clock of the server that leads the log.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use message_store::store::{IfWaiting, Timer, TimerChange, TimerChanged, TimerKey, TimerQuery, Timers};
use message_store::{
    Append, Error, History, Json, MessageId, MessageStore as _, NewMessage, Result, StreamName, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::batch::MAX_RECORDS;
use crate::documents::{Change, Document, REMOVED_FOR, WhenLost};
use crate::leases::between;
use crate::log::{Log, LogState};
use crate::store::JetstreamStore;
use crate::write::{Attempt, Write, Written};

const TIMER: &str = "timer";
/// The timers that are fired at once.
const AT_ONCE: usize = 16;

/// A timer that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    stream: StreamName,
    name: String,
    due: Timestamp,
    to: StreamName,
    id: MessageId,
    #[serde(rename = "type")]
    message_type: String,
    #[serde(default)]
    data: Json,
    #[serde(default)]
    metadata: Json,
}

impl Waiting {
    fn new(key: &TimerKey, due: Timestamp, to: &StreamName, message: &NewMessage) -> Self {
        Self {
            stream: key.stream.clone(),
            name: key.name.clone(),
            due,
            to: to.clone(),
            id: message.id,
            message_type: message.message_type.clone(),
            data: message.data.clone(),
            metadata: message.metadata.clone(),
        }
    }

    fn key(&self) -> TimerKey {
        TimerKey::new(self.stream.clone(), self.name.clone())
    }

    fn message(&self) -> NewMessage {
        let message = NewMessage::new(self.message_type.clone(), self.data.clone()).with_id(self.id);
        message.with_metadata_json(self.metadata.clone())
    }

    fn listed(&self, now: Timestamp) -> Timer {
        Timer::new(self.key(), (self.due, self.due.duration_since(now)), self.to.clone(), self.message())
    }

    /// Whether it still waits as it was listed.
    fn is(&self, listed: &Timer) -> bool {
        (self.id, self.due) == (listed.id(), listed.due)
    }
}

/// The timers that wait, as far as this process has read.
#[derive(Debug, Default)]
pub(crate) struct KnownTimers {
    waiting: BTreeMap<(Timestamp, TimerKey), Waiting>,
    due: HashMap<String, (Timestamp, TimerKey)>,
    /// The sequence number up to which the documents were read.
    through: u64,
    /// When that was, by the server's clock.
    at: Option<Timestamp>,
    history: History,
}

impl KnownTimers {
    /// Reads what has changed.
    async fn refresh(&mut self, log: &Log, state: LogState, history: History) -> Result<()> {
        let LogState { now, last, .. } = state;
        let forgets_after = Duration::from_secs(REMOVED_FOR / 2);
        // The server may have forgotten that a timer was removed; and another history has other timers.
        if self.at.is_some_and(|at| between(at, now) > forgets_after) || self.history != history || last < self.through
        {
            *self = Self { history, ..Self::default() };
        }
        let timers = log.subjects.documents(TIMER, &[]);
        loop {
            let read = log.range(&timers, self.through + 1, MAX_RECORDS, 8 << 20).await?;
            for record in &read.records {
                self.put(Document::of(record)?);
                self.through = record.sequence;
            }
            if read.is_end() || read.records.is_empty() {
                self.at = Some(now);
                return Ok(());
            }
        }
    }

    fn put(&mut self, document: Document<Waiting>) {
        if let Some(earlier) = self.due.remove(&document.subject) {
            self.waiting.remove(&earlier);
        }
        if let Some(waiting) = document.content {
            let place = (waiting.due, waiting.key());
            self.due.insert(document.subject, place.clone());
            self.waiting.insert(place, waiting);
        }
    }

    fn list(&self, query: &TimerQuery, now: Timestamp) -> Vec<Timer> {
        let latest = query.due_within.map(|within| crate::deduplication::after(now, within));
        let is_listed = |waiting: &&Waiting| {
            query.category.as_ref().is_none_or(|category| waiting.stream.category() == *category)
                && query.after.as_ref().is_none_or(|after| (waiting.due, waiting.key()) > *after)
        };
        let from = query.after.as_ref().map_or((Timestamp::MIN, first_key()), |(due, key)| (*due, key.clone()));
        let waiting = self.waiting.range(from..).map(|(_, waiting)| waiting);
        let waiting = waiting.take_while(|waiting| latest.is_none_or(|latest| waiting.due <= latest));
        waiting.filter(is_listed).take(query.limit).map(|waiting| waiting.listed(now)).collect()
    }
}

/// The first of all keys.
fn first_key() -> TimerKey {
    TimerKey::new(StreamName::from_database(""), "")
}

impl JetstreamStore {
    fn timer(&self, key: &TimerKey) -> String {
        self.log.subjects.document(TIMER, &[key.stream.as_str(), &key.name])
    }

    /// Adds changes of timers to an attempt, in their order.
    pub(crate) async fn change_timers(
        &self,
        attempt: &mut Attempt,
        changes: &[TimerChange],
        now: Timestamp,
    ) -> Result<Vec<TimerChanged>> {
        let mut results = Vec::new();
        let mut subjects: Vec<_> = changes.iter().map(|change| self.timer(change.key())).collect();
        let of_changes = subjects.clone();
        subjects.sort_unstable();
        subjects.dedup();
        let documents = self.log.documents::<Waiting>(subjects).await?;
        let mut contents: BTreeMap<_, _> =
            documents.iter().map(|document| (document.subject.as_str(), document.content.clone())).collect();
        for (change, subject) in changes.iter().zip(&of_changes) {
            if let Some(waiting) = contents.get_mut(subject.as_str()) {
                results.push(self.change_timer(waiting, change, now).await?);
            }
        }
        for document in &documents {
            match contents.remove(document.subject.as_str()).flatten() {
                content if content == document.content => {}
                Some(waiting) => attempt.entries.push(document.replaced_by(&waiting)?),
                None => attempt.entries.push(document.removed()),
            }
        }
        Ok(results)
    }

    async fn change_timer(
        &self,
        waiting: &mut Option<Waiting>,
        change: &TimerChange,
        now: Timestamp,
    ) -> Result<TimerChanged> {
        Ok(match (change, waiting) {
            (TimerChange::Set { key, due, to, message, if_waiting }, waiting) => {
                // Another message may have the id. Then the timer gets another one when it fires.
                let written = self.find(message.id).await?;
                if written.is_some_and(|found| found.stream == *to && found.message_type == message.message_type) {
                    return Ok(TimerChanged::Fired);
                }
                let due = microseconds(due.at(now));
                match (waiting.as_ref(), if_waiting) {
                    (Some(_), IfWaiting::Keep) => TimerChanged::Kept,
                    (Some(earlier), _) if earlier.id == message.id => TimerChanged::Kept,
                    (Some(earlier), kind) => {
                        let due = if *kind == IfWaiting::KeepDue { earlier.due } else { due };
                        *waiting = Some(Waiting::new(key, due, to, message));
                        TimerChanged::Replaced
                    }
                    (None, _) => {
                        *waiting = Some(Waiting::new(key, due, to, message));
                        TimerChanged::Set
                    }
                }
            }
            (TimerChange::Move { due, .. }, Some(waiting)) => {
                waiting.due = microseconds(due.at(now));
                TimerChanged::Moved
            }
            (TimerChange::Redact { id, data, metadata, .. }, Some(waiting)) if waiting.id == *id => {
                (waiting.data, waiting.metadata) = (data.clone(), metadata.clone());
                TimerChanged::Redacted
            }
            (TimerChange::Cancel { .. }, waiting @ Some(_)) => {
                *waiting = None;
                TimerChanged::Cancelled
            }
            _ => TimerChanged::NotWaiting,
        })
    }

    /// Adds the removal of a timer to an attempt that writes its message. Returns `false` if it no longer waits as it was
    /// listed.
    pub(crate) async fn remove_fired(&self, attempt: &mut Attempt, listed: &Timer) -> Result<bool> {
        let document = self.log.document::<Waiting>(self.timer(&listed.key)).await?;
        let waits = document.content.as_ref().is_some_and(|waiting| waiting.is(listed));
        if waits {
            attempt.entries.push(document.removed());
        }
        Ok(waits)
    }

    /// Writes the message of a timer and removes the timer. Returns whether this call has removed it.
    async fn fire_one(&self, listed: &Timer) -> Result<bool> {
        let document = self.log.document::<Waiting>(self.timer(&listed.key)).await?;
        // Its content may have been redacted since it was listed.
        let Some(waiting) = document.content.filter(|waiting| waiting.is(listed)) else { return Ok(false) };
        let append = Append::to(waiting.to.clone()).message(waiting.message());
        let write = Write { appends: vec![append], fires: Some(listed.clone()), ..Write::default() };
        match self.write(&write).await {
            Ok(Written::Appended(appended)) if !appended.already_written => Ok(!appended.written.is_empty()),
            // The message was written before, and the timer waits.
            Ok(_) => self.change_waiting(listed, |_| None).await,
            // Another message has the id. The timer waits, so its message was not written.
            Err(Error::IdConflict { .. }) => {
                let another_id = |waiting: &Waiting| Some(Waiting { id: MessageId::new(), ..waiting.clone() });
                self.change_waiting(listed, another_id).await.map(|_| false)
            }
            Err(error) => Err(error),
        }
    }

    /// Changes a timer that still waits as it was listed. Returns whether it does.
    async fn change_waiting(&self, listed: &Timer, change: impl Fn(&Waiting) -> Option<Waiting>) -> Result<bool> {
        let mut attempts = Change::new("changing a timer", WhenLost::Tell);
        loop {
            let document = self.log.document::<Waiting>(self.timer(&listed.key)).await?;
            let Some(waiting) = document.content.as_ref().filter(|waiting| waiting.is(listed)) else {
                return Ok(false);
            };
            let entry = match change(waiting) {
                Some(changed) => document.replaced_by(&changed)?,
                None => document.removed(),
            };
            if attempts.is_done(&self.log, &[entry]).await? {
                return Ok(true);
            }
        }
    }
}

#[async_trait]
impl Timers for JetstreamStore {
    async fn change(&self, changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
        changes.iter().try_for_each(|change| change.check(self.limits()))?;
        let mut attempts = Change::new("changing timers", WhenLost::Tell);
        loop {
            let mut attempt = Attempt::default();
            let now = self.log.state().await?.now;
            let results = self.change_timers(&mut attempt, &changes, now).await?;
            let actual = attempt.entries.len();
            if actual > MAX_RECORDS {
                let what = "the number of timers of one call".to_owned();
                return Err(Error::TooLarge { what, actual, limit: MAX_RECORDS });
            }
            if attempts.is_done(&self.log, &attempt.entries).await? {
                return Ok(results);
            }
        }
    }

    async fn list(&self, query: TimerQuery) -> Result<Vec<Timer>> {
        let mut known = self.timers.lock().await;
        let state = self.log.state().await?;
        self.notice(state);
        known.refresh(&self.log, state, self.history()).await?;
        Ok(known.list(&query, state.now))
    }

    async fn fire(&self, timers: &[Timer]) -> Result<usize> {
        let timers = timers.to_vec();
        let fired = stream::iter(timers).map(async |timer| self.fire_one(&timer).await).buffer_unordered(AT_ONCE);
        let fired: Vec<bool> = fired.try_collect().await?;
        Ok(fired.into_iter().filter(|is_fired| *is_fired).count())
    }
}

/// The time, to microseconds.
fn microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_takes_the_place_of_what_was_known() {
        let key = TimerKey::new(StreamName::from_database("transfer-1"), "time-out");
        let (now, to) = (Timestamp::UNIX_EPOCH, StreamName::from_database("transfer:command-1"));
        let waiting = |due| Waiting::new(&key, due, &to, &NewMessage::new("TimeOut", Json::NULL));
        let (soon, late) = (waiting(now), waiting(crate::deduplication::after(now, Duration::from_mins(1))));
        let document = |content| Document { subject: "a".to_owned(), content, sequence: 1 };
        let mut known = KnownTimers::default();
        let due = |known: &KnownTimers| known.list(&TimerQuery::new().due_within(Duration::ZERO), now).len();
        known.put(document(Some(soon)));
        assert_eq!(due(&known), 1);
        known.put(document(Some(late)));
        assert_eq!((due(&known), known.list(&TimerQuery::new(), now).len()), (0, 1));
        known.put(document(None));
        assert!(known.waiting.is_empty() && known.due.is_empty());
    }
}
