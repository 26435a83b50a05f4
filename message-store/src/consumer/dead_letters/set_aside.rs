//! Setting messages aside: what the delivery and the redelivery of a consumer's messages share.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::OnFailure;
use super::known::Known;
use super::learning::News;
use super::letter::DeadLetters;
use super::standing::is_own;
use super::time_outs::TimeOuts;
use crate::consumer::PlantedBug;
use crate::consumer::pace::Pace;
use crate::consumer::process::Process;
use crate::{GlobalPosition, GroupMember, Message, Outcome, Result, StreamName};

/// What a consumer knows of its letters, and does with a message that fails.
pub(in crate::consumer) struct SetAside {
    pub(super) letters: DeadLetters,
    policy: OnFailure,
    /// How often a message is delivered.
    pub(super) max_attempts: u32,
    pub(super) pace: Pace,
    /// Locked while a message is put behind another, so that none is put there after the last was taken away.
    pub(super) known: Mutex<Known>,
    /// No letter stands, and nothing waits: kept beside the lock, for it is asked before each message.
    pub(super) is_clear: AtomicBool,
    pub(super) news: std::sync::Mutex<News>,
    /// What is under way beside a message.
    pub(in crate::consumer) process: Process,
    pub(super) member: Option<GroupMember>,
    pub(super) time_outs: TimeOuts,
}

impl SetAside {
    /// Of a consumer that has handled everything up to a position, which it keeps in the stream `positions`.
    pub(in crate::consumer) async fn new(
        letters: DeadLetters,
        (policy, max_attempts): (OnFailure, u32),
        member: Option<GroupMember>,
        pace: Pace,
        process: Process,
        positions: (&StreamName, GlobalPosition),
    ) -> Result<Self> {
        let (stream, handled_through) = positions;
        let (known, time_outs) = (Mutex::new(Known::nothing(member)), TimeOuts::new(stream.clone()));
        let is_clear = AtomicBool::new(false);
        // Listens before it reads.
        let wake_up = letters.store.wake_up(Some(&letters.category)).await?;
        let news = std::sync::Mutex::new(News { wake_up, read_at: Instant::now() });
        let new = Self { letters, policy, max_attempts, pace, known, is_clear, news, process, member, time_outs };
        new.learn(&mut *new.known.lock().await, handled_through).await?;
        Ok(new)
    }

    pub(super) fn has(&self, bug: PlantedBug) -> bool {
        self.pace.planted.is(bug)
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
    pub(in crate::consumer) fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// What becomes of a message that is not to be delivered: because an operator has still to decide, or has given it
    /// up, or because it has to wait behind another. `None` for all others.
    pub(in crate::consumer) async fn keep_back(&self, message: &Message) -> Result<Option<Outcome>> {
        if self.has_news() {
            self.learn_news().await?;
        }
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

    pub(super) async fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().await
    }
}
