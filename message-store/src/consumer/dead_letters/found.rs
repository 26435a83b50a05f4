//! What stands in the stream of a letter.

use futures_util::TryStreamExt as _;

use super::LetterState;
use super::letter::{DeadLetter, DeadLetters};
use super::step::{MessagePlace, Step, is_copy};
use crate::store::End;
use crate::{Message, MessageRef, MessageStoreExt as _, Position, Result, StreamName};

/// What stands in the stream of a letter.
pub(super) struct Found {
    pub(super) letter: Option<DeadLetter>,
    /// How often a delivery was begun since it was last asked for, here or in the store that the letter was copied
    /// from.
    pub(super) begun: u32,
    /// How many of them were alone in the process, from their beginning to their end or that of the process.
    pub(super) alone: u32,
    /// One of them was begun in this store. What was begun in another one does not go on here.
    pub(super) is_begun_here: bool,
    /// It was set aside in this store last. What another store began before does not go on here.
    is_parked_here: bool,
    pub(super) end: End,
}

impl DeadLetters {
    /// What stands in the stream of a letter.
    pub(super) async fn read(&self, stream: &StreamName) -> Result<Found> {
        let end = self.steps(stream).start();
        let mut found = Found { letter: None, begun: 0, alone: 0, is_begun_here: false, is_parked_here: false, end };
        let mut steps = std::pin::pin!(self.store.stream_messages(stream, Position::FIRST));
        while let Some(message) = steps.try_next().await? {
            match Step::of(&message) {
                // A discard is final. After a move, steps of the other store may stand behind it.
                Some(_) if found.is_discarded() => {}
                Some(Step::Parked { message: said, message_type, attempts, error, holds }) => {
                    let place = self.place_of(&message, &said).await?;
                    let before = found.letter.take();
                    found.letter = Some(DeadLetter {
                        is_here: place.is_some(),
                        message: place.unwrap_or_else(|| said.into()),
                        message_type,
                        attempts,
                        error,
                        state: LetterState::Parked,
                        parked_at: message.time,
                        holds: holds || before.is_some_and(|before| before.holds),
                        letter: message.reference(),
                        end: found.end,
                    });
                    found.is_parked_here = !is_copy(&message);
                    found.nothing_has_begun();
                }
                Some(step) => found.take(step, is_copy(&message)),
                None => {}
            }
            found.end = found.end.after(message.position);
            if let Some(letter) = &mut found.letter {
                letter.end = found.end;
            }
        }
        Ok(found)
    }

    /// Where the message of a letter stands in this store: a letter that was copied here says where it stood in another
    /// one. `None` when the message was not copied.
    async fn place_of(&self, step: &Message, said: &MessagePlace) -> Result<Option<MessageRef>> {
        if !is_copy(step) {
            return Ok(Some(said.clone().into()));
        }
        Ok(self.store.message(said.message_id).await?.map(|message| message.reference()))
    }
}

impl Found {
    pub(super) fn is_discarded(&self) -> bool {
        self.letter.as_ref().is_some_and(DeadLetter::is_discarded)
    }

    /// Takes in a step that does not set the message aside.
    fn take(&mut self, step: Step, is_copy: bool) {
        match (step, &mut self.letter) {
            // A copy of what another store began before: the operator still has to decide here.
            (Step::Attempted { .. }, _) if is_copy && self.is_parked_here => {}
            (Step::Attempted { alone }, letter) => {
                self.begun += 1;
                self.alone += u32::from(alone);
                self.is_begun_here |= !is_copy;
                // One that only waited is under way now: it is too late to discard it.
                if let Some(letter) = letter.as_mut().filter(|letter| letter.state == LetterState::Parked) {
                    letter.state = LetterState::Retrying;
                }
            }
            (Step::NotAlone {}, _) => self.alone = self.alone.saturating_sub(1),
            (Step::RetryRequested {}, Some(letter)) => {
                letter.state = LetterState::Retrying;
                self.nothing_has_begun();
            }
            (Step::Resolved { outcome }, Some(letter)) => letter.state = LetterState::Resolved(outcome),
            (Step::Discarded { why }, Some(letter)) => letter.state = LetterState::Discarded(why),
            (_, _) => {}
        }
    }

    fn nothing_has_begun(&mut self) {
        (self.begun, self.alone, self.is_begun_here) = (0, 0, false);
    }
}
