//! The progress of a letter, read from its stream.

use futures_util::TryStreamExt as _;

use super::LetterState;
use super::letter::{DeadLetter, DeadLetters, LetterFailure};
use super::step::{MessagePlace, Step, is_copy};
use crate::store::End;
use crate::{GlobalPosition, Message, MessageRef, MessageStoreExt as _, Position, Result, StreamName};

/// A letter, and its redeliveries since the last one was requested.
pub(super) struct LetterProgress {
    pub(super) letter: Option<DeadLetter>,
    /// The number of redeliveries that were begun, here or in the store from which the letter was copied.
    pub(super) begun: u32,
    /// The number of these that were alone in the process until they, or the process, ended.
    pub(super) alone: u32,
    /// The last of these was alone.
    is_last_alone: bool,
    /// At least one of these was begun in this store. A redelivery in another store does not go on here.
    pub(super) is_begun_here: bool,
    /// The last step that set the message aside was written in this store, and not copied here.
    is_parked_here: bool,
    /// The first step after a given position that can open the letter.
    pub(super) opened_after: Option<Position>,
    pub(super) end: End,
}

impl DeadLetters {
    /// Reads the stream of a letter.
    pub(super) async fn read(&self, stream: &StreamName) -> Result<LetterProgress> {
        self.read_opened_after(stream, GlobalPosition::ZERO).await
    }

    /// As [`DeadLetters::read`]. Also finds the first step after `position` that can open the letter.
    pub(super) async fn read_opened_after(
        &self,
        stream: &StreamName,
        position: GlobalPosition,
    ) -> Result<LetterProgress> {
        let end = self.steps(stream).start();
        let mut progress = LetterProgress {
            letter: None,
            begun: 0,
            alone: 0,
            is_last_alone: false,
            is_begun_here: false,
            is_parked_here: false,
            opened_after: None,
            end,
        };
        let mut steps = std::pin::pin!(self.store.stream_messages(stream, Position::FIRST));
        while let Some(message) = steps.try_next().await? {
            let step = Step::of(&message);
            if message.global_position > position && step.as_ref().is_some_and(|step| step.can_open_after(position)) {
                progress.opened_after.get_or_insert(message.position);
            }
            match step {
                // A discard is final, even if steps of another store are copied here after it.
                Some(_) if progress.is_discarded() => {}
                Some(Step::Parked {
                    message: recorded,
                    message_type,
                    attempts,
                    error,
                    error_class,
                    holds,
                    again_at,
                    member,
                }) => {
                    let place = self.place_of(&message, &recorded).await?;
                    let before = progress.letter.take();
                    let has_held = holds || before.as_ref().is_some_and(|before| before.has_held);
                    let mut failures = before.map(|before| before.failures).unwrap_or_default();
                    if attempts > 0 {
                        failures.push(LetterFailure {
                            time: message.time,
                            attempts,
                            error: error.clone(),
                            error_class,
                            member,
                        });
                    }
                    progress.letter = Some(DeadLetter {
                        is_here: place.is_some(),
                        message: place.unwrap_or_else(|| recorded.into()),
                        message_type,
                        attempts,
                        error,
                        error_class,
                        state: LetterState::Parked,
                        again_at,
                        parked_at: message.time,
                        holds,
                        has_held,
                        failures,
                        letter: message.reference(),
                        end: progress.end,
                    });
                    progress.is_parked_here = !is_copy(&message);
                    progress.reset_deliveries();
                }
                Some(step) => progress.apply(step, is_copy(&message)),
                None => {}
            }
            progress.end = progress.end.after(message.position);
            if let Some(letter) = &mut progress.letter {
                letter.end = progress.end;
            }
        }
        Ok(progress)
    }

    /// The place of a letter's message in this store. A copied step records the place in another store, so the message
    /// is looked up. `None` if it was not copied.
    async fn place_of(&self, step: &Message, recorded: &MessagePlace) -> Result<Option<MessageRef>> {
        if !is_copy(step) {
            return Ok(Some(recorded.clone().into()));
        }
        Ok(self.store.message(recorded.message_id).await?.map(|message| message.reference()))
    }
}

impl LetterProgress {
    pub(super) fn is_discarded(&self) -> bool {
        self.letter.as_ref().is_some_and(DeadLetter::is_discarded)
    }

    /// Applies a step that does not set the message aside.
    fn apply(&mut self, step: Step, is_copy: bool) {
        match (step, &mut self.letter) {
            // Another store began this redelivery before the message failed here. The operator must still decide.
            (Step::Attempted { .. }, _) if is_copy && self.is_parked_here => {}
            (Step::Attempted { alone }, letter) => {
                self.begun += 1;
                self.alone += u32::from(alone);
                self.is_last_alone = alone;
                self.is_begun_here |= !is_copy;
                // The message waited behind another, and is now delivered. It is too late to discard it.
                if let Some(letter) = letter.as_mut().filter(|letter| letter.state == LetterState::Parked) {
                    letter.state = LetterState::Retrying;
                }
            }
            (Step::NotAlone {}, _) => {
                self.alone = self.alone.saturating_sub(1);
                self.is_last_alone = false;
            }
            (Step::Interrupted {}, _) => {
                self.begun = self.begun.saturating_sub(1);
                self.alone = self.alone.saturating_sub(u32::from(self.is_last_alone));
                self.is_last_alone = false;
            }
            (Step::RetryRequested {}, Some(letter)) => {
                letter.state = LetterState::Retrying;
                self.reset_deliveries();
            }
            (Step::Resolved { outcome }, Some(letter)) => letter.state = LetterState::Resolved(outcome),
            (Step::Discarded { why }, Some(letter)) => letter.state = LetterState::Discarded(why),
            (_, _) => {}
        }
    }

    fn reset_deliveries(&mut self) {
        (self.begun, self.alone, self.is_begun_here) = (0, 0, false);
    }
}
