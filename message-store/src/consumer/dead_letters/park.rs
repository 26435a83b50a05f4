//! Setting a message aside.

use std::sync::atomic::Ordering;

use super::step::Step;
use super::{LetterState, SetAside};
use crate::{Message, Outcome, Result};

/// The longest text of an error that a letter keeps, in bytes.
const MAX_ERROR_BYTES: usize = 16 << 10;

impl SetAside {
    /// Sets a message aside that could not be handled, and makes later ones of its entity wait, where the policy says
    /// so.
    pub(in crate::consumer) async fn set_aside(
        &self,
        message: &Message,
        attempts: u32,
        error: &str,
    ) -> Result<Outcome> {
        let mut known = self.known.lock().await;
        let outcome = self.park(message, attempts, error, false).await?;
        if self.holds() && matches!(outcome, Outcome::Parked { .. }) {
            known.hold(&self.letters.entity_of(message), message.global_position);
            self.is_clear.store(false, Ordering::SeqCst);
        }
        Ok(outcome)
    }

    /// Sets a message aside again, which was delivered because an operator asked for it.
    pub(super) async fn set_aside_again(&self, message: &Message, attempts: u32, error: &str) -> Result<()> {
        let _ = self.park(message, attempts, error, true).await?;
        Ok(())
    }

    pub(super) async fn park(&self, message: &Message, attempts: u32, error: &str, again: bool) -> Result<Outcome> {
        let steps = self.letters.steps(&self.letters.stream_of(message)?);
        let parked = Step::Parked {
            message: message.into(),
            message_type: message.message_type.clone(),
            attempts,
            error: storable(error),
            holds: self.holds(),
        };
        // Again as long as an operator, or another process, is quicker.
        loop {
            let found = self.letters.read(steps.stream()).await?;
            if let Some(known) = found.letter {
                let letter = known.letter;
                match known.state {
                    // Set aside before: the consumer was broken off before it had saved its position, or another
                    // process was quicker. What only waited behind another was never tried.
                    LetterState::Parked if again && known.attempts == 0 => {}
                    LetterState::Parked => return Ok(Outcome::Parked { letter }),
                    LetterState::Retrying if !again => return Ok(Outcome::Parked { letter }),
                    LetterState::Resolved(_) if again => return Ok(Outcome::Parked { letter }),
                    LetterState::Discarded(_) => return Ok(Outcome::Discarded { letter }),
                    LetterState::Retrying | LetterState::Resolved(_) => {}
                }
            }
            if let Ok(letter) = steps.append(found.end, &parked).await? {
                let message = message.reference();
                tracing::error!(%message, attempts, error, "it could not be handled, and was set aside");
                return Ok(Outcome::Parked { letter: letter.message });
            }
        }
    }
}

/// The text of an error as a letter keeps it: a store refuses NUL characters, and messages that are too large.
fn storable(error: &str) -> String {
    let text = error.replace('\0', "\u{fffd}");
    if text.len() <= MAX_ERROR_BYTES {
        return text;
    }
    let end = (0..=MAX_ERROR_BYTES).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    format!("{} … ({} bytes in all)", &text[..end], error.len())
}
