//! The refresh of the letter cache: it reads what operators and other processes have written to letters.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use tokio::time::Instant;

use super::letter::DeadLetter;
use super::letter_cache::LetterCache;
use super::step::Step;
use super::unresolved_letters::UnresolvedLetters;
use super::{LetterState, SetAside};
use crate::consumer::PlantedBug;
use crate::{Error, GlobalPosition, Message, Result, StreamName, WakeUp};

/// The events that make a refresh due.
pub(super) struct RefreshTrigger {
    /// A step was appended to a letter of the consumer.
    pub(super) wake_up: WakeUp,
    /// The start of the last refresh. The next one is due a poll interval later.
    pub(super) last_read: Instant,
}

impl SetAside {
    /// Begins again, for messages after `handled_through`: with the letters that are known, if they are of the store's
    /// present history, and no discarded letter of these messages was dropped. Otherwise they are read again.
    pub(in crate::consumer) async fn reload(&self, handled_through: GlobalPosition) -> Result<()> {
        {
            let mut cache = self.cache.lock().await;
            let known = &mut cache.unresolved;
            let is_current = known.history == self.letters.store.history() && !self.has(PlantedBug::LettersReadOnClaim);
            if is_current && handled_through >= known.dropped_through {
                self.set_handled_through(handled_through);
                self.is_cache_empty.store(false, Ordering::SeqCst);
                known.begin_again();
                let held = std::mem::take(&mut cache.held);
                let read = self.read_changes(&mut cache).await;
                if read.is_err() {
                    // The changes are read again. Until then, what was held stays held.
                    for (entity, from) in held {
                        cache.hold(&entity, from);
                    }
                }
                return read;
            }
        }
        Box::pin(self.load(handled_through)).await
    }

    /// Reads the letters, for messages after `handled_through`.
    pub(super) async fn load(&self, handled_through: GlobalPosition) -> Result<()> {
        let mut cache = self.cache.lock().await;
        self.set_handled_through(handled_through);
        self.is_cache_empty.store(false, Ordering::SeqCst);
        let unresolved =
            UnresolvedLetters::load(&self.letters, self.share.clone(), handled_through, self.pace.planted).await?;
        let mut new = LetterCache::of(unresolved);
        self.read_changes(&mut new).await?;
        *cache = new;
        Ok(())
    }

    /// The last steps of the letters whose delivery an earlier owner of their slots may have left undone.
    pub(in crate::consumer) async fn to_resume(&self) -> Result<Vec<Message>> {
        let letters = self.cache.lock().await.unresolved.to_resume();
        let mut steps = Vec::new();
        for letter in letters {
            steps.extend(self.letters.store.last_message(&letter, None).await?);
        }
        Ok(steps)
    }

    /// Reads the changes of letters.
    pub(in crate::consumer) async fn refresh(&self) -> Result<()> {
        if self.has(PlantedBug::LettersReadAtTheStart) {
            return Ok(());
        }
        // The lock is kept during the read, so that an entity that is released meanwhile is not held again.
        self.read_changes(&mut *self.cache.lock().await).await
    }

    /// Whether a letter's message was not in the store at the last refresh.
    pub(in crate::consumer) async fn waits_for_messages(&self) -> bool {
        !self.is_cache_empty.load(Ordering::SeqCst) && self.cache.lock().await.unresolved.has_missing_message()
    }

    /// Whether letters must be read before the next delivery: after a wake-up, or a poll interval after the last
    /// refresh. So if a wake-up is lost, the change is read one poll interval late.
    pub(super) fn is_refresh_due(&self) -> bool {
        let trigger = self.refresh_trigger();
        let is_old = || trigger.last_read.elapsed() >= self.pace.poll_interval && !self.has(PlantedBug::OnlyWakeUps);
        (trigger.wake_up.has_woken() || is_old()) && !self.has(PlantedBug::LettersReadAtTheStart)
    }

