//! Setting messages aside: the state that the delivery and the redelivery of a consumer share.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::OnFailure;
use super::delays::NextDelivery;
use super::letter::{DeadLetter, DeadLetters};
use super::letter_cache::LetterCache;
use super::refresh::RefreshTrigger;
use super::step::Step;
use super::time_outs::TimeOuts;
use super::unresolved_letters::UnresolvedLetters;
use crate::consumer::consumer_metrics::ConsumerMetrics;
use crate::consumer::groups::Share;
use crate::consumer::outages::Outages;
use crate::consumer::pace::Pace;
use crate::consumer::process::Process;
use crate::consumer::{OutcomeCounts, PlantedBug};
use crate::store::StepStream;
use crate::{GlobalPosition, Message, Outcome, OutcomeKind, Result, StreamName};

/// The letters of a consumer, and its policy for messages that fail.
pub(in crate::consumer) struct SetAside {
    pub(super) letters: DeadLetters,
    policy: OnFailure,
    /// The number of failed attempts after which a message is set aside.
    pub(super) max_attempts: u32,
    pub(super) pace: Pace,
    pub(super) outages: Outages,
    /// Locked while a message is set aside behind another. Otherwise it could be set aside after the entity was
    /// released, and would not be delivered.
    pub(super) cache: Mutex<LetterCache>,
    /// Whether the cache is empty. Each delivery checks this first, without the lock.
    pub(super) is_cache_empty: AtomicBool,
    pub(super) refresh_trigger: std::sync::Mutex<RefreshTrigger>,
    pub(super) next_delivery: NextDelivery,
    /// The deliveries that are under way in this process.
    pub(in crate::consumer) process: Process,
    pub(in crate::consumer) share: Share,
    /// All messages up to this position are handled, so their letters are not needed before a delivery.
    handled_through: AtomicI64,
    pub(super) time_outs: TimeOuts,
    /// The stream with the consumer's position, or the name of its elastic group.
    pub(super) positions: StreamName,
    /// The outcomes of the consumer, also of the messages of letters.
    pub(in crate::consumer) counts: Arc<std::sync::Mutex<OutcomeCounts>>,
    pub(in crate::consumer) metrics: ConsumerMetrics,
}

impl SetAside {
    /// Reads the letters of a consumer. `positions` is its position stream, and the position that was saved there last.
    pub(in crate::consumer) async fn new(
        letters: DeadLetters,
        (policy, max_attempts): (OnFailure, u32),
        share: Share,
        pace: Pace,
        outages: Outages,
        process: Process,
        positions: (&StreamName, GlobalPosition),
    ) -> Result<Self> {
        let (stream, handled_through) = positions;
        let metrics = ConsumerMetrics::of(&letters.consumer_category, letters.identifier.as_deref());
        let empty = UnresolvedLetters::new(share.clone(), letters.store.history());
        let (cache, time_outs) = (Mutex::new(LetterCache::of(empty)), TimeOuts::new(stream.clone()));
        let is_cache_empty = AtomicBool::new(false);
        // Listens before the first read, so that no later change is missed.
        let wake_up = letters.store.wake_up(Some(&letters.category)).await?;
        let refresh_trigger = std::sync::Mutex::new(RefreshTrigger { wake_up, last_read: Instant::now() });
        let new = Self {
            letters,
            policy,
            max_attempts,
            pace,
            outages,
            cache,
            is_cache_empty,
            refresh_trigger,
            next_delivery: NextDelivery::default(),
            process,
            share,
            handled_through: AtomicI64::new(handled_through.get()),
            time_outs,
            positions: stream.clone(),
            counts: Arc::default(),
            metrics,
        };
        // A member of an elastic group has no slot yet. It keeps what it needs for any slot.
        let position = if matches!(new.share, Share::Slots(_)) { new.lowest_saved().await? } else { handled_through };
        Box::pin(new.load(position)).await?;
        Ok(new)
    }

