//! Writing: what an append becomes in the log.
//!
//! Problem: an append must be written once, at the versions that it names, with what else it changes, and its answer can be
//! lost. Fix: one [atomic batch](crate::batch) with a record for each message and, directly behind it, one for the use of its
//! id. The first record of a stream names the stream's head. The record of an id requires that the id was never used. Why it
//! is right: if anything changed since it was read, the server refuses the batch, and it is made again from what is there
//! now. After a lost answer the same batch can be sent again: its ids are used once, whatever became of the first.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use message_store::store::{ClaimRecord, Condition, Fence, Stored, Timer, TimerChange, written_before};
use message_store::{Append, Appended, Category, Error, Message, MessageId, Place, Result, Timestamp};
use tokio::time::{Instant, timeout_at};

use crate::attempts::{PATIENCE, Pauses};
use crate::batch::{Entry, MAX_RECORDS};
use crate::deduplication::{KeyState, KeyToTake};
use crate::failure::Failure;
use crate::heads::Head;
use crate::options::PlantedBug;
use crate::record::{encode, global_position};
use crate::store::JetstreamStore;

/// The look-ups of ids that are under way at once.
const LOOK_UPS: usize = 32;
/// The attempts of an append with a condition before other appends of the process wait for it.
const PATIENT_ATTEMPTS: u32 = 3;
/// The longest pause after a conflict with another writer.
const CONFLICT: Duration = Duration::from_millis(20);

/// What is written in one step.
#[derive(Debug, Default)]
pub(crate) struct Write {
    pub(crate) appends: Vec<Append>,
    pub(crate) fence: Option<Fence>,
    pub(crate) condition: Option<Condition>,
    pub(crate) timers: Vec<TimerChange>,
    pub(crate) key: Option<KeyToTake>,
    /// The timer whose message it writes.
    pub(crate) fires: Option<Timer>,
}

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Written {
    /// The messages are written, now or before.
    Appended(Appended),
    /// The key was taken before. Nothing was written.
    Taken(ClaimRecord),
}

/// The records of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// Conditions that are checked before the messages are added.
    pub(crate) before: Vec<Entry>,
    pub(crate) entries: Vec<Entry>,
    /// The sequence number that must be the last of the log.
    pub(crate) end: Option<u64>,
    /// The heads of the streams, in the order of the appends.
    heads: Vec<Head>,
    /// The categories that it marks.
    marks: Vec<Category>,
}

