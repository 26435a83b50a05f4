//! Learning what has become of letters, here and in other processes.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use tokio::time::Instant;

use super::known::Known;
use super::letter::DeadLetter;
use super::step::Step;
use super::{LetterState, SetAside};
use crate::consumer::PlantedBug;
use crate::{GlobalPosition, Result, StreamName, WakeUp};

/// When there is something to learn.
pub(super) struct News {
    /// Says when something becomes of letters.
    pub(super) wake_up: WakeUp,
    /// When letters were last read.
    pub(super) read_at: Instant,
}

impl SetAside {
    /// Forgets what was read of letters, and reads them again.
    pub(in crate::consumer) async fn begin_anew(&self, handled_through: GlobalPosition) -> Result<()> {
        let mut known = self.known.lock().await;
        self.is_clear.store(false, Ordering::SeqCst);
        *known = Known::nothing(self.member);
        self.learn(&mut known, handled_through).await
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

    /// Whether something may have become of letters. A wake-up only hurries: without one, letters are read again before
    /// a message that is delivered a poll interval after they were read last.
    pub(super) fn has_news(&self) -> bool {
        let news = self.news();
        let is_old = || news.read_at.elapsed() >= self.pace.poll_interval && !self.has(PlantedBug::OnlyWakeUps);
        (news.wake_up.has_woken() || is_old()) && !self.has(PlantedBug::LettersReadAtTheStart)
    }

    /// Learns what has become of letters. If it fails after a wake-up, the wake-up stays: its news are still to be
    /// learned. Without a wake-up, letters are not read while the store is away.
    pub(super) async fn learn_news(&self) -> Result<()> {
        let mut known = self.known.lock().await;
        // Another task may have learned it while this one waited.
        if !self.has_news() {
            return Ok(());
        }
        let handled_through = known.handled_through;
        let mut heard = self.news().wake_up.clone();
        let is_woken = heard.has_woken();
        // Acknowledged before the letters are read: what comes meanwhile is news again.
        heard.acknowledge();
        match self.learn(&mut known, handled_through).await {
            Err(error) if error.is_transient() && !is_woken => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                self.news().wake_up = heard;
                Ok(())
            }
        }
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn learn(&self, known: &mut Known, handled_through: GlobalPosition) -> Result<()> {
        let began = Instant::now();
        known.handled_through = handled_through;
        for (entity, message) in known.standings.refresh(&self.letters, handled_through).await? {
            if self.holds() {
                known.hold(&entity, message);
            }
        }
        self.is_clear.store(known.is_clear(), Ordering::SeqCst);
        self.ask_for_deliveries(known).await?;
        self.news().read_at = began;
        Ok(())
    }

    /// Letters that were copied here may have said before their messages came that these are to be delivered: now they
    /// can be.
    async fn ask_for_deliveries(&self, known: &mut Known) -> Result<()> {
        // Under `Stop`, letters are not delivered.
        if self.is_on() && !known.standings.arrived().is_empty() {
            let open = self.letters.open().await?;
            for letter in open.iter().filter(|letter| known.standings.arrived().contains(&letter.letter.stream)) {
                let stream = &letter.letter.stream;
                // (Its message is here, so those that are still to come do not stand before it.)
                let is_in_its_queue = |other: &&DeadLetter| {
                    let is_of_its_entity = other.letter.stream.cardinal_id() == stream.cardinal_id();
                    other.letter.stream == *stream || (is_of_its_entity && other.holds)
                };
                let is_first = || open.iter().find(is_in_its_queue).is_some_and(|first| first.letter.stream == *stream);
                let is_due = match letter.state {
                    LetterState::Retrying => true,
                    // One that only waits behind another is due when it is the first of its queue.
                    LetterState::Parked => letter.attempts == 0 && is_first(),
                    LetterState::Resolved(_) | LetterState::Discarded(_) => false,
                };
                if is_due {
                    self.ask_for_delivery(stream).await?;
                }
            }
        }
        known.standings.arrived_are_done();
        Ok(())
    }

    /// Asks for a delivery, unless one has begun in this store.
    async fn ask_for_delivery(&self, stream: &StreamName) -> Result<()> {
        let found = self.letters.read(stream).await?;
        if let Some(letter) = found.letter.filter(|letter| letter.is_open() && !found.is_begun_here) {
            // Overtaken, it has been asked for already.
            let _ = self.letters.append(&letter, &Step::RetryRequested {}).await?;
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "testing", feature = "sqlite"))]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::consumer::pace::Pace;
    use crate::consumer::process::Process;
    use crate::consumer::{DeadLetters, OnFailure};
    use crate::testing::FaultyStore;
    use crate::{ExpectedVersion, Json, Message, MessageStore, MessageStoreExt as _, NewMessage, Outcome, connect};

