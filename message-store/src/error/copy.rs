//! Copies of an error, for all that wait for one call.

use std::fmt;

use super::{Class, Error, Source, chain};

/// The text of a cause, and its class.
#[derive(Debug)]
struct Copied {
    text: String,
    class: Option<Class>,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Copied {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.class.as_ref().map(|class| class as _)
    }
}

impl Error {
    /// A copy for another caller that shares the failed call. An error cannot be cloned, so the copy contains the cause
    /// as text.
    #[must_use]
    pub fn shared(&self) -> Self {
        let text = |cause: &Source| Source::from(Copied { text: chain(&**cause), class: Class::of(&**cause) });
        match self {
            Self::WrongExpectedVersion { stream, expected, actual } => {
                Self::WrongExpectedVersion { stream: stream.clone(), expected: *expected, actual: *actual }
            }
            Self::IdConflict { id, stream, reason } => {
                Self::IdConflict { id: *id, stream: stream.clone(), reason: reason.clone() }
            }
            Self::ConditionFailed { stream, found } => {
                Self::ConditionFailed { stream: stream.clone(), found: found.clone() }
            }
            Self::TooLarge { what, actual, limit } => {
                Self::TooLarge { what: what.clone(), actual: *actual, limit: *limit }
            }
            Self::Schema { store, problem } => Self::Schema { store: store.clone(), problem: problem.clone() },
            Self::Invalid { what, reason } => Self::Invalid { what: what.clone(), reason: reason.clone() },
            Self::Undecodable { stream, position, global_position, message_type, reason } => Self::Undecodable {
                stream: stream.clone(),
                position: *position,
                global_position: *global_position,
                message_type: message_type.clone(),
                reason: reason.clone(),
            },
            Self::UnknownEvent { event, message_type, projection } => {
                Self::UnknownEvent { event: event.clone(), message_type: message_type.clone(), projection }
            }
            Self::NewerVersion { message, message_type, version, known } => Self::NewerVersion {
                message: message.clone(),
                message_type: message_type.clone(),
                version: *version,
                known: *known,
            },
            Self::Upcasters { of, fault } => Self::Upcasters { of, fault: fault.clone() },
            Self::Unsupported { store, what } => Self::Unsupported { store: store.clone(), what: what.clone() },
            Self::CommitUnknown { cause } => Self::CommitUnknown { cause: text(cause) },
            Self::PositionTaken { consumer, expected, actual } => {
                Self::PositionTaken { consumer: consumer.clone(), expected: *expected, actual: *actual }
            }
            Self::StoreBehind { consumer, handled, store } => {
                Self::StoreBehind { consumer: consumer.clone(), handled: *handled, store: store.clone() }
            }
            Self::HistoryChanged { store } => Self::HistoryChanged { store: store.clone() },
            Self::SlotLost { group, slot, epoch } => {
                Self::SlotLost { group: group.clone(), slot: *slot, epoch: *epoch }
            }
            Self::Handler { message_type, id, stream, position, global_position, cause } => Self::Handler {
                message_type: message_type.clone(),
                id: *id,
                stream: stream.clone(),
                position: *position,
                global_position: *global_position,
                cause: text(cause),
            },
            Self::ReadModel { name, message, message_type, cause } => Self::ReadModel {
                name: name.clone(),
                message: message.clone(),
                message_type: message_type.clone(),
                cause: text(cause),
            },
            Self::ReadModelBehind { name, awaited, reached, within } => {
                Self::ReadModelBehind { name: name.clone(), awaited: *awaited, reached: *reached, within: *within }
            }
            Self::ReadModelStopped { name, reached, failure } => {
                Self::ReadModelStopped { name: name.clone(), reached: *reached, failure: failure.clone() }
            }
            Self::TimedOut { context, cause } => Self::TimedOut { context: context.clone(), cause: text(cause) },
            Self::Backend { context, transient, cause } => Self::backend(context, *transient, text(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GlobalPosition, Json, NewMessage, Position, StreamName, Timestamp};

    #[test]
    fn a_copy_has_the_kind_the_text_and_the_class_of_the_error() {
        let stream = StreamName::new("account-1").unwrap();
        let message = NewMessage::new("Opened", Json::NULL);
        let message = message.written(stream, Position::FIRST, GlobalPosition::FIRST, Timestamp::UNIX_EPOCH);
        for transient in [true, false] {
            let cause = || Error::backend("asking a bank", transient, "it is away").into();
            for error in [Error::read_model("balances", &message, cause()), Error::handler(&message, cause())] {
                let copy = error.shared();
                assert_eq!(std::mem::discriminant(&copy), std::mem::discriminant(&error));
                assert_eq!(chain(&copy), chain(&error));
                assert_eq!(copy.is_transient(), transient);
                assert_eq!(copy.shared().is_transient(), transient);
            }
        }
    }
}
