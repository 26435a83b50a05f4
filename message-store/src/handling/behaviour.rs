//! The rules that the runtime applies: those of a decider or of a process manager.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::reaction::Reaction;
use crate::entity::Projection;
use crate::intents::Intent;
use crate::store::Query;
use crate::{Message, Outcome, Result, Tag};

/// The rules that a [`Runtime`](super::runtime::Runtime) applies to messages.
pub(crate) trait Behaviour: Send + Sync + 'static {
    /// The state that is projected from the entity's own stream.
    type State: Projection<Event: Serialize>;
    /// An enum with one variant for each message type.
    type Input: DeserializeOwned + Send + Sync;

    const NAME: &'static str;
    const SEQUENCE_FIELD: Option<&'static str> = None;
    const PROCESSED_TIME_FIELD: Option<&'static str> = None;
    /// Whether messages that follow from one without a correlation are correlated with the entity's stream.
    const BEGINS_CORRELATION: bool = false;

    /// The id of the entity that handles the message. `None` if none does. It is asked for many messages at once, and most
    /// rules need not decode them for it.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if the message must name an entity, and does not.
    fn entity_id(message: &Message) -> Result<Option<Cow<'_, str>>>;

    fn intent(input: &Self::Input) -> Option<Intent>;

    /// The messages that must not exist when the reaction is written.
    fn unless(_state: &Self::State, _input: &Self::Input) -> Option<Query> {
        None
    }

    /// The tags of an event.
    fn tags(_event: &EventOf<Self>) -> Vec<Tag> {
        Vec::new()
    }

    fn react(state: &Self::State, input: &Self::Input, arrival: Arrival<'_>) -> Reaction<EventOf<Self>>;
}

pub(crate) type EventOf<B> = <<B as Behaviour>::State as Projection>::Event;

/// How a message arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival<'a> {
    InOrder,
    /// After messages of its origin that were sent later.
    Late,
    /// Another message has reserved its intent.
    Repeat(&'a Outcome),
    /// These messages match its query. There is at least one.
    Matched(&'a [Message]),
}