    /// Reads the changes of letters if a refresh is due. If it fails after a wake-up, the wake-up stays, so the refresh
    /// is due again. Without a wake-up, a transient error is ignored, so an outage does not stop deliveries.
    pub(super) async fn refresh_if_due(&self) -> Result<()> {
        let mut cache = self.cache.lock().await;
        // Another task may have refreshed the cache while this one waited for the lock.
        if !self.is_refresh_due() {
            return Ok(());
        }
        let mut wake_up = self.refresh_trigger().wake_up.clone();
        let is_woken = wake_up.has_woken();
        // Acknowledged before the read, so that a change during the read makes another refresh due.
        wake_up.acknowledge();
        match self.read_changes(&mut cache).await {
            Err(error) if error.is_transient() && !is_woken => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                self.refresh_trigger().wake_up = wake_up;
                Ok(())
            }
        }
    }

    fn refresh_trigger(&self) -> MutexGuard<'_, RefreshTrigger> {
        self.refresh_trigger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the changes of letters into the cache, which the caller has locked.
    pub(super) async fn read_changes(&self, cache: &mut LetterCache) -> Result<()> {
        let began = Instant::now();
        for holding in cache.unresolved.refresh(&self.letters, self.handled_through()).await? {
            if self.holds() || holding.is_always {
                cache.hold(&holding.entity, holding.message);
            }
        }
        self.is_cache_empty.store(cache.is_empty(), Ordering::SeqCst);
        self.checkpoint_if_due(cache).await;
        self.request_due_retries(cache).await?;
        self.publish_next_delivery(cache).await?;
        self.refresh_trigger().last_read = began;
        Ok(())
    }

    /// Requests a retry for each copied letter whose message is now here and must be delivered. The consumer could not
    /// deliver it when it handled the steps of the letter, because the message was not here yet.
    async fn request_due_retries(&self, cache: &mut LetterCache) -> Result<()> {
        let arrived = cache.unresolved.arrived();
        if !arrived.is_empty() {
            let open = self.letters.open().await?;
            for letter in open.iter().filter(|letter| arrived.contains(&letter.letter.stream)) {
                let stream = &letter.letter.stream;
                // `open` has the letters without a message here last, so they are not first in the queue.
                let is_in_queue = |other: &&DeadLetter| {
                    let is_of_its_entity = other.letter.stream.cardinal_id() == stream.cardinal_id();
                    other.letter.stream == *stream || (is_of_its_entity && other.has_held)
                };
                let is_first = || open.iter().find(is_in_queue).is_some_and(|first| first.letter.stream == *stream);
                let is_due = match letter.state {
                    LetterState::Retrying => true,
                    // A message that only waited behind another is delivered when it is the first of the queue.
                    LetterState::Parked => letter.attempts == 0 && is_first(),
                    LetterState::Resolved(_) | LetterState::Discarded(_) => false,
                };
                if is_due {
                    match self.request_retry(stream).await {
                        Err(Error::SlotLost { slot, epoch, .. }) => self.report_lost(slot, epoch),
                        requested => requested?,
                    }
                }
            }
        }
        cache.unresolved.clear_arrived();
        Ok(())
    }

    /// Requests a retry of a letter whose time has come. Returns whether it no longer waits: also if another process has
    /// done so, or an operator has decided. A letter of a slot that was lost meanwhile, or to which another step was
    /// appended first, still waits.
    pub(super) async fn request_retry_of_delayed(&self, stream: &StreamName) -> Result<bool> {
        let letter = self.letters.read(stream).await?.letter;
        let Some(letter) = letter.filter(DeadLetter::waits_for_time) else { return Ok(true) };
        if !self.is_own(&letter.message.stream) {
            return Ok(false);
        }
        self.append(&letter, &Step::RetryRequested {}).await
    }

    /// Requests a retry, unless a delivery has begun in this store.
    async fn request_retry(&self, stream: &StreamName) -> Result<()> {
        let progress = self.letters.read(stream).await?;
        if let Some(letter) = progress.letter.filter(|letter| letter.is_open() && !progress.is_begun_here) {
            // If another writer has appended a step first, that step counts.
            let _ = self.append(&letter, &Step::RetryRequested {}).await?;
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "testing", feature = "sqlite"))]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::attempts::Failure;
    use super::*;
    use crate::consumer::groups::Share;
    use crate::consumer::outages::Outages;
    use crate::consumer::pace::Pace;
    use crate::consumer::position_store::{PositionMessage, Progress};
    use crate::consumer::process::Process;
    use crate::consumer::{DeadLetters, OnFailure};
    use crate::error::Again;
    use crate::store::{StepStream, WhenToCheckpoint};
    use crate::testing::FaultyStore;
    use crate::{Append, ExpectedVersion, Json, MessageStore, MessageStoreExt as _, NewMessage, Outcome, connect};

    fn failure() -> Failure {
        Failure { attempts: 3, error: "it fails".into(), again: None }
    }

    /// Sends a command to an entity, and returns it as it was read.
    async fn send(store: &Arc<dyn MessageStore>, entity: &str) -> Message {
        let (command, stream) = (NewMessage::new("Deposit", Json::NULL), StreamName::new(entity).unwrap());
        let id = command.id;
        store.append_to(&stream, ExpectedVersion::Any, vec![command]).await.unwrap();
        store.message(id).await.unwrap().unwrap()
    }

    /// The letters of a consumer that reads their changes only after wake-ups, and may write a checkpoint after each.
    async fn set_aside_in(store: &Arc<dyn MessageStore>) -> SetAside {
        let position = StreamName::new("c+position").unwrap();
        let letters = DeadLetters::of(store, "c", None).unwrap();
        let (failures, place) = ((OnFailure::Park, 3), (&position, GlobalPosition::ZERO));
        let checkpoints = WhenToCheckpoint { every: 1, saved_per_stream: 0 };
        let pace = Pace { poll_interval: Duration::from_hours(1), checkpoints, ..Pace::default() };
        SetAside::new(letters, failures, Share::All, pace, Outages::new("c", None), Process::default(), place)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_change_of_a_letter_that_could_not_be_read_is_read_before_the_next_delivery() {
        let store = connect("sqlite::memory:").await.unwrap();
        let message = send(&store, "c-1").await;
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let (ours, theirs) = (set_aside_in(&shared).await, set_aside_in(&store).await);
        assert_eq!(ours.outcome_without_delivery(&message).await.unwrap(), None);

        let _ = theirs.set_aside(&message, &failure()).await.unwrap();
        let letter = theirs.letters.show(message.id).await.unwrap().unwrap();
        assert!(theirs.letters.discard(&letter, "a bad message").await.unwrap());
        faulty.set_unavailable(true);
        assert!(ours.outcome_without_delivery(&message).await.unwrap_err().is_transient());
        faulty.set_unavailable(false);
        let kept_back = ours.outcome_without_delivery(&message).await.unwrap();
        assert!(matches!(kept_back, Some(Outcome::Discarded { .. })), "{kept_back:?}");
    }

    /// Another process has taken the position over and is far ahead, and this one has not noticed.
    #[tokio::test]
    async fn a_discarded_letter_is_kept_while_this_process_may_deliver_its_message() {
        let store = connect("sqlite::memory:").await.unwrap();
        let (message, later) = (send(&store, "c-1").await, send(&store, "c-2").await);
        let (ours, theirs) = (set_aside_in(&store).await, set_aside_in(&store).await);
        let _ = theirs.set_aside(&message, &failure()).await.unwrap();
        let letter = theirs.letters.show(message.id).await.unwrap().unwrap();
        assert!(theirs.letters.discard(&letter, "a bad message").await.unwrap());
        let positions = StepStream::new(&store, ours.positions.clone());
        let (_, end) = positions.last().await.unwrap();
        let progress = Progress::at(later.global_position);
        positions.append(end, &PositionMessage::Recorded(progress)).await.unwrap().unwrap();
        assert_eq!(ours.lowest_saved().await.unwrap(), later.global_position);
        for _ in 0..2 {
            let kept_back = ours.outcome_without_delivery(&message).await.unwrap();
            assert!(matches!(kept_back, Some(Outcome::Discarded { .. })), "{kept_back:?}");
        }
    }

    /// Another process appends a step of its own just before the request.
    #[tokio::test]
    async fn a_letter_is_due_until_its_retry_is_requested() {
        let store = connect("sqlite::memory:").await.unwrap();
        let message = send(&store, "c-1").await;
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let ours = set_aside_in(&shared).await;
        let _ = ours
            .set_aside(&message, &Failure { again: Some(Again { after: Duration::ZERO, holds: false }), ..failure() })
            .await
            .unwrap();
        ours.refresh().await.unwrap();
        let stream = ours.letters.stream_of(&message).unwrap();
        let other_step = NewMessage::new("Interrupted", Json::parse("{}").unwrap());
        faulty.append_before([Append::to(stream.clone()).message(other_step)]);
        for state in [LetterState::Parked, LetterState::Retrying] {
            ours.request_due().await.unwrap();
            assert_eq!(ours.letters.read(&stream).await.unwrap().letter.unwrap().state, state);
        }
    }

    /// A step of another store can request a delivery of a letter that was closed here.
    #[tokio::test]
    async fn a_letter_whose_delivery_was_requested_after_it_was_closed_is_resumed() {
        let store = connect("sqlite::memory:").await.unwrap();
        let message = send(&store, "c-1").await;
        let first = set_aside_in(&store).await;
        let _ = first.set_aside(&message, &failure()).await.unwrap();
        let letter = first.letters.show(message.id).await.unwrap().unwrap();
        assert!(first.letters.discard(&letter, "a bad message").await.unwrap());
        let letter = first.letters.show(message.id).await.unwrap().unwrap();
        assert!(set_aside_in(&store).await.to_resume().await.unwrap().is_empty());
        assert!(first.append(&letter, &Step::RetryRequested {}).await.unwrap());
        let resumed = set_aside_in(&store).await.to_resume().await.unwrap();
        assert_eq!(resumed.iter().map(|step| step.stream.clone()).collect::<Vec<_>>(), [letter.letter.stream]);
    }

    /// A member that has claimed slots reads the changes of letters, and the store is away.
    #[tokio::test]
    async fn what_is_held_stays_held_when_the_letters_cannot_be_read() {
        let store = connect("sqlite::memory:").await.unwrap();
        let (message, later) = (send(&store, "c-1").await, send(&store, "c-1").await);
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let ours = set_aside_in(&shared).await;
        ours.cache.lock().await.hold("1", message.global_position);
        faulty.set_unavailable(true);
        assert!(ours.reload(GlobalPosition::ZERO).await.unwrap_err().is_transient());
        faulty.set_unavailable(false);
        assert_eq!(ours.cache.lock().await.held.get("1"), Some(&message.global_position));
        assert!(later.global_position > message.global_position);
    }

    #[tokio::test]
    async fn a_letter_that_is_written_during_a_refresh_is_read_before_the_next_delivery() {
        let store = connect("sqlite::memory:").await.unwrap();
        let (first, second) = (send(&store, "c-1").await, send(&store, "c-2").await);
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let (ours, theirs) = (set_aside_in(&shared).await, set_aside_in(&store).await);

        let _ = theirs.set_aside(&first, &failure()).await.unwrap();
        faulty.delay_last_read_of("c+deadLetter");
        let (kept_back, ()) = tokio::join!(ours.outcome_without_delivery(&first), async {
            faulty.answer_is_delayed().await;
            let _ = theirs.set_aside(&second, &failure()).await.unwrap();
            faulty.release_answer();
        });
        assert!(matches!(kept_back.unwrap(), Some(Outcome::Parked { .. })));
        let kept_back = ours.outcome_without_delivery(&second).await.unwrap();
        assert!(matches!(kept_back, Some(Outcome::Parked { .. })), "{kept_back:?}");
    }
}