/// Why an attempt is not made.
enum Stop {
    Taken(ClaimRecord),
    /// There is nothing to do: an earlier attempt of the same call took the key, or the timer no longer waits.
    Done,
    Refused(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl JetstreamStore {
    /// Writes all of it, or nothing.
    pub(crate) async fn write(&self, write: &Write) -> Result<Written> {
        let deadline = Instant::now() + PATIENCE;
        let streams: Vec<_> = write.appends.iter().map(|append| &append.stream).collect();
        let turn = timeout_at(deadline, self.heads.turn(streams.iter().copied())).await;
        let _turn =
            turn.map_err(|elapsed| Error::backend("waiting for other appends to the same stream", true, elapsed))?;
        let seen = self.seen();
        // The failure after which it is not known whether the messages were written.
        let mut lost: Option<Failure> = None;
        let mut attempts = 0;
        let (mut pauses, mut conflicts) = (Pauses::default(), Pauses::at_most(CONFLICT));
        loop {
            // A condition needs a moment in which nothing else is written: after some conflicts, this process pauses its appends.
            let is_alone = write.condition.is_some() && attempts >= PATIENT_ATTEMPTS;
            let pause = if is_alone {
                let paused = timeout_at(deadline, self.groups.pause()).await;
                let waiting =
                    "waiting for other appends of the process, since the condition needs that nothing else is written";
                Some(paused.map_err(|elapsed| unless_lost(Error::backend(waiting, true, elapsed), lost.take()))?)
            } else {
                None
            };
            attempts += 1;
            let attempt = match self.attempt(write).await {
                Ok(attempt) => attempt,
                Err(Stop::Taken(record)) => return Ok(Written::Taken(record)),
                // A look-up would fail too, after as long a wait.
                Err(Stop::Refused(error @ Error::Backend { transient: true, .. })) => {
                    return Err(unless_lost(error, lost));
                }
                Err(stop) => {
                    let repeat = self.repeat_of(&write.appends, seen, lost.is_some()).await;
                    return match (repeat, stop) {
                        (Ok(Some(appended)), _) => Ok(self.settled(write, appended).await),
                        (Ok(None), Stop::Refused(error)) | (Err(error), _) => Err(unless_lost(error, lost)),
                        (Ok(None), _) => Ok(Written::Appended(Appended::written(Vec::new()))),
                    };
                }
            };
            let committed = self.commit(&attempt, is_alone).await;
            // The others go on while this append looks up what became of it, and waits.
            drop(pause);
            let failure = match committed {
                Ok(first) => {
                    if first <= seen {
                        // The log was restored to an earlier point: it gives places out again, and may lack marks.
                        self.begin_history(first);
                        self.mark_again(&write.appends).await;
                    }
                    return Ok(self.committed(write, &attempt, first).await);
                }
                Err(failure) => failure,
            };
            for stream in &streams {
                self.heads.forget(stream);
            }
            let is_over = Instant::now() >= deadline;
            match failure {
                Failure::Refused(error) if error.is_overtaken() => {
                    match self.repeat_of(&write.appends, seen, lost.is_some()).await {
                        Ok(Some(appended)) => return Ok(self.settled(write, appended).await),
                        Ok(None) if is_over => {
                            return Err(unless_lost(
                                Error::backend("appending against other writers", true, error),
                                lost,
                            ));
                        }
                        Ok(None) => conflicts.next().await,
                        Err(error) => return Err(unless_lost(error, lost)),
                    }
                }
                Failure::NoAnswer(_) if !is_over => {
                    tracing::debug!(target: "message_store::jetstream", %failure, "the append is sent again");
                    lost = Some(failure);
                    pauses.next().await;
                }
                failure if failure.is_passing() && !is_over => pauses.next().await,
                Failure::NoAnswer(_) => return Err(unknown(failure)),
                failure => return Err(unless_lost(failure.into_error("appending messages"), lost)),
            }
        }
    }

    /// Writes the records of an attempt. Returns the sequence number of the first.
    async fn commit(&self, attempt: &Attempt, is_alone: bool) -> Result<u64, Failure> {
        let records = attempt.records();
        if is_alone || attempt.is_apart() {
            let count = records.len() as u64;
            return self.log.commit(&records).await.map(|last| last + 1 - count);
        }
        self.groups.commit(&self.log, records).await
    }

    /// The records to write, from what is in the log now.
    async fn attempt(&self, write: &Write) -> Result<Attempt, Stop> {
        let mut attempt = Attempt::default();
        let needs_clock = write.key.is_some() || write.fence.is_some() || !write.timers.is_empty();
        let now = if needs_clock { self.log.state().await?.now } else { Timestamp::UNIX_EPOCH };
        // A key that is taken answers, whatever else the request asks for.
        let mut key_entries = Attempt::default();
        if let Some(key) = &write.key {
            match self.take_key(&mut key_entries, key, now).await? {
                KeyState::Free => {}
                KeyState::Ours => return Err(Stop::Done),
                KeyState::Taken(record) => return Err(Stop::Taken(record)),
            }
        }
        attempt.heads = try_join_all(write.appends.iter().map(|append| self.head_for(append))).await?;
        for (Append { stream, messages, .. }, head) in write.appends.iter().zip(&attempt.heads) {
            let subject = self.log.subjects.stream(stream);
            let mut position = head.version.next();
            for (index, message) in messages.iter().enumerate() {
                let payload = encode(message, position)?;
                self.check_size(message, payload.len())?;
                let entry = Entry::new(subject.clone(), payload);
                attempt.entries.push(if index == 0 { entry.after(head.sequence) } else { entry });
                let id = Entry::new(self.log.subjects.id(message.id), "");
                attempt.entries.push(if self.has_bug(PlantedBug::IdsAreNotChecked) { id } else { id.after(0) });
                position = position.next();
            }
        }
        let mut marks = Vec::new();
        for Append { stream, .. } in &write.appends {
            let category = stream.category();
            let mark = self.log.subjects.mark(&category);
            if !self.is_marked(&category) && !marks.iter().any(|entry: &Entry| entry.subject() == mark) {
                marks.push(Entry::new(mark, "").replacing());
                attempt.marks.push(category);
            }
        }
        if let Some(fence) = &write.fence {
            self.require_slot(&mut attempt, fence, now).await?;
        }
        if let Some(condition) = &write.condition {
            self.require_condition(&mut attempt, condition, &write.appends[0].stream).await?;
        }
        attempt.entries.append(&mut key_entries.entries);
        if let Some(timer) = &write.fires
            && !self.remove_fired(&mut attempt, timer).await?
        {
            return Err(Stop::Done);
        }
        self.change_timers(&mut attempt, &write.timers, now).await?;
        attempt.entries.append(&mut marks);
        let actual = attempt.before.len() + attempt.entries.len();
        if actual > MAX_RECORDS {
            let what = "the number of records of one append (two for each message)".to_owned();
            return Err(Error::TooLarge { what, actual, limit: MAX_RECORDS }.into());
        }
        Ok(attempt)
    }

    /// The head of a stream, if the append expects it.
    async fn head_for(&self, Append { stream, expected, .. }: &Append) -> Result<Head> {
        let known = self.heads.known(stream).filter(|head| expected.allows(head.version));
        let head = match known {
            Some(head) => head,
            None => self.heads.read(&self.log, stream).await?,
        };
        if expected.allows(head.version) {
            return Ok(head);
        }
        let (stream, expected) = (stream.clone(), *expected);
        Err(Error::WrongExpectedVersion { stream, expected, actual: head.version })
    }

    /// Remembers what was written, and wakes readers.
    async fn committed(&self, write: &Write, attempt: &Attempt, first: u64) -> Written {
        let mut sequence = first + attempt.before.len() as u64;
        let mut places = Vec::new();
        for (Append { stream, messages, .. }, head) in write.appends.iter().zip(&attempt.heads) {
            let mut position = head.version.next();
            for _ in messages {
                places.push(Place { position, global_position: global_position(sequence) });
                self.heads.remember(stream, Head::at(position, sequence));
                position = position.next();
                sequence += 2;
            }
        }
        for category in &attempt.marks {
            self.mark(category);
        }
        self.see(sequence - 1);
        self.wake(write.appends.iter().map(|append| &append.stream)).await;
        Written::Appended(Appended::written(places))
    }

    /// Marks the categories of appends in a log that may have lost their marks. If that fails, the next append does it.
    async fn mark_again(&self, appends: &[Append]) {
        let categories: BTreeSet<_> = appends.iter().map(|append| append.stream.category()).collect();
        let mark = |category| Entry::new(self.log.subjects.mark(category), "").replacing();
        if self.log.commit(&categories.iter().map(mark).collect::<Vec<_>>()).await.is_ok() {
            for category in &categories {
                self.mark(category);
            }
        }
    }

    /// The result of an append whose messages are there. If an attempt of this call wrote them, and its answer was lost, nobody
    /// has woken the readers yet.
    async fn settled(&self, write: &Write, appended: Appended) -> Written {
        if !appended.already_written {
            self.wake(write.appends.iter().map(|append| &append.stream)).await;
        }
        Written::Appended(appended)
    }

    /// The places of messages that were written before. `None` if none was. `is_lost` is whether the answer to an attempt of
    /// the same call was lost: then messages above `seen` count as written by the call.
    async fn repeat_of(&self, appends: &[Append], seen: u64, is_lost: bool) -> Result<Option<Appended>> {
        if self.has_bug(PlantedBug::IdsAreNotChecked) {
            return Ok(None);
        }
        let ids: Vec<_> = appends.iter().flat_map(|append| &append.messages).map(|message| message.id).collect();
        let found = self.used(&ids).await?;
        let stored: HashMap<_, _> = found.iter().map(|message| (message.id, Stored::from(message))).collect();
        let Some(places) = written_before(appends, &stored)? else { return Ok(None) };
        let is_ours = is_lost && places.iter().all(|place| place.global_position > global_position(seen));
        if let Some(last) = places.iter().map(|place| place.global_position).max() {
            self.see(crate::record::sequence(last));
        }
        Ok(Some(if is_ours { Appended::written(places) } else { Appended::already_written(places) }))
    }

    /// The messages with these ids.
    pub(crate) async fn used(&self, ids: &[MessageId]) -> Result<Vec<Message>> {
        let found = stream::iter(ids.iter().copied()).map(|id| self.find(id)).buffer_unordered(LOOK_UPS);
        Ok(found.try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
    }

    /// The message with this id.
    pub(crate) async fn find(&self, id: MessageId) -> Result<Option<Message>> {
        let Some(used) = self.log.last(&self.log.subjects.id(id)).await? else { return Ok(None) };
        let place = used.sequence.saturating_sub(1);
        let record = if place > 0 { self.log.at(place).await? } else { None };
        let stream = record.as_ref().and_then(|record| self.log.subjects.stream_of(&record.subject));
        if let (Some(record), Some(stream)) = (record, stream) {
            let message = record.message(stream)?;
            if message.id == id {
                return Ok(Some(message));
            }
        }
        let context = format!("reading the message {id}, which the record {} says to stand before it", used.sequence);
        Err(Error::backend(
            context,
            false,
            "the message was removed from the log, or another program wrote that record",
        ))
    }
}

impl Attempt {
    /// All records, in their order.
    fn records(&self) -> Vec<Entry> {
        let mut records: Vec<Entry> = self.before.iter().chain(&self.entries).cloned().collect();
        if let (Some(first), Some(end)) = (records.first_mut(), self.end) {
            first.require_end(end);
        }
        records
    }

    /// Whether it depends on more than its own subjects, so that it shares no batch.
    fn is_apart(&self) -> bool {
        self.end.is_some() || !self.before.is_empty()
    }
}

/// The error of a call. If the answer to an attempt was lost, and the error does not show that nothing was written, that is
/// not known.
fn unless_lost(error: Error, lost: Option<Failure>) -> Error {
    match lost {
        Some(lost) if matches!(error, Error::Backend { .. } | Error::TimedOut { .. }) => unknown(lost),
        _ => error,
    }
}

fn unknown(lost: Failure) -> Error {
    Error::CommitUnknown { cause: lost.into_source() }
}
