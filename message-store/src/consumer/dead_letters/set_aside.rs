//! Setting messages aside: what the delivery and the redelivery of a consumer's messages share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::letter::{DeadLetter, DeadLetters};
use super::standing::{Standings, is_own};
use super::step::Step;
use super::time_outs::{TimeOuts, store_error};
use super::{LetterState, OnFailure};
use crate::consumer::PlantedBug;
use crate::consumer::attempt::attempt;
use crate::consumer::pace::Pace;
use crate::consumer::pause::Pause;
use crate::consumer::process::Process;
use crate::handling::{Contention, Handler, wait};
use crate::{Error, GlobalPosition, GroupMember, Message, Outcome, Result, Source, StreamName, WakeUp, chain};

/// How often a message was delivered in vain, and what its handler said last.
pub(super) type Failure = (u32, Source);

/// The longest text of an error that a letter keeps, in bytes.
const MAX_ERROR_BYTES: usize = 16 << 10;

/// Why a message is delivered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cause {
    /// The consumer has come to its position.
    Position,
    /// Its letter asks for it. A letter under way cannot be discarded.
    Letter,
}

/// What a consumer knows of its letters, and does with a message that fails.
pub(in crate::consumer) struct SetAside {
    pub(super) letters: DeadLetters,
    policy: OnFailure,
    /// How often a message is delivered.
    deliveries: u32,
    pace: Pace,
    /// Locked while a message is put behind another, so that none is put there after the last was taken away.
    known: Mutex<Known>,
    /// No letter stands, and nothing waits: kept beside the lock, for it is asked before each message.
    is_clear: AtomicBool,
    /// Says when something becomes of letters.
    wake_up: RwLock<WakeUp>,
    /// When letters were last read.
    read_at: std::sync::Mutex<Instant>,
    /// What is under way beside a message.
    pub(in crate::consumer) process: Process,
    member: Option<GroupMember>,
    time_outs: TimeOuts,
}

pub(super) struct Known {
    standings: Standings,
    /// Entities whose messages wait, from this position on.
    held: HashMap<String, GlobalPosition>,
    handled_through: GlobalPosition,
}

impl SetAside {
    /// Of a consumer that has handled everything up to a position, which it keeps in the stream `positions`.
    pub(in crate::consumer) async fn new(
        letters: DeadLetters,
        (policy, deliveries): (OnFailure, u32),
        member: Option<GroupMember>,
        pace: Pace,
        process: Process,
        positions: (&StreamName, GlobalPosition),
    ) -> Result<Self> {
        let (stream, handled_through) = positions;
        let (known, time_outs) = (Mutex::new(Known::nothing(member)), TimeOuts::new(stream.clone()));
        let is_clear = AtomicBool::new(false);
        // Listens before it reads.
        let wake_up = RwLock::new(letters.store.wake_up(Some(&letters.category)).await?);
        let read_at = std::sync::Mutex::new(Instant::now());
        let new =
            Self { letters, policy, deliveries, pace, known, is_clear, wake_up, read_at, process, member, time_outs };
        new.learn(&mut *new.known.lock().await, handled_through).await?;
        Ok(new)
    }

    /// Forgets what was read of letters, and reads them again.
    pub(in crate::consumer) async fn begin_anew(&self, handled_through: GlobalPosition) -> Result<()> {
        let mut known = self.known.lock().await;
        self.is_clear.store(false, Ordering::SeqCst);
        *known = Known::nothing(self.member);
        self.learn(&mut known, handled_through).await
    }

    pub(super) fn has(&self, bug: PlantedBug) -> bool {
        self.pace.planted == Some(bug)
    }

    /// Whether anything is set aside: under [`OnFailure::Stop`] nothing is, but what was before, under another policy,
    /// still is.
    pub(in crate::consumer) fn is_on(&self) -> bool {
        self.policy != OnFailure::Stop
    }

    /// Whether later messages of an entity wait behind one that is set aside.
    pub(super) fn holds(&self) -> bool {
        self.policy == OnFailure::Hold
    }

    /// Whether this member of its group has the messages of a stream.
    pub(super) fn is_own(&self, stream: &StreamName) -> bool {
        self.has(PlantedBug::LettersByName) || is_own(self.member, stream)
    }

    /// How often a message is delivered.
    pub(in crate::consumer) fn deliveries(&self) -> u32 {
        self.deliveries
    }

