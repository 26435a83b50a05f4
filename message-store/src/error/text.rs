//! The texts of errors.

use std::fmt;

use super::{Error, chain};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongExpectedVersion { stream, expected, actual } => write!(
                f,
                "wrong expected version for {stream}: expected {expected}, the stream is at {actual}. \
         Nothing was written. Load the stream again and decide again"
            ),
            Self::IdConflict { id, stream, reason } => write!(
                f,
                "message id {id} (for {stream}) is taken: {reason}. Nothing was written. \
         An id belongs to one message for ever: repeat the whole first append, or take a new id"
            ),
            Self::ConditionFailed { stream, found } => write!(
                f,
                "the condition of an append to {stream} failed: the message {} at {found} matches it. Nothing was written. \
         Read the messages that match and decide again",
                found.id
            ),
            Self::TooLarge { what, actual, limit } => {
                write!(f, "{what} is too large: {actual}, and the limit is {limit}")
            }
            Self::Schema { store, problem } => write!(
                f,
                "the schema message_store of {store} cannot be used: {problem}. \
         Its owner can create, upgrade and repair it with `message-store migrate`"
            ),
            Self::Invalid { what, reason } => write!(f, "invalid {what}: {reason}"),
            Self::Undecodable { stream, position, global_position, message_type, reason } => write!(
                f,
                "the {message_type} at position {position} of {stream} (global position {global_position}) \
         cannot be decoded: {reason}. Correct the type that reads it, or the message"
            ),
            Self::UnknownEvent { event, message_type, projection } => write!(
                f,
                "the event {} at {event} is a {message_type}, which the projection of {projection} does not know. Add a variant \
         or an upcaster for it, or declare it in `ignores`. If a newer release has written it, deploy that release here",
                event.id
            ),
            Self::NewerVersion { message, message_type, version, known } => write!(
                f,
                "the {message_type} {} at {message} has version {version}, and this program knows version {known} and \
         earlier ones. Deploy the release that knows it, or add its upcasters",
                message.id
            ),
            Self::Upcasters { of, fault } => {
                write!(f, "the upcasters of {of} are wrong, and nothing was read: {fault}")
            }
            Self::Unsupported { store, what } => write!(f, "{store} does not support {what}"),
            Self::CommitUnknown { cause } => write!(
                f,
                "the answer to an append was lost ({}): it may be written or not. \
         Append the same messages again: the store recognises their ids, and nothing is written twice",
                chain(&**cause)
            ),
            Self::PositionTaken { consumer, expected, actual } => write!(
                f,
                "the position of consumer {consumer} is now kept by another consumer, here or in another process (its stream is at {actual}, \
         and this consumer left it at {expected}). This consumer stops. Give each consumer of a category an identifier of its own, and each member of a group a \
         number of its own"
            ),
            Self::StoreBehind { consumer, handled, store } => write!(
                f,
                "consumer {consumer} has handled all messages up to global position {handled}, and {store} ends before that. It was restored to an \
         earlier point, or is a standby that lags behind, so other messages will get these positions again. Let the standby \
         catch up; or, after a restore, rotate the store's identity and write a new position to {consumer}"
            ),
            Self::HistoryChanged { store } => write!(
                f,
                "{store} has another history than before (a failover to a server that lacked the latest messages, or a restore). Nothing was \
         written, and the process forgets what it remembered of the store. Load the stream again and decide again"
            ),
            Self::SlotLost { group, slot, epoch } => write!(
                f,
                "this member no longer owns slot {slot} of group {group} (epoch {epoch}), or its lease has ended. Nothing was written, and \
         the slot's owner handles its messages"
            ),
            Self::Handler { message_type, id, stream, position, global_position, cause } => write!(
                f,
                "handling {message_type} {id} (position {position} of {stream}, global position {global_position}) failed: \
         {}. The consumer stopped before it. Remove the cause and start it again: nothing before it is repeated",
                chain(&**cause)
            ),
            Self::ReadModel { name, message, message_type, cause } => write!(
                f,
                "applying {message_type} {} (at {message}) to the read model {name} failed: {}",
                message.id,
                chain(&**cause)
            ),
            Self::ReadModelBehind { name, awaited, reached, within } => write!(
                f,
                "the read model {name} has not reached global position {awaited} within {within:?}: it has applied all messages up to \
         {reached}. Wait longer, or look whether a process updates it"
            ),
            Self::ReadModelStopped { name, reached, failure } => write!(
                f,
                "the read model {name} has stopped at global position {reached}: {failure}. Remove the cause, and start its updater again"
            ),
            Self::TimedOut { context, cause } => write!(f, "{context} took too long: {}", chain(&**cause)),
            // A copy of another error, which names its task itself.
            Self::Backend { context, cause, .. } if context.is_empty() => f.write_str(&chain(&**cause)),
            Self::Backend { context, cause, .. } => write!(f, "{context}: {}", chain(&**cause)),
        }
    }
}
