//! Writes the letter of a message that is set aside.

use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};

use super::attempts::Failure;
use super::step::Step;
use super::{ErrorClass, LetterState, SetAside};
use crate::{Message, Outcome, Result, chain};

/// The maximum length of the error in a letter, in bytes. A longer one is cut.
const MAX_ERROR_BYTES: usize = 16 << 10;

/// The reason why a message is set aside, as its letter records it.
struct Reason {
    attempts: u32,
    error: String,
    error_class: Option<ErrorClass>,
    holds: bool,
    again_at: Option<Timestamp>,
}

impl SetAside {
    /// Sets aside a message that could not be handled. Under [`OnFailure::Hold`](super::OnFailure::Hold), and if the
    /// handler asked for it, later messages of its entity wait.
    pub(in crate::consumer) async fn set_aside(&self, message: &Message, failure: &Failure) -> Result<Outcome> {
        let mut cache = self.cache.lock().await;
        let reason = self.reason(failure).await?;
        let outcome = self.park(message, &reason, false).await?;
        let holds = match &outcome {
            Outcome::Parked { .. } => self.holds(),
            Outcome::Delayed { .. } => reason.holds,
            _ => false,
        };
        if holds {
            cache.hold(&self.letters.entity_of(message), message.global_position);
            self.is_cache_empty.store(false, Ordering::SeqCst);
        }
        Ok(outcome)
    }

    /// Sets a message aside again after a redelivery that failed.
    pub(super) async fn set_aside_again(&self, message: &Message, failure: &Failure) -> Result<()> {
        let _ = self.park(message, &self.reason(failure).await?, true).await?;
        Ok(())
    }

    async fn reason(&self, failure: &Failure) -> Result<Reason> {
        let again_at = match failure.again {
            Some(again) => {
                let after = SignedDuration::try_from(again.after).unwrap_or(SignedDuration::MAX);
                Some(self.letters.store.now().await?.checked_add(after).unwrap_or(Timestamp::MAX))
            }
            None => None,
        };
        let holds = self.holds() || failure.again.is_some_and(|again| again.holds);
        let (error, error_class) = (chain(&*failure.error), Some(ErrorClass::of(&*failure.error)));
        Ok(Reason { attempts: failure.attempts, error, error_class, holds, again_at })
    }

    /// Sets aside a message that waits behind an earlier one of its entity.
    pub(super) async fn park_behind(&self, message: &Message) -> Result<Outcome> {
        let error = "it waits behind an earlier message of its entity".to_owned();
        self.park(message, &Reason { attempts: 0, error, error_class: None, holds: true, again_at: None }, false).await
    }

    /// Sets a message aside, unless its letter shows that it waits already or is discarded. `again` means after a
    /// redelivery.
    async fn park(&self, message: &Message, reason: &Reason, again: bool) -> Result<Outcome> {
        let steps = self.steps(&self.letters.stream_of(message)?, &message.stream)?;
        let Reason { attempts, error, error_class, holds, again_at } = reason;
        let parked = Step::Parked {
            message: message.into(),
            message_type: message.message_type.clone(),
            attempts: *attempts,
            error: storable(error),
            error_class: *error_class,
            holds: *holds,
            again_at: *again_at,
            member: self.share.member_name(),
        };
        // Reads the letter again each time that another writer has appended first.
        loop {
            let progress = self.letters.read(steps.stream()).await?;
            if let Some(existing) = progress.letter {
                let waits_for_time = existing.waits_for_time();
                let letter = existing.letter;
                match existing.state {
                    // The message only waited behind another, and has failed now for the first time.
                    LetterState::Parked if again && existing.attempts == 0 => {}
                    // The previous consumer crashed before it saved its position, or another process was quicker.
                    LetterState::Parked if waits_for_time => return Ok(Outcome::Delayed { letter }),
                    LetterState::Parked => return Ok(Outcome::Parked { letter }),
                    LetterState::Retrying if !again => return Ok(Outcome::Parked { letter }),
                    LetterState::Resolved(_) if again => return Ok(Outcome::Parked { letter }),
                    LetterState::Discarded(_) => return Ok(Outcome::Discarded { letter }),
                    LetterState::Retrying | LetterState::Resolved(_) => {}
                }
            }
            if let Ok(letter) = steps.append(progress.end, &parked).await? {
                let (message, letter, consumer) = (message.reference(), letter.message, &self.positions);
                if let Some(again_at) = again_at {
                    tracing::info!(target: "message_store::consumer", %consumer, %message, attempts, error, %again_at, "the message is delivered again later");
                    return Ok(Outcome::Delayed { letter });
                }
                if *attempts == 0 {
                    tracing::info!(target: "message_store::consumer", %consumer, %message, "the message waits behind an earlier one of its entity");
                } else {
                    tracing::error!(target: "message_store::consumer", %consumer, %message, attempts, error, "the message could not be handled, and was set aside");
                }
                return Ok(Outcome::Parked { letter });
            }
        }
    }
}

/// The error as a letter contains it: a store refuses NUL characters and messages that are too large.
fn storable(error: &str) -> String {
    let text = error.replace('\0', "\u{fffd}");
    if text.len() <= MAX_ERROR_BYTES {
        return text;
    }
    let end = (0..=MAX_ERROR_BYTES).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    format!("{} … ({} bytes in all)", &text[..end], error.len())
}
