//! Delivering again what an operator asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attempts::{Cause, Failure};
use super::found::Found;
use super::letter::DeadLetter;
use super::step::{Step, is_copy};
use super::{LetterState, SetAside};
use crate::consumer::PlantedBug;
use crate::consumer::deliver::Deliver;
use crate::consumer::process::Turn;
use crate::handling::Handler;
use crate::{Message, Outcome, Result, StreamName, chain};

/// Handles the steps of letters: when a delivery is asked for, it is made; when a letter is closed, what waited behind
/// it follows.
pub(in crate::consumer) struct Redelivery<H> {
    pub(in crate::consumer) handler: Arc<H>,
    pub(in crate::consumer) set_aside: Arc<SetAside>,
    /// Deliveries that were alone and have ended, and of which the letter does not know yet.
    ended: Mutex<HashMap<StreamName, u32>>,
}

/// What came of a delivery.
enum Redelivered {
    Handled(Outcome),
    Failed,
    /// The letter is not as it was read: another process, or an operator, was quicker.
    Overtaken,
    /// The message is not in the store.
    NotHere,
}

impl<H: Handler> Redelivery<H> {
    pub(in crate::consumer) fn new(handler: Arc<H>, set_aside: Arc<SetAside>) -> Self {
        Self { handler, set_aside, ended: Mutex::default() }
    }

    /// Delivers the message of a letter, which was begun `begun` times since it was asked for, `alone` of them with
    /// nothing else under way.
    async fn deliver_letter(&self, letter: &DeadLetter, begun: u32, alone: u32) -> Result<Redelivered> {
        let (set_aside, letters) = (&self.set_aside, &self.set_aside.letters);
        let id = letter.message.id;
        let stream = &letter.letter.stream;
        let Some(message) = letters.store.message(id).await? else {
            if !letter.is_here {
                tracing::warn!(%letter, "the message of a copied letter is not in this store yet; it is delivered when it comes");
                return Ok(Redelivered::NotHere);
            }
            tracing::warn!(%letter, "the message of a letter is no longer in the store");
            let gone = Step::Discarded { why: "its message is no longer in the store".to_owned() };
            return letters.append(letter, &gone).await.map(|_| Redelivered::Overtaken);
        };
        if begun == 0 {
            self.ended().remove(stream);
        }
        // What this process has ended, and could not say, was no crash.
        let ended = self.ended().get(stream).copied().unwrap_or_default();
        let alone = alone.saturating_sub(ended);
        if alone >= set_aside.max_attempts() {
            let error = format!("it was begun {begun} times, {alone} of them alone, and the process ended each time");
            set_aside.set_aside_again(&message, letter.attempts + begun, &error).await?;
            return Ok(Redelivered::Failed);
        }
        // The first time, nothing tells that the message may end the process.
        let turn = match begun {
            0 => Turn::Beside(set_aside.process.beside_others().await),
            _ => set_aside.process.clone().turn(begun - alone - 1).await,
        };
        // At the version that was read: what was discarded since is not delivered.
        if !letters.append(letter, &Step::Attempted { alone: turn.is_alone() }).await? {
            return Ok(Redelivered::Overtaken);
        }
        // Held until it is on record what came of it: a crash before that is one of this delivery.
        let (delivered, turn) = self.deliver_in(turn, stream, &message).await?;
        if turn.as_ref().is_some_and(Turn::is_alone) && !set_aside.has(PlantedBug::UnrecordedIsCrash) {
            *self.ended().entry(stream.clone()).or_default() += 1;
        }
        let redelivered = match delivered {
            Ok(outcome) => {
                let resolved = Step::Resolved { outcome: outcome.kind().to_string() };
                letters.steps(stream).append_at_any_version(&resolved).await?;
                Redelivered::Handled(outcome)
            }
            Err((attempts, error)) => {
                set_aside.set_aside_again(&message, letter.attempts + attempts, &chain(&*error)).await?;
                Redelivered::Failed
            }
        };
        self.ended().remove(stream);
        drop(turn);
        Ok(redelivered)
    }