    /// Learns what has become of letters, here and in other processes.
    pub(in crate::consumer) async fn refresh(&self, handled_through: GlobalPosition) -> Result<()> {
        if self.has(PlantedBug::LettersReadAtTheStart) {
            return Ok(());
        }
        // Under the lock: an entity that is released meanwhile is not held again.
        self.learn(&mut *self.known.lock().await, handled_through).await
    }

    /// Whether letters are known whose messages were not in the store when that was last asked.
    pub(in crate::consumer) async fn waits_for_messages(&self) -> bool {
        !self.is_clear.load(Ordering::SeqCst) && self.known.lock().await.standings.wait_for_messages()
    }

    /// As [`SetAside::refresh`], for messages that were read before.
    pub(super) async fn refresh_now(&self) -> Result<()> {
        if self.has(PlantedBug::LettersReadAtTheStart) {
            return Ok(());
        }
        let mut known = self.known.lock().await;
        let handled_through = known.handled_through;
        self.learn(&mut known, handled_through).await
    }

    /// Learns what has become of letters, when something has. What cannot be learned now is still to be learned: the
    /// wake-up is acknowledged once everything that it told of is known.
    ///
    /// A wake-up only hurries: without one, letters are read again before a message that is delivered a poll interval
    /// after they were read last, unless the store is away.
    async fn learn_news(&self) -> Result<()> {
        let is_woken = || self.wake_up.read().unwrap_or_else(PoisonError::into_inner).has_woken();
        let is_old = || {
            let read_at = *self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
            read_at.elapsed() >= self.pace.poll_interval && !self.has(PlantedBug::WakeUpsAlone)
        };
        if !(is_woken() || is_old()) || self.has(PlantedBug::LettersReadAtTheStart) {
            return Ok(());
        }
        let mut known = self.known.lock().await;
        let handled_through = known.handled_through;
        // Another task may have learned it while this one waited.
        if is_woken() {
            let mut heard = self.wake_up.read().unwrap_or_else(PoisonError::into_inner).clone();
            heard.acknowledge();
            self.learn(&mut known, handled_through).await?;
            *self.wake_up.write().unwrap_or_else(PoisonError::into_inner) = heard;
        } else if is_old() {
            return match self.learn(&mut known, handled_through).await {
                Err(error) if error.is_transient() => Ok(()),
                learned => learned,
            };
        }
        Ok(())
    }

    async fn learn(&self, known: &mut Known, handled_through: GlobalPosition) -> Result<()> {
        let began = Instant::now();
        known.handled_through = handled_through;
        for (entity, message) in known.standings.refresh(&self.letters, handled_through).await? {
            if self.holds() {
                known.hold(&entity, message);
            }
        }
        self.is_clear.store(known.is_clear(), Ordering::SeqCst);
        self.ask_for_deliveries(known).await?;
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = began;
        Ok(())
    }

    /// Letters that were copied here may have said before their messages came that these are to be delivered: now they
    /// can be.
    async fn ask_for_deliveries(&self, known: &mut Known) -> Result<()> {
        // Under `Stop`, letters are not delivered.
        if self.is_on() && !known.standings.arrived().is_empty() {
            let open = self.letters.open().await?;
            for stream in known.standings.arrived() {
                let is_of_its_entity = |other: &&DeadLetter| other.letter.stream.cardinal_id() == stream.cardinal_id();
                let is_first = || open.iter().find(is_of_its_entity).is_some_and(|it| it.letter.stream == *stream);
                // One that only waits behind another is due when it is the first of its queue.
                let is_due = |letter: &DeadLetter| match letter.state {
                    LetterState::Retrying => true,
                    LetterState::Parked => letter.attempts == 0 && is_first(),
                    LetterState::Resolved(_) | LetterState::Discarded(_) => false,
                };
                if open.iter().any(|letter| letter.letter.stream == *stream && is_due(letter)) {
                    self.ask_for_delivery(stream).await?;
                }
            }
        }
        known.standings.arrived_are_done();
        Ok(())
    }

    /// Asks for a delivery, unless one has begun.
    async fn ask_for_delivery(&self, stream: &StreamName) -> Result<()> {
        let found = self.letters.read(stream).await?;
        if let Some(letter) = found.letter.filter(|letter| letter.is_open() && found.begun == 0) {
            // Overtaken, it has been asked for already.
            let _ = self.letters.append(&letter, &Step::RetryRequested {}).await?;
        }
        Ok(())
    }

