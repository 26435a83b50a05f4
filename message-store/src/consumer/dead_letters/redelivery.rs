//! Redelivery: delivers the messages of letters again.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::attempts::{Cause, Failure};
use super::letter::DeadLetter;
use super::letter_progress::LetterProgress;
use super::step::{Step, is_copy};
use super::{Classed, LetterState, SetAside};
use crate::consumer::PlantedBug;
use crate::consumer::deliver::Deliver;
use crate::consumer::groups::Share;
use crate::consumer::process::Turn;
use crate::handling::Handler;
use crate::{Error, Message, MessageId, Outcome, OutcomeKind, Result, StreamName};

/// The time in which the store must record that a redelivery ended without a result.
const RECORD_WITHIN: Duration = Duration::from_secs(2);

/// Handles the steps of letters. After a request for a retry, it delivers the message of the letter. After a letter is
/// closed, it delivers the messages that wait behind it.
pub(in crate::consumer) struct Redelivery<H> {
    pub(in crate::consumer) handler: Arc<H>,
    pub(in crate::consumer) set_aside: Arc<SetAside>,
    /// For each letter, the number of redeliveries that were alone and have ended, without a recorded result.
    unrecorded_ends: Mutex<HashMap<StreamName, u32>>,
}

/// The result of a redelivery.
enum Redelivered {
    Handled(Outcome),
    Failed,
    /// The letter has changed since it was read, because another process or an operator was quicker.
    Overtaken,
    /// The message has not been copied to this store yet.
    NotHere,
}

impl<H: Handler> Redelivery<H> {
    pub(in crate::consumer) fn new(handler: Arc<H>, set_aside: Arc<SetAside>) -> Self {
        Self { handler, set_aside, unrecorded_ends: Mutex::default() }
    }

    /// Delivers the message of a letter. Since the request, its redelivery was begun `begun` times, and was alone in
    /// the process `alone` times.
    async fn deliver_letter(&self, letter: &DeadLetter, begun: u32, alone: u32) -> Result<Redelivered> {
        let (set_aside, letters) = (&self.set_aside, &self.set_aside.letters);
        let id = letter.message.id;
        let stream = &letter.letter.stream;
        let Some(message) = letters.store.message(id).await? else {
            if !letter.is_here {
                tracing::warn!(target: "message_store::consumer", %letter, "a letter was copied here without its message, which is delivered when it is copied");
                return Ok(Redelivered::NotHere);
            }
            tracing::warn!(target: "message_store::consumer", %letter, "the message of a letter is no longer in the store");
            let gone = Step::Discarded { why: "its message is no longer in the store".to_owned() };
            return set_aside.append(letter, &gone).await.map(|_| Redelivered::Overtaken);
        };
        if begun == 0 {
            self.unrecorded_ends().remove(stream);
        }
        // A redelivery that ended in this process was no crash, even if its result could not be recorded.
        let ended = self.unrecorded_ends().get(stream).copied().unwrap_or_default();
        let alone = alone.saturating_sub(ended);
        // Under `Stop`, no message is passed over.
        if alone >= set_aside.max_attempts() && (set_aside.is_on() || letter.has_failed_finally()) {
            let error =
                format!("the delivery was begun {begun} times, {alone} of them alone, and the process ended each time");
            let error = Classed::crashed(error).into();
            let failure = Failure { attempts: letter.attempts + begun, error, again: None };
            set_aside.set_aside_again(&message, &failure).await?;
            return Ok(Redelivered::Failed);
        }
        // The first redelivery need not be alone, because no crash has shown that the message may end the process.
        let turn = match begun {
            0 => Turn::Beside(set_aside.process.beside_others().await),
            _ => set_aside.process.clone().turn(begun - alone - 1).await,
        };
        // Appended at the version that was read, so that a letter that was discarded since is not delivered.
        if !set_aside.append(letter, &Step::Attempted { alone: turn.is_alone() }).await? {
            return Ok(Redelivered::Overtaken);
        }
        // The turn is kept until the result is recorded, because a crash before that counts against this redelivery.
        let was_alone = turn.is_alone();
        let (delivered, turn) = match self.deliver_in_turn(turn, letter, &message).await {
            Ok(ended) => ended,
            Err(error) => {
                self.record_interruption(letter, was_alone).await;
                return Err(error);
            }
        };
        if turn.as_ref().is_some_and(Turn::is_alone) && !set_aside.has(PlantedBug::UnrecordedIsCrash) {
            *self.unrecorded_ends().entry(stream.clone()).or_default() += 1;
        }
        let redelivered = match delivered {
            Ok(outcome) => {
                let resolved = Step::Resolved { outcome: outcome.kind().to_string() };
                set_aside.steps(stream, &letter.message.stream)?.append_at_any_version(&resolved).await?;
                set_aside.count_retried(letter, outcome.kind());
                Redelivered::Handled(outcome)
            }
            // Without the delay, the consumer would have stopped before the message.
            Err(Failure { error, again: None, .. }) if !set_aside.is_on() && !letter.has_failed_finally() => {
                self.record_interruption(letter, was_alone).await;
                return Err(Error::handler(&message, error));
            }
            Err(failure) => {
                let attempts = letter.attempts + failure.attempts;
                let kind = if failure.again.is_some() { OutcomeKind::Delayed } else { OutcomeKind::Parked };
                set_aside.set_aside_again(&message, &Failure { attempts, ..failure }).await?;
                set_aside.count_retried(letter, kind);
                Redelivered::Failed
            }
        };
        self.unrecorded_ends().remove(stream);
        drop(turn);
        Ok(redelivered)
    }

