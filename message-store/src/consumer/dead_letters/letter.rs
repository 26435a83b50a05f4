//! The letters, for operators: list, show, retry, discard.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;

use super::ErrorClass;
use super::letter_query::{LetterQuery, WaitsFor};
use super::step::Step;
use crate::key::shortened;
use crate::store::{Checkpoints, End, StepStream};
use crate::{Category, Error, MAX_STREAM_NAME_BYTES, Message, MessageId, MessageRef, MessageStore, Result, StreamName};

/// The state of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetterState {
    /// The message was set aside. It waits for an operator, behind an earlier message of its entity, or until
    /// [`DeadLetter::again_at`].
    Parked,
    /// Another delivery was requested, and has not ended.
    Retrying,
    /// The message was handled, with this outcome.
    Resolved(String),
    /// The message was discarded, for this reason.
    Discarded(String),
}

impl fmt::Display for LetterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parked => f.write_str("set aside"),
            Self::Retrying => f.write_str("a delivery is requested"),
            Self::Resolved(outcome) => f.write_str(outcome),
            Self::Discarded(why) => write!(f, "discarded: {why}"),
        }
    }
}

/// The record of a message that could not be handled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message. If the letter was copied here and the message was not, this is its place in the other store.
    pub message: MessageRef,
    /// The type of the message.
    pub message_type: String,
    /// The number of failed attempts. It is 0 if the message only waited behind another.
    pub attempts: u32,
    /// The error of the last attempt.
    pub error: String,
    /// The class of the error. `None` if the message only waited behind another, or an earlier version set it aside.
    pub error_class: Option<ErrorClass>,
    #[allow(missing_docs)]
    pub state: LetterState,
    /// The time at which the consumer delivers the message again by itself, by the database's clock. The handler asked
    /// for that ([`Fault::again_after`](crate::handling::Fault::again_after)).
    pub again_at: Option<Timestamp>,
    /// The time when the message was last set aside, by the database's clock.
    pub parked_at: Timestamp,
    /// The deliveries that failed, in order. Each may have had several attempts.
    pub failures: Vec<LetterFailure>,
    /// The step that set the message aside last.
    pub(super) letter: MessageRef,
    /// The message is in this store, or was there when it was set aside.
    pub(super) is_here: bool,
    /// Later messages of its entity wait behind it, as of the step that set it aside last.
    pub(super) holds: bool,
    /// Later messages of its entity may wait behind it, because one of its steps said so.
    pub(super) has_held: bool,
    pub(super) end: End,
}

impl DeadLetter {
    /// Whether the message still waits, for an operator, another message or a delivery.
    pub fn is_open(&self) -> bool {
        matches!(self.state, LetterState::Parked | LetterState::Retrying)
    }

    /// Whether later messages of its entity wait until an operator has decided on it.
    pub(crate) fn holds_its_entity(&self) -> bool {
        self.holds && self.waits_for_operator()
    }

    pub(super) fn is_discarded(&self) -> bool {
        matches!(self.state, LetterState::Discarded(_))
    }

    /// Whether the message failed and waits for an operator. A message that only waited behind another has no attempts.
    pub(super) fn waits_for_operator(&self) -> bool {
        self.waits_for() == Some(WaitsFor::Operator)
    }

    /// Whether the message waits for the time of its next delivery.
    pub(super) fn waits_for_time(&self) -> bool {
        self.waits_for() == Some(WaitsFor::Time)
    }

    /// Whether the last delivery failed finally, also if another was requested since.
    pub(super) fn has_failed_finally(&self) -> bool {
        WaitsFor::of(self.attempts, self.again_at) == WaitsFor::Operator
    }
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, message_type, attempts, error, state, again_at, .. } = self;
        write!(f, "{message_type} {} at {message}, {attempts} attempts, {state:?}", message.id)?;
        if let (LetterState::Parked, Some(again_at)) = (state, again_at) {
            write!(f, " until {again_at}")?;
        }
        write!(f, ": {error}")
    }
}

/// A delivery that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LetterFailure {
    /// The time when the message was set aside, by the database's clock.
    pub time: Timestamp,
    /// The number of failed attempts, over all deliveries until then.
    pub attempts: u32,
    /// The error of the last attempt.
    pub error: String,
    /// The class of the error. `None` if an earlier version set the message aside.
    pub error_class: Option<ErrorClass>,
    /// The member of the group that delivered the message, such as `0/4`. `None` without a group.
    pub member: Option<String>,
}