    /// What becomes of a message that is not to be delivered: because an operator has still to decide, or has given it
    /// up, or because it has to wait behind another. `None` for all others.
    pub(in crate::consumer) async fn keep_back(&self, message: &Message) -> Result<Option<Outcome>> {
        self.learn_news().await?;
        if self.is_clear.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let known = self.known.lock().await;
        if !known.standings.is_empty()
            && !self.has(PlantedBug::LettersUnread)
            && let Some(standing) = known.standings.get(&self.letters.stream_of(message)?)
        {
            let letter = standing.letter.clone();
            let outcome =
                if standing.is_discarded { Outcome::Discarded { letter } } else { Outcome::Parked { letter } };
            return Ok(Some(outcome));
        }
        match known.held.get(&*self.letters.entity_of(message)) {
            Some(first) if *first < message.global_position => {
                self.park(message, 0, "it waits behind an earlier message of its entity", false).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Delivers a message as often as allowed; what the last attempt said. What passes with the store is not the
    /// message's fault.
    ///
    /// # Errors
    /// [`Error::Handler`] when the store's fault does not pass.
    pub(super) async fn deliver<H: Handler>(
        &self,
        handler: &H,
        message: &Message,
        cause: Cause,
    ) -> Result<Result<Outcome, Failure>> {
        let mut attempts = 0;
        let (mut contention, mut contended) = (Contention::default(), None::<StreamName>);
        let (mut pause, mut again) = (Pause::new(self.pace.retries), Pause::new(self.deliveries));
        let mut is_first = true;
        loop {
            // Between two attempts it may have been set aside and given up, by way of another process.
            if !std::mem::take(&mut is_first) && cause == Cause::Position {
                self.refresh_now().await?;
                if let Some(outcome) = self.keep_back(message).await? {
                    return Ok(Ok(outcome));
                }
            }
            let error = match attempt(handler, &self.letters.store, message).await {
                Ok(outcome) => {
                    self.time_outs.end();
                    return Ok(Ok(outcome));
                }
                Err(error) => error,
            };
            let store_error = store_error(&*error);
            // Another writer was quicker: as long as the stream makes progress, that is no fault of the message.
            if let Some(Error::WrongExpectedVersion { stream, actual, .. }) = store_error {
                if contended.replace(stream.clone()).is_some_and(|before| before != *stream) {
                    // It has gone on to another stream.
                    contention.progressed();
                }
                if wait(contention.pause(*actual)).await {
                    continue;
                }
            }
            let timed_out = matches!(store_error, Some(Error::TimedOut { .. }));
            if self.passes(store_error, message).await {
                if pause.again(&error).await {
                    continue;
                }
                return Err(Error::handler(message, error));
            }
            attempts += 1;
            // A time-out alone proves nothing of the message, also where other failures would stop the consumer at
            // once.
            if attempts >= self.deliveries || (!self.is_on() && !timed_out) {
                // It was its own fault: that says nothing of the next one.
                self.time_outs.end();
                return Ok(Err((attempts, error)));
            }
            if timed_out {
                // Others have time to show whether it is this message or the store.
                again.again(&error).await;
            } else {
                tracing::warn!(message = %message.reference(), attempts, error = chain(&*error), "delivering it again");
            }
        }
    }

    /// Whether what a message failed of passes with the store.
    async fn passes(&self, error: Option<&Error>, message: &Message) -> bool {
        match error {
            Some(Error::TimedOut { .. }) => {
                self.has(PlantedBug::EveryTimeOutPasses)
                    || self.time_outs.are_the_stores(&*self.letters.store, message).await
            }
            error => error.is_some_and(Error::is_transient),
        }
    }

    /// Sets a message aside that could not be handled, and makes later ones of its entity wait, where the policy says
    /// so.
    pub(in crate::consumer) async fn set_aside(
        &self,
        message: &Message,
        attempts: u32,
        error: &str,
    ) -> Result<Outcome> {
        let mut known = self.known.lock().await;
        let outcome = self.park(message, attempts, error, false).await?;
        if self.holds() && matches!(outcome, Outcome::Parked { .. }) {
            known.hold(&self.letters.entity_of(message), message.global_position);
            self.is_clear.store(false, Ordering::SeqCst);
        }
        Ok(outcome)
    }

    /// Sets a message aside again, which was delivered because an operator asked for it.
    pub(super) async fn set_aside_again(&self, message: &Message, attempts: u32, error: &str) -> Result<()> {
        let _ = self.park(message, attempts, error, true).await?;
        Ok(())
    }

    async fn park(&self, message: &Message, attempts: u32, error: &str, again: bool) -> Result<Outcome> {
        let steps = self.letters.steps(&self.letters.stream_of(message)?);
        let parked = Step::Parked {
            message: message.into(),
            message_type: message.message_type.clone(),
            attempts,
            error: storable(error),
            holds: self.holds(),
        };
        // Again as long as an operator, or another process, is quicker.
        loop {
            let found = self.letters.read(steps.stream()).await?;
            if let Some(known) = found.letter {
                let letter = known.letter;
                match known.state {
                    // Set aside before: the consumer was broken off before it had saved its position, or another
                    // process was quicker. What only waited behind another was never tried.
                    LetterState::Parked if again && known.attempts == 0 => {}
                    LetterState::Parked => return Ok(Outcome::Parked { letter }),
                    LetterState::Retrying if !again => return Ok(Outcome::Parked { letter }),
                    LetterState::Resolved(_) if again => return Ok(Outcome::Parked { letter }),
                    LetterState::Discarded(_) => return Ok(Outcome::Discarded { letter }),
                    LetterState::Retrying | LetterState::Resolved(_) => {}
                }
            }
            if let Ok(letter) = steps.append(found.end, &parked).await? {
                let message = message.reference();
                tracing::error!(%message, attempts, error, "it could not be handled, and was set aside");
                return Ok(Outcome::Parked { letter: letter.message });
            }
        }
    }

    pub(super) async fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().await
    }
}

/// The text of an error as a letter keeps it: a store refuses NUL characters, and messages that are too large.
fn storable(error: &str) -> String {
    let text = error.replace('\0', "\u{fffd}");
    if text.len() <= MAX_ERROR_BYTES {
        return text;
    }
    let end = (0..=MAX_ERROR_BYTES).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    format!("{} … ({} bytes in all)", &text[..end], error.len())
}

impl Known {
    fn nothing(member: Option<GroupMember>) -> Self {
        Self { standings: Standings::new(member), held: HashMap::new(), handled_through: GlobalPosition::ZERO }
    }

    fn is_clear(&self) -> bool {
        self.standings.is_empty() && self.held.is_empty()
    }

    /// From this message on, messages of its entity wait.
    pub(super) fn hold(&mut self, entity: &str, from: GlobalPosition) {
        let first = self.held.entry(entity.to_owned()).or_insert(from);
        *first = (*first).min(from);
    }

    pub(super) fn is_held(&self, entity: &str) -> bool {
        self.held.contains_key(entity)
    }

    pub(super) fn release(&mut self, entity: &str) {
        self.held.remove(entity);
    }
}

#[cfg(all(test, feature = "testing", feature = "sqlite"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::FaultyStore;
    use crate::{ExpectedVersion, Json, MessageStore, MessageStoreExt as _, NewMessage, connect};

    #[tokio::test]
    async fn what_could_not_be_learned_of_a_letter_is_learned_before_its_message_is_delivered() {
        let store = connect("sqlite::memory:").await.unwrap();
        let (command, position) = (NewMessage::new("Deposit", Json::NULL), StreamName::new("c+position").unwrap());
        let id = command.id;
        store.append_to(&StreamName::new("c-1").unwrap(), ExpectedVersion::Any, vec![command]).await.unwrap();
        let message = store.message(id).await.unwrap().unwrap();
        let of = async |store: &Arc<dyn MessageStore>| {
            let letters = DeadLetters::of(store, "c", None).unwrap();
            let (failures, place) = ((OnFailure::Park, 3), (&position, GlobalPosition::ZERO));
            SetAside::new(letters, failures, None, Pace::default(), Process::default(), place).await.unwrap()
        };
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let (ours, theirs) = (of(&shared).await, of(&store).await);
        assert_eq!(ours.keep_back(&message).await.unwrap(), None);

        let _ = theirs.set_aside(&message, 3, "it fails").await.unwrap();
        let letter = theirs.letters.show(id).await.unwrap().unwrap();
        assert!(theirs.letters.discard(&letter, "a bad message").await.unwrap());
        faulty.set_away(true);
        assert!(ours.keep_back(&message).await.unwrap_err().is_transient());
        faulty.set_away(false);
        let kept_back = ours.keep_back(&message).await.unwrap();
        assert!(matches!(kept_back, Some(Outcome::Discarded { .. })), "{kept_back:?}");
    }
}