    /// Records that a redelivery ended without a result, so that it does not count as a crash.
    async fn record_interruption(&self, letter: &DeadLetter, was_alone: bool) {
        let stream = &letter.letter.stream;
        let recording = async {
            self.set_aside.steps(stream, &letter.message.stream)?.append_at_any_version(&Step::Interrupted {}).await
        };
        // A store that is silent must not keep a consumer that stops.
        if !matches!(timeout(RECORD_WITHIN, recording).await, Ok(Ok(()))) && was_alone {
            *self.unrecorded_ends().entry(stream.clone()).or_default() += 1;
        }
    }

    fn unrecorded_ends(&self) -> MutexGuard<'_, HashMap<StreamName, u32>> {
        self.unrecorded_ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers a message in its turn. If it is alone and others have waited for the limit, records that it is no
    /// longer alone, and lets them begin. Returns the result, and the turn if it has not ended.
    async fn deliver_in_turn(
        &self,
        turn: Turn,
        letter: &DeadLetter,
        message: &Message,
    ) -> Result<(Result<Outcome, Failure>, Option<Turn>)> {
        let mut delivery = std::pin::pin!(self.set_aside.deliver(&*self.handler, message, Cause::Letter));
        let Turn::Alone(mut alone) = turn else { return Ok((delivery.await?, Some(turn))) };
        tokio::select! {
            delivered = &mut delivery => return Ok((delivered?, Some(Turn::Alone(alone)))),
            () = alone.is_in_the_way() => {}
        }
        let steps = self.set_aside.steps(&letter.letter.stream, &letter.message.stream)?;
        steps.append_at_any_version(&Step::NotAlone {}).await?;
        drop(alone);
        Ok((delivery.await?, None))
    }

    /// Delivers the messages that wait behind a closed letter, in order, until one fails. If none is left, the entity
    /// is released. Messages that waited under [`OnFailure::Hold`](super::OnFailure::Hold) are delivered under another
    /// policy too.
    async fn deliver_waiting(&self, entity: &str, message: &StreamName) -> Result<()> {
        // Reads the open letters again before each message, because others may have been set aside meanwhile.
        loop {
            let mut cache = self.set_aside.cache.lock().await;
            let holds = self.set_aside.holds();
            // The letters of messages that were set aside since the last refresh.
            self.set_aside.read_changes(&mut cache).await?;
            // The slot is being released, or lost. The entity stays held, and the next owner goes on.
            if !self.set_aside.share.may_begin(message) {
                return Ok(());
            }
            let mut open = Vec::new();
            for stream in cache.unresolved.open_of(entity) {
                let letter = self.set_aside.letters.read(stream).await?.letter;
                open.extend(letter.filter(|letter| letter.is_open() && self.set_aside.is_own(&letter.message.stream)));
            }
            // A position in another store does not show the order here.
            open.sort_by_key(|letter| (!letter.is_here, letter.message.global_position));
            let is_passed_over = |letter: &DeadLetter| {
                (letter.waits_for_operator() && !(holds && letter.holds)) || (letter.waits_for_time() && !letter.holds)
            };
            let next = open.into_iter().find(|letter| !is_passed_over(letter));
            cache.release(entity);
            // Letters without a message here come last. They hold no entity, and are delivered when the message comes.
            let Some(next) = next.filter(|next| next.is_here) else { return Ok(()) };
            // Later messages of the entity wait until this one is delivered.
            cache.hold(entity, next.message.global_position);
            self.set_aside.is_cache_empty.store(false, Ordering::SeqCst);
            drop(cache);
            // Later messages wait behind it: it failed under `Hold`, or is delivered again later.
            if next.waits_for_operator() || next.waits_for_time() {
                return Ok(());
            }
            let LetterProgress { begun, alone, .. } = self.set_aside.letters.read(&next.letter.stream).await?;
            // After a failure, the letter shows whether the next message may be delivered.
            if matches!(self.deliver_letter(&next, begun, alone).await?, Redelivered::NotHere) {
                return Ok(());
            }
        }
    }