    /// The number of open letters of the consumer's own messages.
    pub(in crate::consumer) async fn open_letters(&self) -> Result<usize> {
        if self.is_refresh_due() {
            self.refresh_if_due().await?;
        }
        Ok(self.cache.lock().await.unresolved.count_open())
    }

    pub(in crate::consumer) fn poll_interval(&self) -> Duration {
        self.pace.poll_interval
    }

    /// Counts and logs the delivery of a letter's message.
    pub(super) fn count_retried(&self, letter: &DeadLetter, kind: OutcomeKind) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).count_retried(kind);
        self.metrics.retried(kind);
        let DeadLetter { message, message_type, attempts, .. } = letter;
        tracing::info!(target: "message_store::consumer", %message, message_type, attempts, outcome = %kind, "the message of a letter was delivered again");
    }

    pub(super) fn has(&self, bug: PlantedBug) -> bool {
        self.pace.planted.is(bug)
    }

    /// Whether the consumer sets aside messages that failed finally. Under [`OnFailure::Stop`] it does not, but letters
    /// that it wrote under another policy still count.
    pub(in crate::consumer) fn is_on(&self) -> bool {
        self.policy != OnFailure::Stop
    }

    /// Whether later messages of an entity wait behind one that was set aside.
    pub(super) fn holds(&self) -> bool {
        self.policy == OnFailure::Hold
    }

    /// Whether this member of its group handles the messages of a stream.
    pub(super) fn is_own(&self, stream: &StreamName) -> bool {
        self.has(PlantedBug::LettersByName) || self.share.is_own(stream)
    }

    /// Reports that a slot is lost to the consumer's loop.
    pub(in crate::consumer) fn report_lost(&self, slot: u16, epoch: i64) {
        if let Share::Slots(owned) = &self.share {
            owned.report_lost(slot, epoch);
        }
    }

    /// The position up to which the consumer has handled all messages of its share.
    pub(super) fn handled_through(&self) -> GlobalPosition {
        GlobalPosition::new(self.handled_through.load(Ordering::SeqCst))
    }

    pub(in crate::consumer) fn set_handled_through(&self, position: GlobalPosition) {
        self.handled_through.store(position.get(), Ordering::SeqCst);
    }

    /// The steps of a letter, for writing. `message` is the stream of the letter's message.
    ///
    /// # Errors
    /// [`Error::SlotLost`](crate::Error::SlotLost) if the member of an elastic group does not own the message's slot.
    pub(super) fn steps(&self, letter: &StreamName, message: &StreamName) -> Result<StepStream<Step>> {
        Ok(self.letters.steps(letter).fenced_by(self.share.fence(message)?))
    }

    /// Appends a step, if the letter has not changed since it was read. Returns whether it did.
    pub(super) async fn append(&self, letter: &DeadLetter, step: &Step) -> Result<bool> {
        let steps = self.steps(&letter.letter.stream, &letter.message.stream)?;
        Ok(steps.append(letter.end, step).await?.is_ok())
    }

    /// The number of failed attempts after which a message is set aside.
    pub(in crate::consumer) fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// The outcome of a message that must not be delivered: its letter is open or discarded, or it waits behind an
    /// earlier message of its entity. `None` for all other messages.
    pub(in crate::consumer) async fn outcome_without_delivery(&self, message: &Message) -> Result<Option<Outcome>> {
        if self.is_refresh_due() {
            self.refresh_if_due().await?;
        }
        if self.is_cache_empty.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let cache = self.cache.lock().await;
        if !cache.unresolved.is_empty()
            && !self.has(PlantedBug::LettersUnread)
            && let Some(letter) = cache.unresolved.get(&self.letters.stream_of(message)?)
        {
            return Ok(Some(letter.outcome()));
        }
        match cache.held.get(&*self.letters.entity_of(message)) {
            Some(first) if *first < message.global_position => self.park_behind(message).await.map(Some),
            _ => Ok(None),
        }
    }
}
