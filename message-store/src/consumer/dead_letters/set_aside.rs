//! Setting messages aside: what the delivery and the redelivery of a consumer's messages share.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, RwLock};

use super::letter::{DeadLetters, Step};
use super::standing::Standings;
use super::time_outs::{TimeOuts, store_error};
use super::{LetterState, OnFailure};
use crate::command::{Contention, Handler};
use crate::consumer::PlantedBug;
use crate::consumer::attempt::attempt;
use crate::consumer::pause::Pause;
use crate::consumer::settings::Pace;
use crate::idempotence::Outcome;
use crate::{Error, GlobalPosition, GroupMember, Message, Result, Source, StreamName, chain};

/// How often a message was delivered in vain, and what its handler said last.
pub(super) type Failure = (u32, Source);

/// What a consumer knows of its letters, and does with a message that fails.
pub(in crate::consumer) struct SetAside {
    pub(super) letters: DeadLetters,
    policy: OnFailure,
    /// How often a message is delivered.
    deliveries: u32,
    pace: Pace,
    /// Locked while a message is put behind another, so that none is put there after the last was taken away.
    known: Mutex<Known>,
    /// Shared by all deliveries; a message that may end the process has it alone.
    pub(in crate::consumer) under_way: Arc<RwLock<()>>,
    time_outs: TimeOuts,
}

pub(super) struct Known {
    standings: Standings,
    /// Entities whose messages wait, from this position on.
    held: HashMap<String, GlobalPosition>,
}

impl SetAside {
    /// Of a consumer that has handled everything up to a position, which it keeps in the stream `positions`.
    pub(in crate::consumer) async fn new(
        letters: DeadLetters,
        policy: OnFailure,
        deliveries: u32,
        member: Option<GroupMember>,
        pace: Pace,
        positions: (&StreamName, GlobalPosition),
    ) -> Result<Self> {
        let (stream, handled_through) = positions;
        let mut known = Known { standings: Standings::new(handled_through, member), held: HashMap::new() };
        if policy == OnFailure::Hold {
            for letter in letters.list().await?.into_iter().filter(|letter| letter.holds) {
                known.hold(letter.letter.stream.cardinal_id(), letter.message.global_position);
            }
        }
        let _ = known.standings.refresh(&letters, handled_through).await?;
        let (known, time_outs) = (Mutex::new(known), TimeOuts::new(stream.clone()));
        Ok(Self { letters, policy, deliveries, pace, known, under_way: Arc::default(), time_outs })
    }

    fn has(&self, bug: PlantedBug) -> bool {
        self.pace.planted == Some(bug)
    }

    /// Whether anything is set aside: under [`OnFailure::Stop`] nothing is, but what was before, under another policy, still is.
    pub(in crate::consumer) fn is_on(&self) -> bool {
        self.policy != OnFailure::Stop
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
        let mut known = self.known.lock().await;
        // A consumer that stops at failures sets nothing aside; but what was set aside before, under another policy, may be discarded now.
        if !self.is_on() && known.standings.is_empty() {
            return Ok(());
        }
        let Known { standings, held } = &mut *known;
        for stream in standings.refresh(&self.letters, handled_through).await? {
            if self.policy == OnFailure::Hold
                && let Some(standing) = standings.get(&stream)
                && standing.holds
                && !standing.is_discarded
            {
                hold(held, stream.cardinal_id(), standing.message);
            }
        }
        Ok(())
    }