    /// Acts on a step of a letter.
    async fn deliver_step(&self, step: &Message) -> Result<Outcome> {
        let is_resumed = matches!(&self.set_aside.share, Share::Slots(owned) if owned.is_resumed(step.id));
        match Step::of(step) {
            _ if is_resumed => {}
            Some(Step::RetryRequested {} | Step::Discarded { .. }) => {}
            // The message was delivered in another store, so the messages that wait behind it here are delivered now.
            // After a delivery in this store, that has been done already.
            Some(Step::Resolved { .. }) if is_copy(step) => {}
            // The consumer must know the time of the next delivery, also if another process has set the message aside.
            Some(Step::Parked { again_at: Some(_), .. }) => {
                self.set_aside.refresh().await?;
                return Ok(Outcome::Unhandled);
            }
            _ => return Ok(Outcome::Unhandled),
        }
        let progress = self.set_aside.letters.read(&step.stream).await?;
        let Some(letter) = progress.letter.as_ref().filter(|letter| self.set_aside.is_own(&letter.message.stream))
        else {
            return Ok(Outcome::Unhandled);
        };
        let under_way = match &self.set_aside.share {
            Share::Slots(owned) => match owned.enter(&letter.message.stream) {
                Some(under_way) => Some(under_way),
                // The slot is being released, and its next owner resumes the letter.
                None => return Ok(Outcome::Unhandled),
            },
            Share::All | Share::Member(_) => None,
        };
        let work = self.deliver_progress(step, progress);
        match under_way {
            None => work.await,
            // What is under way for a slot that is lost ends. Its owner delivers the letter.
            Some(under_way) => tokio::select! {
                delivered = work => delivered,
                lost = under_way.is_lost() => Err(lost),
            },
        }
    }

    /// Delivers the message of a letter, if that is requested, and those that wait behind it.
    async fn deliver_progress(&self, step: &Message, mut progress: LetterProgress) -> Result<Outcome> {
        let Some(letter) = &progress.letter else { return Ok(Outcome::Unhandled) };
        let message = letter.message.stream.clone();
        let (holds, mut outcome) = (letter.has_held, None);
        // The cache must contain this step before the consumer delivers messages that it has read already. It must also
        // contain a letter that was copied here together with its request, or the entity would not be released.
        self.set_aside.refresh().await?;
        while let LetterProgress { letter: Some(letter), begun, alone, .. } = progress
            && letter.state == LetterState::Retrying
        {
            match self.deliver_letter(&letter, begun, alone).await? {
                Redelivered::Handled(handled) => outcome = Some(handled),
                Redelivered::Failed | Redelivered::NotHere => {}
                Redelivered::Overtaken => {
                    progress = self.set_aside.letters.read(&step.stream).await?;
                    continue;
                }
            }
            break;
        }
        if holds {
            self.deliver_waiting(step.stream.cardinal_id().unwrap_or_default(), &message).await?;
        }
        Ok(outcome.unwrap_or(Outcome::Ignored))
    }
}

impl<H: Handler> Deliver for Redelivery<H> {
    fn name(&self) -> &'static str {
        self.handler.name()
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["RetryRequested", "Discarded", "Resolved"]
    }

    async fn deliver(&self, step: &Message) -> Result<Outcome> {
        let delivered = self.deliver_step(step).await;
        if let (Ok(_), Share::Slots(owned)) = (&delivered, &self.set_aside.share) {
            owned.end_resuming(step.id);
        }
        delivered
    }

    async fn repeats(&self, _steps: &[Message]) -> HashMap<MessageId, Outcome> {
        HashMap::new()
    }
}
