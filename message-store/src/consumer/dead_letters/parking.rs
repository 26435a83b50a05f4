//! Setting messages aside.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::letter::{DeadLetters, Step};
use super::{LetterState, OnFailure};
use crate::command::{Context, Handler};
use crate::consumer::attempt::attempt;
use crate::idempotence::Outcome;
use crate::{Error, ExpectedVersion, Message, Result, Source};

/// What the delivery and the redelivery of a consumer's messages share.
pub(in crate::consumer) struct Shelf<H> {
    pub(super) handler: H,
    pub(super) letters: DeadLetters,
    policy: OnFailure,
    deliveries: u32,
    /// Entities whose messages wait. Locked while a message is put behind another, so that none is put there after the last was taken away.
    pub(super) held: Mutex<HashSet<String>>,
}

impl<H: Handler> Shelf<H> {
    pub(in crate::consumer) async fn new(
        handler: H,
        letters: DeadLetters,
        policy: OnFailure,
        deliveries: u32,
    ) -> Result<Self> {
        let open = if policy == OnFailure::Hold { letters.list().await? } else { Vec::new() };
        let held = open.iter().filter(|letter| letter.holds).filter_map(|letter| letter.letter.stream.cardinal_id());
        let held = Mutex::new(held.map(str::to_owned).collect());
        Ok(Self { handler, letters, policy, deliveries, held })
    }

    /// Delivers a message as often as allowed; what the last attempt said. A passing fault of the store is not the message's.
    pub(super) async fn deliver(
        &self,
        message: &Message,
        before: u32,
    ) -> Result<Result<Outcome, (u32, Source)>, Source> {
        let mut attempts = before;
        loop {
            attempts += 1;
            match attempt(&self.handler, &self.letters.store, message).await {
                Ok(outcome) => return Ok(Ok(outcome)),
                Err(error) if error.downcast_ref::<Error>().is_some_and(Error::is_transient) => return Err(error),
                Err(error) if attempts >= self.deliveries => return Ok(Err((attempts, error))),
                Err(error) => tracing::warn!(message = %message.reference(), attempts, %error, "delivering it again"),
            }
        }
    }

    /// Sets a message aside.
    pub(super) async fn park(&self, message: &Message, attempts: u32, error: &str) -> Result<Outcome> {
        let stream = self.letters.stream_of(message)?;
        let (known, _) = self.letters.read(&stream).await?;
        if let Some(known) = known.filter(|known| known.state == LetterState::Parked) {
            // It was set aside before, and the consumer was broken off before it had saved its position.
            return Ok(Outcome::Parked { letter: known.letter });
        }
        let holds = self.policy == OnFailure::Hold;
        let parked = Step::Parked {
            message_id: message.id,
            stream: message.stream.clone(),
            position: message.position,
            global_position: message.global_position,
            message_type: message.message_type.clone(),
            attempts,
            error: error.to_owned(),
            holds,
        };
        let letter = self.letters.say(&stream, ExpectedVersion::Any, &parked).await?;
        tracing::error!(message = %message.reference(), attempts, error, "it could not be handled, and was set aside");
        Ok(Outcome::Parked { letter })
    }
}

/// Delivers messages, and sets aside those that cannot be handled.
pub(in crate::consumer) struct Parking<H> {
    pub(in crate::consumer) shelf: Arc<Shelf<H>>,
    /// So many messages more may have been under way when the consumer was broken off, and one of them may be the reason.
    pub(in crate::consumer) suspects: AtomicUsize,
}

impl<H: Handler> Parking<H> {
    /// Counts the attempt before it is made, where it may be the end of this process. How many were made before.
    async fn note_attempt(&self, message: &Message) -> Result<u32> {
        let left = self.suspects.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Ok(0);
        }
        let letters = &self.shelf.letters;
        let stream = letters.stream_of(message)?;
        let (_, before) = letters.read(&stream).await?;
        letters.say(&stream, ExpectedVersion::Any, &Step::Attempted {}).await?;
        Ok(before)
    }
}

#[async_trait]
impl<H: Handler> Handler for Parking<H> {
    fn name(&self) -> &'static str {
        self.shelf.handler.name()
    }

    fn message_types(&self) -> Vec<&'static str> {
        self.shelf.handler.message_types()
    }

    async fn handle(&self, message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        let shelf = &self.shelf;
        let entity = message.stream.cardinal_id().unwrap_or_default();
        let held = shelf.held.lock().await;
        if held.contains(entity) {
            return Ok(shelf.park(message, 0, "it waits behind an earlier message of its entity").await?);
        }
        drop(held);
        let before = self.note_attempt(message).await?;
        let (attempts, error) = if before >= shelf.deliveries {
            (before, "the process ended during each attempt".into())
        } else {
            match shelf.deliver(message, before).await? {
                Ok(outcome) => return Ok(outcome),
                Err(failure) => failure,
            }
        };
        let mut held = shelf.held.lock().await;
        let parked = shelf.park(message, attempts, &error.to_string()).await?;
        if shelf.policy == OnFailure::Hold {
            held.insert(entity.to_owned());
        }
        Ok(parked)
    }
}
