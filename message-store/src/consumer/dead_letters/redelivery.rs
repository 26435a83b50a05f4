//! Delivering again what somebody asked for.

use std::sync::Arc;

use async_trait::async_trait;

use super::LetterState;
use super::letter::{DeadLetter, Step};
use super::parking::Shelf;
use crate::command::{Context, Handler};
use crate::idempotence::Outcome;
use crate::{Error, ExpectedVersion, Message, Result, Source};

/// Handles the steps of letters: when a delivery is asked for, it is made; when a letter is closed, what waited behind it follows.
pub(in crate::consumer) struct Redelivery<H>(pub(in crate::consumer) Arc<Shelf<H>>);

impl<H: Handler> Redelivery<H> {
    /// Delivers the message of a letter. Whether it was handled.
    async fn deliver(&self, letter: &DeadLetter) -> Result<Option<Outcome>, Source> {
        let shelf = &self.0;
        let id = letter.message.id;
        let message = shelf.letters.store.message(id).await?;
        let message =
            message.ok_or_else(|| Error::invalid("dead letter", format!("message {id} is not in the store")))?;
        match shelf.deliver(&message, 0).await? {
            Ok(outcome) => {
                let resolved = Step::Resolved { outcome: outcome.name().to_owned() };
                shelf.letters.say(&letter.letter.stream, ExpectedVersion::Any, &resolved).await?;
                Ok(Some(outcome))
            }
            Err((attempts, error)) => {
                // Where it stands is in its letter.
                let _ = shelf.park(&message, letter.attempts + attempts, &error.to_string()).await?;
                Ok(None)
            }
        }
    }

    /// Delivers what waits behind a closed letter, in order, until something fails again; then, or when nothing is left, the
    /// entity is released.
    async fn follow(&self, entity: &str) -> Result<(), Source> {
        loop {
            let mut held = self.0.held.lock().await;
            if !held.contains(entity) {
                return Ok(());
            }
            let open = self.0.letters.list().await?;
            let next = open.into_iter().find(|letter| letter.letter.stream.cardinal_id() == Some(entity));
            let Some(next) = next else {
                held.remove(entity);
                return Ok(());
            };
            drop(held);
            // The first of a queue waits for somebody; what only waited behind another has never been tried.
            if next.state == LetterState::Parked && next.attempts > 0 {
                return Ok(());
            }
            if self.deliver(&next).await?.is_none() {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl<H: Handler> Handler for Redelivery<H> {
    fn name(&self) -> &'static str {
        self.0.handler.name()
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["RetryRequested", "Discarded"]
    }

    async fn handle(&self, step: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        if !["RetryRequested", "Discarded"].contains(&step.message_type.as_str()) {
            return Ok(Outcome::Unhandled);
        }
        let (letter, _) = self.0.letters.read(&step.stream).await?;
        let outcome = match letter {
            Some(letter) if letter.state == LetterState::Retrying => self.deliver(&letter).await?,
            _ => None,
        };
        self.follow(step.stream.cardinal_id().unwrap_or_default()).await?;
        Ok(outcome.unwrap_or(Outcome::Ignored))
    }
}