    fn ended(&self) -> MutexGuard<'_, HashMap<StreamName, u32>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers a message in its turn. When others have waited long enough for one that is alone, that is said, and
    /// they begin.
    async fn deliver_in(
        &self,
        turn: Turn,
        stream: &StreamName,
        message: &Message,
    ) -> Result<(Result<Outcome, Failure>, Option<Turn>)> {
        let mut delivery = std::pin::pin!(self.set_aside.deliver(&*self.handler, message, Cause::Letter));
        let Turn::Alone(mut alone) = turn else { return Ok((delivery.await?, Some(turn))) };
        tokio::select! {
            delivered = &mut delivery => return Ok((delivered?, Some(Turn::Alone(alone)))),
            () = alone.is_in_the_way() => {}
        }
        self.set_aside.letters.steps(stream).append_at_any_version(&Step::NotAlone {}).await?;
        drop(alone);
        Ok((delivery.await?, None))
    }

    /// Delivers what waits behind a closed letter, in order, until something fails again; then, or when nothing is
    /// left, the entity is released. Where nothing holds entities any more, what waited under another policy follows
    /// all the same.
    async fn follow(&self, entity: &str) -> Result<()> {
        loop {
            let mut known = self.set_aside.known().await;
            let holds = self.set_aside.holds();
            if holds && !known.is_held(entity) {
                return Ok(());
            }
            let open = self.set_aside.letters.open().await?;
            let is_of_entity = |letter: &DeadLetter| letter.letter.stream.cardinal_id() == Some(entity);
            let is_passed_over = |letter: &DeadLetter| letter.waits_for_operator() && !(holds && letter.holds);
            let next = open.into_iter().find(|letter| is_of_entity(letter) && !is_passed_over(letter));
            known.release(entity);
            // Messages that are still to come are the last. They are delivered when they come, and hold nothing back.
            let Some(next) = next.filter(|next| next.is_here) else { return Ok(()) };
            if holds {
                known.hold(entity, next.message.global_position);
            }
            drop(known);
            // The first of a queue.
            if next.waits_for_operator() {
                return Ok(());
            }
            let Found { begun, alone, .. } = self.set_aside.letters.read(&next.letter.stream).await?;
            if matches!(self.deliver_letter(&next, begun, alone).await?, Redelivered::Failed | Redelivered::NotHere) {
                return Ok(());
            }
        }
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
        match Step::of(step) {
            Some(Step::RetryRequested {} | Step::Discarded { .. }) => {}
            // What was delivered in another store is closed here too. After a delivery in this store, what waits has
            // followed already.
            Some(Step::Resolved { .. }) if is_copy(step) => {}
            _ => return Ok(Outcome::Unhandled),
        }
        let mut found = self.set_aside.letters.read(&step.stream).await?;
        let Some(letter) = found.letter.as_ref().filter(|letter| self.set_aside.is_own(&letter.message.stream)) else {
            return Ok(Outcome::Unhandled);
        };
        let (holds, mut outcome) = (letter.holds, None);
        // Messages that were read before a discard may be delivered after it. And what the letter holds back has to be
        // known before it follows: a copied letter may come with the retry that was asked for.
        self.set_aside.refresh_now().await?;
        while let Found { letter: Some(letter), begun, alone, .. } = found
            && letter.state == LetterState::Retrying
        {
            match self.deliver_letter(&letter, begun, alone).await? {
                Redelivered::Handled(handled) => outcome = Some(handled),
                Redelivered::Failed | Redelivered::NotHere => {}
                Redelivered::Overtaken => {
                    found = self.set_aside.letters.read(&step.stream).await?;
                    continue;
                }
            }
            break;
        }
        if holds {
            self.follow(step.stream.cardinal_id().unwrap_or_default()).await?;
        }
        Ok(outcome.unwrap_or(Outcome::Ignored))
    }
}
