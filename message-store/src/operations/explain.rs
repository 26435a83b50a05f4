//! Explanations: the known facts about a command, from the messages in the store.

use std::fmt;

use crate::consumer::{DeadLetter, DeadLetters};
use crate::handling::{CommandHandler, Decider, events_of, find_by_stamps};
use crate::intents::{Intent, Reservation, ReservedBy, cause_of};
use crate::{
    Error, GlobalPosition, Message, MessageId, MessageRef, Outcome, Position, Result, Sequence, StreamName, StreamRead,
};

/// The known facts about a command.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    #[allow(missing_docs)]
    pub command: MessageRef,
    /// The command's message type.
    pub message_type: String,
    /// The facts, the most important first.
    pub findings: Vec<Finding>,
}

/// One fact about a command.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Finding {
    /// The command is a copy. This is its original sequence.
    MovedFrom(Sequence),
    /// The command has the reservation of its intent.
    Reserved {
        /// The stream whose first message is the reservation.
        stream: StreamName,
    },
    /// The command's intent cannot be reserved, for this reason.
    InvalidIntent(String),
    /// Another command, with the same content, has the reservation.
    DuplicateOf(MessageRef),
    /// Another command, with other content, has the reservation.
    ConflictsWith(MessageRef),
    /// These events were written for the command.
    CarriedOut(Vec<MessageRef>),
    /// An event that another toolkit wrote names the command as its cause.
    CarriedOutElsewhere(MessageRef),
    /// The command was set aside.
    Parked(Box<DeadLetter>),
    /// Nothing was written for the command, and its entity has seen later commands of its origin, up to this position.
    /// When the command is delivered, it is handled as a late one, unless another command has its intent.
    NotCarriedOutLate(GlobalPosition),
    /// The command's data cannot be decoded, for this reason.
    Undecodable(String),
    /// Nothing was written for the command, and it is not late.
    NotCarriedOut,
}

impl<D: Decider> CommandHandler<D> {
    /// Explains a command. With the dead letters of its consumer, the explanation also says whether the command was set
    /// aside.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such message, or it is not a command of this entity; the store's errors.
    pub async fn explain(&self, id: MessageId, letters: Option<&DeadLetters>) -> Result<Explanation> {
        let message = self.entities().store.message(id).await?;
        let message = message.ok_or_else(|| Error::invalid("message id", format!("no message has the id {id}")))?;
        let letter = match letters {
            Some(letters) => letters.find(id).await?,
            None => None,
        };
        let set_aside = letter.map(|letter| Finding::Parked(Box::new(letter)));
        let command = match message.decode_upcast::<D::Command>(D::COMMAND_UPCASTERS) {
            Ok(command) => command.and_then(|mut read| read.pop()).ok_or_else(|| {
                let reason = format!(
                    "{} is a {}, which is not a command of this handler",
                    message.reference(),
                    message.message_type
                );
                Error::invalid("message", reason)
            })?,
            Err(error) => {
                let findings = [Finding::Undecodable(error.to_string())].into_iter().chain(set_aside).collect();
                return Ok(Explanation { command: message.reference(), message_type: message.message_type, findings });
            }
        };
        let here = self.entities().store.store_id();
        let sequence = message.sequence(here);
        let mut findings = Vec::new();
        if sequence.origin.store_id != here {
            findings.push(Finding::MovedFrom(sequence.clone()));
        }
        let entity_id = message.stream.cardinal_id().unwrap_or_default();
        let mut copy = None;
        if let Some(intent) = D::intent(&command) {
            let (finding, held_by) = self.reservation(&intent, entity_id, &message).await?;
            findings.extend(finding);
            copy = held_by;
        }
        let stream = self.entities().stream(entity_id)?;
        let mut events = events_of(&*self.entities().store, D::NAME, &message, &stream).await?;
        if let Some(copy) = copy.filter(|_| events.is_empty()) {
            // With two hops, the copy was carried out instead of the command.
            events = events_of(&*self.entities().store, D::NAME, &copy, &stream).await?;
        }
        let elsewhere =
            if events.is_empty() { find_by_stamps(&*self.entities().store, &message, &stream).await? } else { None };
        let is_open = events.is_empty() && elsewhere.is_none();
        let is_repeat =
            findings.iter().any(|finding| matches!(finding, Finding::DuplicateOf(_) | Finding::ConflictsWith(_)));
        findings.extend(set_aside);
        if !events.is_empty() {
            findings.push(Finding::CarriedOut(events));
        }
        findings.extend(elsewhere.map(Finding::CarriedOutElsewhere));
        if is_open {
            let mark = self.entities().fetch(entity_id).await?.sequences.mark(D::NAME, &sequence.origin);
            let passed = mark.filter(|mark| *mark >= sequence.global_position && !is_repeat);
            findings.push(passed.map_or(Finding::NotCarriedOut, Finding::NotCarriedOutLate));
        }
        Ok(Explanation { command: message.reference(), message_type: message.message_type, findings })
    }

