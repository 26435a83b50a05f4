//! Waiting for what becomes of a retry.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::letter::{DeadLetter, DeadLetters, LetterState};
use crate::Result;
use crate::consumer::pace::after;

/// How soon a letter is looked at again when no wake-up comes.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What has become of a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Retried {
    /// The message was delivered, with this outcome.
    Resolved {
        /// In words.
        outcome: String,
    },
    /// It failed, and waits for an operator again.
    FailedAgain {
        /// How often the message was delivered, over all.
        attempts: u32,
        /// What the handler said last.
        error: String,
    },
    /// The message was given up.
    Discarded {
        /// What for.
        why: String,
    },
    /// No delivery has ended in the time that was given.
    NotYet,
}

impl fmt::Display for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolved { outcome } => write!(f, "the message was delivered: {outcome}"),
            Self::FailedAgain { attempts, error } => {
                write!(f, "the message failed again, after {attempts} attempts in all: {error}")
            }
            Self::Discarded { why } => write!(f, "the message was given up: {why}"),
            Self::NotYet => f.write_str(
                "no delivery has ended yet; check that the retry was asked for, and that the consumer runs, with \
                 `OnFailure::Park` or `OnFailure::Hold`",
            ),
        }
    }
}

impl DeadLetters {
    /// Waits for what becomes of a retry: its delivery, or another operator's decision. Give the letter as it was
    /// before [`DeadLetters::retry`], or as it is now. A running consumer carries the retry out, here or in another
    /// process.
    ///
    /// # Errors
    /// As a read.
    pub async fn wait_for_retry(&self, letter: &DeadLetter, at_most: Duration) -> Result<Retried> {
        let deadline = after(at_most);
        // Listens before it reads.
        let mut wake_up = self.store.wake_up(Some(&self.category)).await?;
        // At each wake-up, which any letter of the consumer causes.
        loop {
            let now = self.read(&letter.letter.stream).await?.letter;
            if let Some(retried) = now.and_then(|now| what_became_of(letter, now)) {
                return Ok(retried);
            }
            if Instant::now() >= deadline {
                return Ok(Retried::NotYet);
            }
            wake_up.wait_until(deadline.min(after(LOOK_AGAIN))).await;
        }
    }
}

/// `None` while a delivery is to come, and while nothing was asked for since the letter was read.
fn what_became_of(letter: &DeadLetter, now: DeadLetter) -> Option<Retried> {
    let is_parked_again = now.letter.id != letter.letter.id;
    let DeadLetter { state, attempts, error, .. } = now;
    match state {
        LetterState::Resolved(outcome) => Some(Retried::Resolved { outcome }),
        LetterState::Discarded(why) => Some(Retried::Discarded { why }),
        LetterState::Parked => is_parked_again.then_some(Retried::FailedAgain { attempts, error }),
        LetterState::Retrying => None,
    }
}
