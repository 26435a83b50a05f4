//! Converts errors of PostgreSQL.

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::Error;

/// The meaning of a server's error for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The server is starting, stopping, overloaded or read-only, or it rolled back this transaction because of a
    /// conflict. The same statement may succeed later.
    Passing,
    /// A time limit ended the statement. The server may be in trouble, or the statement may be too much for it.
    TimedOut,
    /// The server refused the data.
    BadData,
    /// The same statement would fail again.
    Final,
}

/// The meanings, by the beginning of the SQLSTATE. Others are final.
const MEANINGS: [(&str, Meaning); 13] = [
    // Connection exceptions.
    ("08", Meaning::Passing),
    // Data exceptions.
    ("22", Meaning::BadData),
    // Read-only: a standby, or a primary that is being replaced.
    ("25006", Meaning::Passing),
    // Limits on an idle session in a transaction, and on a transaction.
    ("25P03", Meaning::Passing),
    ("25P04", Meaning::TimedOut),
    // Transaction rollbacks: a deadlock, a serialization failure.
    ("40", Meaning::Passing),
    // Insufficient resources: memory, disk, connections.
    ("53", Meaning::Passing),
    // JSON that nests too deeply for the server.
    ("54001", Meaning::BadData),
    // Limits on the wait for a lock, and on a statement.
    ("55P03", Meaning::TimedOut),
    ("57014", Meaning::TimedOut),
    // The server is starting or stopping.
    ("57P", Meaning::Passing),
    // Errors of input and output.
    ("58", Meaning::Passing),
    // Snapshot too old.
    ("72", Meaning::Passing),
];

/// The meaning of an SQLSTATE.
pub(super) fn meaning(code: &SqlState) -> Meaning {
    let found = MEANINGS.iter().find(|(beginning, _)| code.code().starts_with(beginning));
    found.map_or(Meaning::Final, |(_, meaning)| *meaning)
}

/// Converts the error of a statement after which nothing is written.
pub(super) fn failed(context: impl Into<String>, error: tokio_postgres::Error) -> Error {
    if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        let context = context.into();
        let what = "without the right to (the owner of the schema gives a service its rights with GRANT message_store TO, \
                    and `message-store migrate`)";
        return classed(format!("{context} {what}"), error);
    }
    classed(context, error)
}

/// As [`failed`], for a statement that need not be of this library.
pub(super) fn classed(context: impl Into<String>, error: tokio_postgres::Error) -> Error {
    match error.code().map(meaning) {
        Some(Meaning::TimedOut) => Error::TimedOut { context: context.into(), cause: error.into() },
        Some(meaning) => Error::backend(context, meaning == Meaning::Passing, error),
        None => Error::backend(context, !is_unsent(&error) && !is_unreadable(&error), error),
    }
}

/// Converts the error of a new connection to a server that this store has used before: its operator may have closed it for
/// a while.
pub(super) fn not_connected(context: impl Into<String>, error: tokio_postgres::Error) -> Error {
    const CLOSED: [&str; 4] = ["28", "3D000", "42501", "55000"];
    let is_closed = error.code().is_some_and(|code| CLOSED.iter().any(|beginning| code.code().starts_with(beginning)));
    if is_closed { Error::backend(context, true, error) } else { failed(context, error) }
}

/// As [`failed`], for `map_err`.
pub(super) fn backend(context: &'static str) -> impl Fn(tokio_postgres::Error) -> Error {
    move |error| failed(context, error)
}

/// Whether the connection was lost while the statement was running, so that its result is unknown.
pub(super) fn is_unanswered(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        None => !is_unsent(error),
        Some(error) => {
            // A pooler names the severity only in words.
            let ends_the_session = match error.parsed_severity() {
                Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
                None => error.severity() == "FATAL",
            };
            let code = error.code();
            ends_the_session || code.code().starts_with("08") || *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
        }
    }
}

/// Whether the statement could not be encoded, so that the server has received nothing. The driver encodes a whole
/// statement before it sends any of it. It names this kind of error only in its text.
pub(super) fn is_unsent(error: &tokio_postgres::Error) -> bool {
    const BEGINNINGS: [&str; 3] = ["error serializing parameter", "error encoding message", "expected "];
    begins_with_one_of(error, &BEGINNINGS)
}

/// Whether an answer arrived that this library cannot decode.
fn is_unreadable(error: &tokio_postgres::Error) -> bool {
    const BEGINNINGS: [&str; 3] = ["error deserializing column", "invalid column", "query returned an unexpected"];
    begins_with_one_of(error, &BEGINNINGS)
}

fn begins_with_one_of(error: &tokio_postgres::Error, beginnings: &[&str]) -> bool {
    let text = error.to_string();
    error.as_db_error().is_none() && beginnings.iter().any(|beginning| text.starts_with(beginning))
}

/// Whether the append lost a race with another transaction: the unique index refused a message id that was free when it
/// was looked up, or the server ended a deadlock. Nothing was written. If the same append is sent again, it finds the
/// other's message.
pub(super) fn is_race(error: &DbError) -> bool {
    *error.code() == SqlState::T_R_DEADLOCK_DETECTED
        || (*error.code() == SqlState::UNIQUE_VIOLATION && error.constraint() == Some("messages_id"))
}

/// Whether a notice says that the wait of a commit for a synchronous standby was cut. Its text depends on the language of the
/// server, and the name of the server's routine does not.
pub(super) fn says_that_a_wait_was_cut(notice: &DbError) -> bool {
    notice.routine() == Some("SyncRepWaitForLSN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sqlstate_has_its_meaning() {
        let meanings = [
            (
                "08006 08001 25006 25P03 40001 40P01 53100 53200 53300 57P01 57P02 57P03 57P05 58030 72000",
                Meaning::Passing,
            ),
            ("25P04 55P03 57014", Meaning::TimedOut),
            ("22003 22021 22P02 22P05 54001", Meaning::BadData),
            ("0A000 23505 23514 25P02 28P01 3D000 42501 42P01 42883 54000 55000 P0001 XX000 XX001", Meaning::Final),
        ];
        for (codes, expected) in meanings {
            for code in codes.split(' ') {
                assert_eq!(meaning(&SqlState::from_code(code)), expected, "{code}");
            }
        }
    }
}
