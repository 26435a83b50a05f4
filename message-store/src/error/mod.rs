//! Errors. There is one variant for each reaction that a caller may need.

mod class;
mod copy;
mod text;

use std::any::Any;

pub(crate) use class::{Again, Class};

use crate::{
    ChainFault, ExpectedVersion, GlobalPosition, Message, MessageId, MessageRef, Position, StreamName, Version,
};

/// The error that caused another error, as the driver, the decoder or the handler returned it.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// A result with this library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a store or of the toolkit. Each text says what happened, to which stream, id or position, and what to
/// do.
///
/// The text contains the whole chain of causes, once. So [`source`](std::error::Error::source) does not return the
/// cause: the field `cause` contains it, for inspection and downcasts. It returns what a consumer does after the error,
/// if that is not final.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Another writer appended to the stream first. Nothing was written.
    WrongExpectedVersion {
        #[allow(missing_docs)]
        stream: StreamName,
        /// The version that the append named.
        expected: ExpectedVersion,
        /// The stream's version at the time of the append.
        actual: Version,
    },

    /// A message id was used before for another message. Nothing was written.
    IdConflict {
        /// The first id in conflict.
        id: MessageId,
        /// The stream that the refused append named.
        stream: StreamName,
        /// How the message differs from the one that was written first.
        reason: String,
    },

    /// A message matches the condition of an append. Nothing was written.
    ConditionFailed {
        /// The stream of the append, or the first of its streams.
        stream: StreamName,
        /// A message that matches.
        found: MessageRef,
    },

    /// A message, name or append is larger than a limit allows. Nothing was written.
    TooLarge {
        /// The thing that is too large, in words.
        what: String,
        /// Its size, in the unit of the limit.
        actual: usize,
        /// The largest allowed size.
        limit: usize,
    },

    /// The schema in the database is not the one that this library needs. The library did not change it.
    Schema {
        /// The store's description, without secrets.
        store: String,
        /// The missing or wrong part.
        problem: String,
    },

    /// The input cannot be stored or parsed. Nothing was written.
    Invalid {
        /// The kind of input, such as `stream name`.
        what: String,
        /// The rule that the input breaks.
        reason: String,
    },

    /// A stored message cannot be decoded as the type that its reader expects.
    Undecodable {
        /// The message's stream.
        stream: StreamName,
        /// The message's position in that stream.
        position: Position,
        #[allow(missing_docs)]
        global_position: GlobalPosition,
        #[allow(missing_docs)]
        message_type: String,
        /// The decoder's text, which names the field.
        reason: String,
    },

    /// An event of an entity's stream has a type that the projection does not know, and does not declare as ignored
    /// ([`Projection::ignores`](crate::entity::Projection::ignores)). Without the event, the state would be wrong.
    UnknownEvent {
        /// The event.
        event: MessageRef,
        #[allow(missing_docs)]
        message_type: String,
        /// The category of the projection.
        projection: &'static str,
    },

    /// A message has a newer version of its type than this program knows. A newer release has written it.
    NewerVersion {
        #[allow(missing_docs)]
        message: MessageRef,
        #[allow(missing_docs)]
        message_type: String,
        /// The version of the message.
        version: u32,
        /// The newest version that this program knows.
        known: u32,
    },

    /// The upcasters of a projection or of a handler are wrong. Nothing was read.
    Upcasters {
        /// The projection's category, or the handler's name.
        of: &'static str,
        /// The mistake, with the type and the version.
        fault: ChainFault,
    },

    /// The store does not have this feature.
    Unsupported {
        /// The store's description, without secrets.
        store: String,
        /// The feature.
        what: String,
    },

    /// The connection was lost after the append was sent. The append may or may not be written.
    CommitUnknown {
        /// The error of the connection.
        cause: Source,
    },

    /// Another consumer with the same identity has saved a position for this consumer.
    PositionTaken {
        /// The name of the consumer's position stream.
        consumer: StreamName,
        /// The version of the position stream after this consumer's last save.
        expected: ExpectedVersion,
        /// The version of the position stream now.
        actual: Version,
    },

    /// The store ends before the position that a consumer has handled. So it has lost messages, or is behind.
    StoreBehind {
        /// The name of the consumer's position stream.
        consumer: StreamName,
        /// The global position up to which the consumer has handled all messages.
        handled: GlobalPosition,
        /// The store's description, without secrets.
        store: String,
    },

    /// The store has another history than the one that the call named, for example after a failover that lost the
    /// latest messages. Nothing was written.
    HistoryChanged {
        /// The store's description, without secrets.
        store: String,
    },

    /// A member of a group no longer owns a slot, or its lease has ended. Nothing was written. The slot's present owner
    /// handles its messages.
    SlotLost {
        /// The name of the group.
        group: String,
        /// The slot.
        slot: u16,
        /// The epoch in which the member owned the slot.
        epoch: i64,
    },

    /// A handler failed or panicked on a message.
    Handler {
        #[allow(missing_docs)]
        message_type: String,
        #[allow(missing_docs)]
        id: MessageId,
        #[allow(missing_docs)]
        stream: StreamName,
        /// The position in that stream.
        position: Position,
        #[allow(missing_docs)]
        global_position: GlobalPosition,
        /// The handler's error, or the text of its panic.
        cause: Source,
    },

    /// A read model could not be updated. Nothing of the batch was applied.
    ReadModel {
        /// The read model's name.
        name: String,
        /// The message that was applied.
        message: MessageRef,
        #[allow(missing_docs)]
        message_type: String,
        /// The read model's error.
        cause: Source,
    },

    /// A read model has not reached a position in the time for which a caller waited. The same wait may succeed later.
    ReadModelBehind {
        /// The read model's name.
        name: String,
        /// The position for which the caller waited.
        awaited: GlobalPosition,
        /// The global position up to which all messages are applied.
        reached: GlobalPosition,
        /// The time for which the caller waited.
        within: std::time::Duration,
    },

    /// A read model has stopped before a position for which a caller waited, because a message could not be applied.
    ReadModelStopped {
        /// The read model's name.
        name: String,
        /// The global position up to which all messages are applied.
        reached: GlobalPosition,
        /// The error with which it stopped.
        failure: String,
    },

    /// The database ended a statement because it took too long: it reached a limit on statements or on the wait for a
    /// lock. Nothing was written. Either the database is overloaded, or this statement needs too much time. A probe,
    /// which is a small read, shows which.
    TimedOut {
        /// The task of the statement, such as `reading messages`.
        context: String,
        /// The database's error.
        cause: Source,
    },

    /// The database, or the connection to it, failed.
    Backend {
        /// The task of the statement, such as `reading messages`.
        context: String,
        /// Whether the same call may succeed later.
        transient: bool,
        /// The database's error.
        cause: Source,
    },
}