    /// Explains the command that has the reservation of an intent of an entity. `None` if the intent is not reserved.
    ///
    /// # Errors
    /// As [`CommandHandler::explain`].
    pub async fn explain_intent(&self, intent: &Intent, entity_id: &str) -> Result<Option<Explanation>> {
        let stream = intent.stream(entity_id)?;
        let first =
            self.entities().store.read_stream(&stream, StreamRead::forwards_from(Position::FIRST).limit(1)).await?;
        let Some(holder) = first.into_iter().next() else { return Ok(None) };
        match cause_of(&*self.entities().store, &holder.decode_metadata()).await? {
            Some(command) => self.explain(command.id, None).await.map(Some),
            None => Ok(None),
        }
    }

    /// The facts about the reservation of the command's intent, and the copy of the command that has it, if there is
    /// one.
    async fn reservation(
        &self,
        intent: &Intent,
        entity_id: &str,
        message: &Message,
    ) -> Result<(Option<Finding>, Option<Box<Message>>)> {
        let reservation = match Reservation::new(intent, entity_id, message) {
            Ok(reservation) => reservation.upcast_by(D::COMMAND_UPCASTERS),
            Err(error) => return Ok((Some(Finding::InvalidIntent(error.to_string())), None)),
        };
        let stream = reservation.stream().clone();
        if self.entities().store.version(&stream).await?.position().is_none() {
            return Ok((None, None));
        }
        Ok(match reservation.reserved_by(&*self.entities().store).await? {
            ReservedBy::Itself => (Some(Finding::Reserved { stream }), None),
            ReservedBy::Copy(copy) => (Some(Finding::Reserved { stream }), Some(copy)),
            ReservedBy::Another(Outcome::Conflict { original }) => (Some(Finding::ConflictsWith(original)), None),
            ReservedBy::Another(outcome) => (outcome.original().cloned().map(Finding::DuplicateOf), None),
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.message_type, self.command.id, self.command)?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MovedFrom(Sequence { origin, global_position }) => {
                write!(f, "moved from store {}: it was {global_position} of {} there", origin.store_id, origin.category)
            }
            Self::Reserved { stream } => write!(f, "has the reservation of its intent, in {stream}"),
            Self::InvalidIntent(reason) => write!(f, "its intent cannot be reserved: {reason}"),
            Self::DuplicateOf(original) => {
                write!(f, "duplicate of {original}, which has the reservation of its intent")
            }
            Self::ConflictsWith(original) => {
                write!(f, "in conflict with {original}, which has the reservation of its intent and other content")
            }
            Self::CarriedOut(events) => {
                let events: Vec<String> = events.iter().map(ToString::to_string).collect();
                write!(f, "carried out: {}", events.join(", "))
            }
            Self::CarriedOutElsewhere(event) => write!(f, "carried out by another toolkit: {event}"),
            Self::Undecodable(reason) => f.write_str(reason),
            Self::Parked(letter) => write!(f, "set aside: {letter}"),
            Self::NotCarriedOutLate(mark) => {
                write!(
                    f,
                    "not carried out; its entity has seen commands through {mark}: when it is delivered, it is handled as a late one"
                )
            }
            Self::NotCarriedOut => f.write_str("not carried out"),
        }
    }
}
