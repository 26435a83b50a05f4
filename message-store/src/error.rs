//! What can go wrong, named by what the caller has to do about it.

use crate::{ExpectedVersion, GlobalPosition, Message, MessageId, Position, StreamName, Version};

/// The underlying error: of the driver, the decoder or the handler.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// A result with this library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Each text says what happened, to which stream, id or position, and what to do.
///
/// The text holds the whole chain of causes, once. So [`source`](std::error::Error::source) is empty, and a reporter
/// that walks the chain repeats nothing; the cause itself, to look at or to downcast, is in the field `cause`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another writer was quicker. Nothing was written.
    #[error(
        "wrong expected version for {stream}: expected {expected}, the stream is at {actual}. \
         Nothing was written. Load the stream again and decide again"
    )]
    WrongExpectedVersion {
        /// The stream.
        stream: StreamName,
        /// What the writer expected.
        expected: ExpectedVersion,
        /// What the stream's version is.
        actual: Version,
    },

    /// A message id was used before for something else. Nothing was written.
    #[error(
        "message id {id} (for {stream}) is taken: {reason}. Nothing was written. \
         An id belongs to one message for ever: repeat the whole first append, or take a new id"
    )]
    IdConflict {
        /// The id, the first of those in conflict.
        id: MessageId,
        /// The stream this append named.
        stream: StreamName,
        /// How it differs from what was written first.
        reason: String,
    },

    /// Larger than a limit allows. Nothing was written.
    #[error("{what} is too large: {actual}, and the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How large it is.
        actual: usize,
        /// How large it may be.
        limit: usize,
    },

    /// The schema in the database is not the one that this library needs. It was not changed.
    #[error(
        "the schema message_store of {store} cannot be used: {problem}. \
         Its owner makes it, upgrades it and puts it right with `message-store migrate`"
    )]
    Schema {
        /// The store, without secrets.
        store: String,
        /// What is wrong with the schema.
        problem: String,
    },

    /// The input cannot be stored or understood. Nothing was written.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// Which input.
        what: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The stored message cannot be read as the type that its reader expects.
    #[error(
        "the {message_type} at position {position} of {stream} (global position {global_position}) \
         cannot be decoded: {reason}. Mend the type that reads it, or the message"
    )]
    Undecodable {
        /// The stream that holds the message.
        stream: StreamName,
        /// Its position there.
        position: Position,
        /// Its global position.
        global_position: GlobalPosition,
        /// Its message type.
        message_type: String,
        /// What the decoder said: names the field.
        reason: String,
    },

    /// This store does not do that.
    #[error("{store} does not support {what}")]
    Unsupported {
        /// Which store.
        store: String,
        /// What it was asked.
        what: String,
    },

    /// The connection was lost after the append was sent: it may or may not be written.
    #[error(
        "the answer to an append was lost ({}): it may be written or not. \
         Append the same messages again: their ids settle it, and nothing is written twice",
        chain(&**cause)
    )]
    CommitUnknown {
        /// What was lost.
        cause: Source,
    },

    /// A consumer's position was taken over by another consumer of the same identity.
    #[error(
        "the position of consumer {consumer} is now kept by another consumer, here or in another process (its stream is at {actual}, \
         ours was {expected}). This one stops. Give each consumer of a category an identifier of its own, and each member of a group a \
         number of its own"
    )]
    PositionTaken {
        /// The consumer's position stream.
        consumer: StreamName,
        /// The version we had written.
        expected: ExpectedVersion,
        /// The version now.
        actual: Version,
    },

    /// The store ends before what a consumer has handled: it is not the store that it was.
    #[error(
        "consumer {consumer} has handled all up to global position {handled}, and {store} ends before that. It was restored to an \
         earlier point, or is a standby that lags behind: positions would be given out again for other messages. Let the standby \
         catch up; or, after a restore, rotate the store's identity and write {consumer} anew"
    )]
    StoreBehind {
        /// The consumer's position stream.
        consumer: StreamName,
        /// What it has handled.
        handled: GlobalPosition,
        /// The store.
        store: String,
    },

    /// The database's history is not the one that was remembered: after a failover, say, that lost the latest messages.
    /// Nothing was written.
    #[error(
        "{store} has another history than before (a failover to a server that lacked the latest messages, or a restore). Nothing was \
         written, and what was remembered of it is dropped. Load the stream again and decide again"
    )]
    HistoryChanged {
        /// Which store.
        store: String,
    },

    /// A handler failed or panicked on a message.
    #[error(
        "handling {message_type} {id} (position {position} of {stream}, global position {global_position}) failed: \
         {}. The consumer stopped before it; mend the cause and start again, nothing before it is repeated",
        chain(&**cause)
    )]
    Handler {
        /// The message's type.
        message_type: String,
        /// The message's id.
        id: MessageId,
        /// Its stream.
        stream: StreamName,
        /// Its position there.
        position: Position,
        /// Its global position.
        global_position: GlobalPosition,
        /// What the handler said.
        cause: Source,
    },

    /// The database ended a statement because it took too long: by a limit on statements or on the wait for a lock.
    /// Nothing was written. The database may be in trouble, or this one statement may be too much for it: a probe
    /// tells.
    #[error("{context} took too long: {}", chain(&**cause))]
    TimedOut {
        /// What was being done.
        context: String,
        /// What the database said.
        cause: Source,
    },

    /// The database failed.
    #[error("{context}: {}", chain(&**cause))]
    Backend {
        /// What was being done.
        context: String,
        /// Whether trying again may help.
        transient: bool,
        /// What the database said.
        cause: Source,
    },
}

/// The texts of an error and of all its causes, in one line. A cause that the text before it has already told is left
/// out.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

impl Error {
    /// [`Error::Invalid`]: an input, named by `what`, is refused for this reason.
    pub fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), reason: reason.into() }
    }

    /// [`Error::Backend`]: what a backend was doing, whether the fault passes by itself, and what its database said.
    pub fn backend(context: impl Into<String>, transient: bool, cause: impl Into<Source>) -> Self {
        Self::Backend { context: context.into(), transient, cause: cause.into() }
    }

    /// The same, for one more caller of a call that several share: the cause is kept as text.
    #[must_use]
    pub fn shared(&self) -> Self {
        match self {
            Self::CommitUnknown { cause } => Self::CommitUnknown { cause: chain(&**cause).into() },
            Self::HistoryChanged { store } => Self::HistoryChanged { store: store.clone() },
            Self::TimedOut { context, cause } => {
                Self::TimedOut { context: context.clone(), cause: chain(&**cause).into() }
            }
            Self::Backend { context, transient, cause } => Self::backend(context, *transient, chain(&**cause)),
            other => Self::backend("a call that others share", other.is_transient(), other.to_string()),
        }
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

    /// Whether the same call may succeed when it is made again: a passing fault, or a lost answer.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::CommitUnknown { .. }
                | Self::HistoryChanged { .. }
                | Self::TimedOut { .. }
                | Self::Backend { transient: true, .. }
        )
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
    fn an_error_says_its_whole_chain_once() {
        let error = Error::backend("connecting to postgres://localhost", true, Outer(Inner));
        let said = "connecting to postgres://localhost: error connecting to server: Connection refused (os error 111)";
        assert_eq!(error.to_string(), said);
        let wrapped = Error::CommitUnknown { cause: error.into() };
        assert_eq!(wrapped.to_string().matches("Connection refused").count(), 1);
        assert!(std::error::Error::source(&wrapped).is_none(), "a reporter that walks the chain repeats nothing");
    }
}