/// The texts of an error and of all its causes, in one line. A cause is left out if the text before it already contains
/// its text.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = text_of(error);
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = text_of(cause);
        if !cause.is::<Class>() && !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// The text of an error of any author, who may have made a mistake in it.
fn text_of(error: &(dyn std::error::Error + 'static)) -> String {
    let text = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| error.to_string()));
    text.unwrap_or_else(|_| "an error whose text cannot be made, because that panics".to_owned())
}

/// The text of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message")
}

impl Error {
    /// Makes an [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), reason: reason.into() }
    }

    /// Makes an [`Error::Backend`]: `context` names the task, and `transient` is true when the fault passes by itself.
    pub fn backend(context: impl Into<String>, transient: bool, cause: impl Into<Source>) -> Self {
        Self::Backend { context: context.into(), transient, cause: cause.into() }
    }

    pub(crate) fn handler(message: &Message, cause: Source) -> Self {
        Self::Handler {
            message_type: message.message_type.clone(),
            id: message.id,
            stream: message.stream.clone(),
            position: message.position,
            global_position: message.global_position,
            cause,
        }
    }

    pub(crate) fn read_model(name: &str, message: &Message, cause: Source) -> Self {
        let (name, message_type) = (name.to_owned(), message.message_type.clone());
        Self::ReadModel { name, message: message.reference(), message_type, cause }
    }

    fn class(&self) -> Option<&Class> {
        match self {
            Self::Handler { cause, .. } | Self::ReadModel { cause, .. } => Class::in_chain(&**cause),
            Self::TimedOut { .. } => Some(&Class::TimedOut),
            Self::WrongExpectedVersion { .. } | Self::ConditionFailed { .. } => Some(&Class::Overtaken),
            Self::SlotLost { .. } => Some(&Class::SlotLost),
            error if error.is_transient() => Some(&Class::Passing),
            _ => None,
        }
    }

    /// Whether the same call may succeed later: the fault passes by itself, or the answer was lost.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::CommitUnknown { .. }
                | Self::HistoryChanged { .. }
                | Self::TimedOut { .. }
                | Self::ReadModelBehind { .. }
                | Self::Backend { transient: true, .. }
        ) || matches!(self, Self::Handler { .. } | Self::ReadModel { .. })
            && matches!(self.class(), Some(Class::Passing | Class::TimedOut | Class::OverLimit))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.class().map(|class| class as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("error connecting to server")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("Connection refused (os error 111)")]
    struct Inner;

    #[test]
    fn an_error_contains_its_whole_chain_once() {
        let error = Error::backend("connecting to postgres://localhost", true, Outer(Inner));
        let expected =
            "connecting to postgres://localhost: error connecting to server: Connection refused (os error 111)";
        assert_eq!(error.to_string(), expected);
        let wrapped = Error::CommitUnknown { cause: error.into() };
        assert_eq!(wrapped.to_string().matches("Connection refused").count(), 1);
        let source = std::error::Error::source(&wrapped).unwrap();
        assert_eq!(
            source.to_string(),
            "the same call may succeed later",
            "a reporter that walks the chain repeats nothing"
        );
    }
}