/// The dead letters of a consumer.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    pub(super) store: Arc<dyn MessageStore>,
    pub(super) category: Category,
    /// The category that the consumer reads.
    pub(super) consumer_category: Category,
    pub(super) identifier: Option<String>,
    pub(super) checkpoints: Checkpoints,
}

impl DeadLetters {
    /// The letters of the consumer with this category and identifier. The members of a group share them. This does not
    /// check whether the consumer has ever run: [`DeadLetters::list`] and [`DeadLetters::show`] do, if they find no
    /// letter.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid category.
    pub fn of(store: &Arc<dyn MessageStore>, category: &str, identifier: Option<&str>) -> Result<Self> {
        let consumer_category = Category::new(category)?;
        let category = match identifier {
            None => Category::new(format!("{consumer_category}+deadLetter"))?,
            Some(identifier) => {
                let identifier = identifier.replace('%', "%25").replace('-', "%2D");
                Category::new(format!("{consumer_category}+deadLetter+{identifier}"))?
            }
        };
        let (identifier, checkpoints) = (identifier.map(str::to_owned), Checkpoints::of(&category));
        Ok(Self { store: Arc::clone(store), category, consumer_category, identifier, checkpoints })
    }

    /// The open letters, in the order of their messages. Letters that were copied here without their messages are last.
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

    /// As [`DeadLetters::list`], but empty if the consumer has never run.
    pub(super) async fn open(&self) -> Result<Vec<DeadLetter>> {
        let mut letters: Vec<DeadLetter> = self.select(&LetterQuery::default()).try_collect().await?;
        // A position in another store does not show the order here.
        letters.sort_by_key(|letter| (!letter.is_here, letter.message.global_position));
        Ok(letters)
    }

    /// The letter of a message, in any state.
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

    /// As [`DeadLetters::show`], but `None` if the consumer has never run.
    pub(crate) async fn find(&self, id: MessageId) -> Result<Option<DeadLetter>> {
        let message = self.store.message(id).await?;
        let message = message.ok_or_else(|| Error::invalid("message id", format!("no message has the id {id}")))?;
        Ok(self.read(&self.stream_of(&message)?).await?.letter)
    }

    /// Requests another delivery of the message. A running consumer makes it, and [`DeadLetters::wait_for_retry`] waits
    /// for its result. Returns `false`, and requests nothing, if the letter has changed since it was read, or is not
    /// parked.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn retry(&self, letter: &DeadLetter) -> Result<bool> {
        self.decide(letter, &Step::RetryRequested {}).await
    }

    /// Discards the message: the consumer will not handle it. Returns `false`, and discards nothing, if the letter has
    /// changed since it was read, or is not parked.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn discard(&self, letter: &DeadLetter, why: &str) -> Result<bool> {
        self.decide(letter, &Step::Discarded { why: why.to_owned() }).await
    }

    async fn decide(&self, letter: &DeadLetter, step: &Step) -> Result<bool> {
        if letter.state != LetterState::Parked {
            return Ok(false);
        }
        self.append(letter, step).await
    }

    /// Appends a step, if the letter has not changed since it was read. Returns whether it did.
    pub(super) async fn append(&self, letter: &DeadLetter, step: &Step) -> Result<bool> {
        Ok(self.steps(&letter.letter.stream).append(letter.end, step).await?.is_ok())
    }

    /// The steps of one letter.
    pub(super) fn steps(&self, letter: &StreamName) -> StepStream<Step> {
        StepStream::new(&self.store, letter.clone())
    }

    /// The category of the letters.
    pub(crate) fn category(&self) -> &str {
        self.category.as_str()
    }

    /// The stream of a message's letter.
    pub(super) fn stream_of(&self, message: &Message) -> Result<StreamName> {
        self.category.stream(format_args!("{}+{}", self.entity_of(message), message.id))
    }

    /// The entity of a message, as the names of letters contain it. If it makes a name too long, it is shortened.
    pub(super) fn entity_of<'m>(&self, message: &'m Message) -> Cow<'m, str> {
        let entity = message.stream.cardinal_id().unwrap_or_default();
        // Two separators, and the message's id.
        let length = self.category.as_str().len() + entity.len() + 38;
        if length > MAX_STREAM_NAME_BYTES { shortened(entity).into() } else { entity.into() }
    }
}