    /// Sends a command to an entity, and returns it as it was read.
    async fn send(store: &Arc<dyn MessageStore>, entity: &str) -> Message {
        let (command, stream) = (NewMessage::new("Deposit", Json::NULL), StreamName::new(entity).unwrap());
        let id = command.id;
        store.append_to(&stream, ExpectedVersion::Any, vec![command]).await.unwrap();
        store.message(id).await.unwrap().unwrap()
    }

    /// What a consumer knows that reads letters at wake-ups alone.
    async fn set_aside_in(store: &Arc<dyn MessageStore>) -> SetAside {
        let position = StreamName::new("c+position").unwrap();
        let letters = DeadLetters::of(store, "c", None).unwrap();
        let (failures, place) = ((OnFailure::Park, 3), (&position, GlobalPosition::ZERO));
        let pace = Pace { poll_interval: Duration::from_hours(1), ..Pace::default() };
        SetAside::new(letters, failures, None, pace, Process::default(), place).await.unwrap()
    }

    #[tokio::test]
    async fn what_could_not_be_learned_of_a_letter_is_learned_before_its_message_is_delivered() {
        let store = connect("sqlite::memory:").await.unwrap();
        let message = send(&store, "c-1").await;
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let (ours, theirs) = (set_aside_in(&shared).await, set_aside_in(&store).await);
        assert_eq!(ours.keep_back(&message).await.unwrap(), None);

        let _ = theirs.set_aside(&message, 3, "it fails").await.unwrap();
        let letter = theirs.letters.show(message.id).await.unwrap().unwrap();
        assert!(theirs.letters.discard(&letter, "a bad message").await.unwrap());
        faulty.set_unavailable(true);
        assert!(ours.keep_back(&message).await.unwrap_err().is_transient());
        faulty.set_unavailable(false);
        let kept_back = ours.keep_back(&message).await.unwrap();
        assert!(matches!(kept_back, Some(Outcome::Discarded { .. })), "{kept_back:?}");
    }

    #[tokio::test]
    async fn a_letter_that_comes_while_others_are_read_is_learned_before_its_message_is_delivered() {
        let store = connect("sqlite::memory:").await.unwrap();
        let (first, second) = (send(&store, "c-1").await, send(&store, "c-2").await);
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let (ours, theirs) = (set_aside_in(&shared).await, set_aside_in(&store).await);

        let _ = theirs.set_aside(&first, 3, "it fails").await.unwrap();
        faulty.delay_last_read_of("c+deadLetter");
        let (kept_back, ()) = tokio::join!(ours.keep_back(&first), async {
            faulty.answer_is_delayed().await;
            let _ = theirs.set_aside(&second, 3, "it fails").await.unwrap();
            faulty.release_answer();
        });
        assert!(matches!(kept_back.unwrap(), Some(Outcome::Parked { .. })));
        let kept_back = ours.keep_back(&second).await.unwrap();
        assert!(matches!(kept_back, Some(Outcome::Parked { .. })), "{kept_back:?}");
    }
}
