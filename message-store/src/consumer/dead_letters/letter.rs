//! The letters, for operators: list, show, retry, discard.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;

use super::step::Step;
use crate::key::shortened;
use crate::store::{End, StepStream};
use crate::{
    Category, Error, MAX_STREAM_NAME_BYTES, Message, MessageId, MessageRef, MessageStore, MessageStoreExt as _, Read,
    Result, StreamName,
};

/// How a letter stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetterState {
    /// It waits for an operator to decide.
    Parked,
    /// Another delivery was asked for.
    Retrying,
    /// It was delivered, with this outcome.
    Resolved(String),
    /// It was given up, for this reason.
    Discarded(String),
}

/// A message that could not be handled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message. After a move it may still be to come: then this is its place in the store that it comes from.
    pub message: MessageRef,
    /// Its type.
    pub message_type: String,
    /// How often it was delivered.
    pub attempts: u32,
    /// What the handler said last.
    pub error: String,
    /// How it stands.
    pub state: LetterState,
    /// When it was last set aside, by the database's clock.
    pub parked_at: Timestamp,
    /// Where it was last set aside.
    pub(super) letter: MessageRef,
    /// The message is in this store, or was when it was set aside here.
    pub(super) is_here: bool,
    /// Later messages of its entity may wait behind it: it was set aside, once at least, under a policy that holds
    /// them.
    pub(super) holds: bool,
    pub(super) end: End,
}

impl DeadLetter {
    /// Whether an operator has still to decide, or a delivery is still to come.
    pub fn is_open(&self) -> bool {
        matches!(self.state, LetterState::Parked | LetterState::Retrying)
    }

    pub(super) fn is_discarded(&self) -> bool {
        matches!(self.state, LetterState::Discarded(_))
    }

    /// What was tried, and failed, waits for an operator; what only waited behind another has never been tried.
    pub(super) fn waits_for_operator(&self) -> bool {
        self.state == LetterState::Parked && self.attempts > 0
    }
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, message_type, attempts, error, state, .. } = self;
        write!(f, "{message_type} {} at {message}, {attempts} attempts, {state:?}: {error}", message.id)
    }
}

/// The dead letters of a consumer.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    pub(super) store: Arc<dyn MessageStore>,
    pub(super) category: Category,
    /// What the consumer reads.
    pub(super) consumer_category: Category,
    pub(super) identifier: Option<String>,
}

impl DeadLetters {
    /// Of the consumer of this category with this identifier, which the members of a group share. Whether that consumer
    /// has ever run is not asked here: [`DeadLetters::list`] and [`DeadLetters::show`] ask it when they find nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a category that is none.
    pub fn of(store: &Arc<dyn MessageStore>, category: &str, identifier: Option<&str>) -> Result<Self> {
        let consumer_category = Category::new(category)?;
        let category = match identifier {
            None => Category::new(format!("{consumer_category}+deadLetter"))?,
            Some(identifier) => {
                let identifier = identifier.replace('%', "%25").replace('-', "%2D");
                Category::new(format!("{consumer_category}+deadLetter+{identifier}"))?
            }
        };
        Ok(Self { store: Arc::clone(store), category, consumer_category, identifier: identifier.map(str::to_owned) })
    }

    /// The open letters, in the order of their messages. Last come letters that were copied here and whose messages are
    /// still to come.
    ///
    /// # Errors
    /// As a read; [`Error::Invalid`] when the consumer has never run in this store.
    pub async fn list(&self) -> Result<Vec<DeadLetter>> {
        let open = self.open().await?;
        if open.is_empty() {
            self.assert_consumer_has_run().await?;
        }
        Ok(open)
    }

    /// As [`DeadLetters::list`]; none of a consumer that has never run.
    pub(super) async fn open(&self) -> Result<Vec<DeadLetter>> {
        let mut streams: Vec<StreamName> = Vec::new();
        let mut messages = std::pin::pin!(self.store.category_messages(&self.category, Read::default()));
        while let Some(message) = messages.try_next().await? {
            if message.message_type == "Parked" && !streams.contains(&message.stream) {
                streams.push(message.stream);
            }
        }
        let mut letters = Vec::new();
        for stream in streams {
            letters.extend(self.read(&stream).await?.letter.filter(DeadLetter::is_open));
        }
        // A place in another store says nothing about the order here.
        letters.sort_by_key(|letter| (!letter.is_here, letter.message.global_position));
        Ok(letters)
    }

    /// The letter of a message, however it stands.
    ///
    /// # Errors
    /// As a read; [`Error::Invalid`] when the message is not in the store, or the consumer has never run in it.
    pub async fn show(&self, id: MessageId) -> Result<Option<DeadLetter>> {
        let letter = self.find(id).await?;
        if letter.is_none() {
            self.assert_consumer_has_run().await?;
        }
        Ok(letter)
    }

    /// As [`DeadLetters::show`]; none of a consumer that has never run.
    pub(crate) async fn find(&self, id: MessageId) -> Result<Option<DeadLetter>> {
        let message = self.store.message(id).await?;
        let message = message.ok_or_else(|| Error::invalid("message id", format!("no message has the id {id}")))?;
        Ok(self.read(&self.stream_of(&message)?).await?.letter)
    }

    /// Asks the consumer to deliver a message again; [`DeadLetters::wait_for_retry`] waits for what becomes of that.
    /// `false` when another decision was made since the letter was read: then nothing is asked.
    ///
    /// # Errors
    /// The store's.
    pub async fn retry(&self, letter: &DeadLetter) -> Result<bool> {
        self.decide(letter, &Step::RetryRequested {}).await
    }

    /// Gives a message up. `false` as for [`DeadLetters::retry`].
    ///
    /// # Errors
    /// The store's.
    pub async fn discard(&self, letter: &DeadLetter, why: &str) -> Result<bool> {
        self.decide(letter, &Step::Discarded { why: why.to_owned() }).await
    }

    async fn decide(&self, letter: &DeadLetter, step: &Step) -> Result<bool> {
        if letter.state != LetterState::Parked {
            return Ok(false);
        }
        self.append(letter, step).await
    }

    /// Appends a step to a letter as it was read; `false` when it is not that any more.
    pub(super) async fn append(&self, letter: &DeadLetter, step: &Step) -> Result<bool> {
        Ok(self.steps(&letter.letter.stream).append(letter.end, step).await?.is_ok())
    }

    /// The steps of one letter.
    pub(super) fn steps(&self, letter: &StreamName) -> StepStream<Step> {
        StepStream::new(&self.store, letter.clone())
    }

    /// The category of the letters.
    pub(in crate::consumer) fn category(&self) -> &str {
        self.category.as_str()
    }

    /// The stream of a message's letter.
    pub(super) fn stream_of(&self, message: &Message) -> Result<StreamName> {
        self.category.stream(format_args!("{}+{}", self.entity_of(message), message.id))
    }

    /// What the names of letters say for the entity of a message: its id, unless that makes them too long.
    pub(super) fn entity_of<'m>(&self, message: &'m Message) -> Cow<'m, str> {
        let entity = message.stream.cardinal_id().unwrap_or_default();
        // Two separators, and the message's id.
        let length = self.category.as_str().len() + entity.len() + 38;
        if length > MAX_STREAM_NAME_BYTES { shortened(entity).into() } else { entity.into() }
    }
}
