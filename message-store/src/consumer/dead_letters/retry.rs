//! Waits for the result of a retry.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::letter::{DeadLetter, DeadLetters, LetterState};
use crate::Result;
use crate::consumer::pace::after;

/// The time after which the letter is read again if no wake-up arrives.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The result of a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Retried {
    /// The message was handled.
    Resolved {
        /// The kind of the outcome, as text.
        outcome: String,
    },
    /// The message failed again, and waits for an operator.
    FailedAgain {
        /// The number of failed attempts, over all deliveries.
        attempts: u32,
        /// The error of the last attempt.
        error: String,
    },
    /// The handler asked for another delivery later, which the consumer makes by itself.
    Delayed {
        /// The time of that delivery, by the database's clock.
        until: Timestamp,
    },
    /// The message was discarded.
    Discarded {
        /// The reason.
        why: String,
    },
    /// No delivery ended within the time limit.
    NotYet,
}

impl fmt::Display for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolved { outcome } => write!(f, "the message was delivered: {outcome}"),
            Self::FailedAgain { attempts, error } => {
                write!(f, "the message failed again, after {attempts} attempts in all: {error}")
            }
            Self::Delayed { until } => write!(f, "the message is delivered again at {until}"),
            Self::Discarded { why } => write!(f, "the message was discarded: {why}"),
            Self::NotYet => {
                f.write_str("no delivery has ended yet; if a retry is requested, a running consumer makes it")
            }
        }
    }
}

impl DeadLetters {
    /// Waits for the result of a retry: a delivery, or an operator's discard. `letter` may be read before or after
    /// [`DeadLetters::retry`]. A consumer must run, in this or another process, to deliver the message.
    ///
    /// # Errors
    /// As a read.
    pub async fn wait_for_retry(&self, letter: &DeadLetter, at_most: Duration) -> Result<Retried> {
        let deadline = after(at_most);
        // Listens before the first read, so that no later change is missed.
        let mut wake_up = self.store.wake_up(Some(&self.category)).await?;
        // Reads the letter after each wake-up, which any letter of the consumer causes.
        loop {
            let now = self.read(&letter.letter.stream).await?.letter;
            if let Some(retried) = now.and_then(|now| retry_result(letter, now)) {
                return Ok(retried);
            }
            if Instant::now() >= deadline {
                return Ok(Retried::NotYet);
            }
            wake_up.wait_until(deadline.min(after(POLL_INTERVAL))).await;
        }
    }
}

/// The result of a retry that was requested after `letter` was read. `None` if there is no result yet.
fn retry_result(letter: &DeadLetter, now: DeadLetter) -> Option<Retried> {
    let is_parked_again = now.letter.id != letter.letter.id;
    let DeadLetter { state, attempts, error, again_at, .. } = now;
    match state {
        LetterState::Resolved(outcome) => Some(Retried::Resolved { outcome }),
        LetterState::Discarded(why) => Some(Retried::Discarded { why }),
        LetterState::Parked => is_parked_again.then_some(match again_at {
            Some(until) => Retried::Delayed { until },
            None => Retried::FailedAgain { attempts, error },
        }),
        LetterState::Retrying => None,
    }
}
