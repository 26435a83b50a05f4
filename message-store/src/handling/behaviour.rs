//! The rules that the runtime applies: those of a decider or of a process manager.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::reaction::Reaction;
use crate::entity::{Projection, check_upcasters};
use crate::intents::Intent;
use crate::store::Query;
use crate::variant::{Decoded, Reader, check, names, stored_types};
use crate::{Error, Message, Outcome, Result, Tag, Upcaster};

/// The rules that a [`Runtime`](super::runtime::Runtime) applies to messages.
pub(crate) trait Behaviour: Send + Sync + 'static {
    /// The state that is projected from the entity's own stream.
    type State: Projection<Event: Serialize>;
    /// An enum with one variant for each message type.
    type Input: DeserializeOwned + Send + Sync;

    const NAME: &'static str;
    const INPUT_UPCASTERS: &'static [Upcaster];
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

/// What a received message is read as.
pub(crate) enum Received<I> {
    Input(I),
    /// The rules do not know its type.
    Unknown,
    /// An upcaster drops it.
    Dropped,
}

/// Reads a message as an input of these rules.
pub(crate) fn receive<B: Behaviour>(message: &Message) -> Result<Received<B::Input>> {
    match message.decode(B::INPUT_UPCASTERS, message.type_version())? {
        Decoded::One(input) => Ok(Received::Input(input)),
        Decoded::Unknown(_) => Ok(Received::Unknown),
        Decoded::Several(parts) if parts.is_empty() => Ok(Received::Dropped),
        Decoded::Several(_) => check_inputs::<B>().and(Ok(Received::Dropped)),
    }
}

fn check_inputs<B: Behaviour>() -> Result<()> {
    let reader = Reader { variants: names::<B::Input>(), ignores: |_| false, can_split: false };
    check(B::INPUT_UPCASTERS, &reader).map_err(|fault| Error::Upcasters { of: B::NAME, fault })
}

/// Checks the upcasters of the rules.
pub(crate) fn check_behaviour<B: Behaviour>() -> Result<()> {
    check_upcasters::<B::State>()?;
    check_inputs::<B>()
}

/// The stored types of the messages that the rules know.
pub(crate) fn input_types<B: Behaviour>() -> Vec<&'static str> {
    stored_types(B::INPUT_UPCASTERS, names::<B::Input>().iter().copied())
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
