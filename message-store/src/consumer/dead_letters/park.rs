//! Writes the letter of a message that is set aside.

use std::sync::atomic::Ordering;

use super::step::Step;
use super::{LetterState, SetAside};
use crate::{Message, Outcome, Result};

/// The maximum length of the error in a letter, in bytes. A longer one is cut.
const MAX_ERROR_BYTES: usize = 16 << 10;

impl SetAside {
    /// Sets aside a message that could not be handled. Under [`OnFailure::Hold`](super::OnFailure::Hold), later
    /// messages of its entity wait.
    pub(in crate::consumer) async fn set_aside(
        &self,
        message: &Message,
        attempts: u32,
        error: &str,
    ) -> Result<Outcome> {
        let mut cache = self.cache.lock().await;
        let outcome = self.park(message, attempts, error, false).await?;
        if self.holds() && matches!(outcome, Outcome::Parked { .. }) {
            cache.hold(&self.letters.entity_of(message), message.global_position);
            self.is_cache_empty.store(false, Ordering::SeqCst);
        }
        Ok(outcome)
    }

    /// Sets a message aside again after a redelivery that failed.
    pub(super) async fn set_aside_again(&self, message: &Message, attempts: u32, error: &str) -> Result<()> {
        let _ = self.park(message, attempts, error, true).await?;
        Ok(())
    }

    /// Sets a message aside, unless its letter shows that it waits already or is discarded. `again` means after a
    /// redelivery.
    pub(super) async fn park(&self, message: &Message, attempts: u32, error: &str, again: bool) -> Result<Outcome> {
        let steps = self.letters.steps(&self.letters.stream_of(message)?);
        let parked = Step::Parked {
            message: message.into(),
            message_type: message.message_type.clone(),
            attempts,
            error: storable(error),
            holds: self.holds(),
        };
        // Reads the letter again each time that another writer has appended first.
        loop {
            let progress = self.letters.read(steps.stream()).await?;
            if let Some(existing) = progress.letter {
                let letter = existing.letter;
                match existing.state {
                    // The message only waited behind another, and has failed now for the first time.
                    LetterState::Parked if again && existing.attempts == 0 => {}
                    // The previous consumer crashed before it saved its position, or another process was quicker.
                    LetterState::Parked => return Ok(Outcome::Parked { letter }),
                    LetterState::Retrying if !again => return Ok(Outcome::Parked { letter }),
                    LetterState::Resolved(_) if again => return Ok(Outcome::Parked { letter }),
                    LetterState::Discarded(_) => return Ok(Outcome::Discarded { letter }),
                    LetterState::Retrying | LetterState::Resolved(_) => {}
                }
            }
            if let Ok(letter) = steps.append(progress.end, &parked).await? {
                let message = message.reference();
                tracing::error!(%message, attempts, error, "the message could not be handled, and was set aside");
                return Ok(Outcome::Parked { letter: letter.message });
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