    /// What becomes of a message that is not to be delivered: because an operator has still to decide, or has given it up, or because it
    /// has to wait behind another. `None` for all others.
    pub(in crate::consumer) async fn keep_back(&self, message: &Message) -> Result<Option<Outcome>> {
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

    /// Delivers a message as often as allowed; what the last attempt said. What passes with the store is not the message's fault.
    ///
    /// # Errors
    /// [`Error::Handler`] when the store's fault does not pass.
    pub(super) async fn deliver<H: Handler>(&self, handler: &H, message: &Message) -> Result<Result<Outcome, Failure>> {
        let mut attempts = 0;
        let (mut contention, mut contended) = (Contention::new(), None::<StreamName>);
        let (mut pause, mut again) = (Pause::new(self.pace.retries), Pause::new(self.deliveries));
        loop {
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
                if contention.again(*actual).await {
                    continue;
                }
            }
            let timed_out = matches!(store_error, Some(Error::TimedOut { .. }));
            let passes = if timed_out {
                self.has(PlantedBug::EveryTimeOutPasses)
                    || self.time_outs.are_the_stores(&*self.letters.store, message).await
            } else {
                store_error.is_some_and(Error::is_transient)
            };
            if passes {
                if pause.again(&error).await {
                    continue;
                }
                return Err(Error::handler(message, error));
            }
            attempts += 1;
            // A time-out alone proves nothing of the message, also where other failures would stop the consumer at once.
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

    /// Sets a message aside that could not be handled, and makes later ones of its entity wait, where the policy says so.
    pub(in crate::consumer) async fn set_aside(
        &self,
        message: &Message,
        attempts: u32,
        error: &str,
    ) -> Result<Outcome> {
        let mut known = self.known.lock().await;
        let outcome = self.park(message, attempts, error, false).await?;
        if self.policy == OnFailure::Hold && matches!(outcome, Outcome::Parked { .. }) {
            known.hold(Some(&self.letters.entity_of(message)), message.global_position);
        }
        Ok(outcome)
    }

    /// Sets a message aside again, which was delivered because an operator asked for it.
    pub(super) async fn set_aside_again(&self, message: &Message, attempts: u32, error: &str) -> Result<()> {
        let _ = self.park(message, attempts, error, true).await?;
        Ok(())
    }

    async fn park(&self, message: &Message, attempts: u32, error: &str, again: bool) -> Result<Outcome> {
        let stream = self.letters.stream_of(message)?;
        let parked = Step::Parked {
            message_id: message.id,
            stream: message.stream.clone(),
            position: message.position,
            global_position: message.global_position,
            message_type: message.message_type.clone(),
            attempts,
            error: error.to_owned(),
            holds: self.policy == OnFailure::Hold,
        };
        loop {
            let found = self.letters.read(&stream).await?;
            if let Some(known) = found.letter {
                let letter = known.letter;
                match known.state {
                    // Set aside before: the consumer was broken off before it had saved its position, or another process was quicker.
                    // What only waited behind another was never tried.
                    LetterState::Parked if again && known.attempts == 0 => {}
                    LetterState::Parked => return Ok(Outcome::Parked { letter }),
                    LetterState::Retrying if !again => return Ok(Outcome::Parked { letter }),
                    LetterState::Resolved(_) if again => return Ok(Outcome::Parked { letter }),
                    LetterState::Discarded(_) => return Ok(Outcome::Discarded { letter }),
                    LetterState::Retrying | LetterState::Resolved(_) => {}
                }
            }
            match self.letters.say(&stream, found.version.into(), &parked).await {
                Ok(letter) => {
                    let message = message.reference();
                    tracing::error!(%message, attempts, error, "it could not be handled, and was set aside");
                    return Ok(Outcome::Parked { letter });
                }
                Err(Error::WrongExpectedVersion { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().await
    }
}

impl Known {
    /// From this message on, messages of its entity wait.
    pub(super) fn hold(&mut self, entity: Option<&str>, from: GlobalPosition) {
        hold(&mut self.held, entity, from);
    }

    pub(super) fn is_held(&self, entity: &str) -> bool {
        self.held.contains_key(entity)
    }

    pub(super) fn release(&mut self, entity: &str) {
        self.held.remove(entity);
    }
}

fn hold(held: &mut HashMap<String, GlobalPosition>, entity: Option<&str>, from: GlobalPosition) {
    let first = held.entry(entity.unwrap_or_default().to_owned()).or_insert(from);
    *first = (*first).min(from);
}
