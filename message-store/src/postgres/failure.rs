//! What a PostgreSQL error means to the caller.

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::Error;

/// What a database's refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The server is starting, stopping, overloaded or read-only, or chose this transaction as the victim of a
    /// conflict. It will pass.
    Passing,
    /// A limit on time ended the statement. The server may be in trouble, or the statement may be too much for it.
    TimedOut,
    /// The data itself was refused.
    BadData,
    /// The same again fails again.
    Final,
}

/// By the beginning of the SQLSTATE. What is not here is final.
const MEANINGS: [(&str, Meaning); 13] = [
    // The connection.
    ("08", Meaning::Passing),
    // Data.
    ("22", Meaning::BadData),
    // Read-only: a standby, or a primary that is being replaced.
    ("25006", Meaning::Passing),
    // A session that was idle in its transaction; a transaction that took too long.
    ("25P03", Meaning::Passing),
    ("25P04", Meaning::TimedOut),
    // Rolled back: a deadlock, a serialization failure.
    ("40", Meaning::Passing),
    // No memory, disk or connection is left.
    ("53", Meaning::Passing),
    // JSON that nests too deeply for the server.
    ("54001", Meaning::BadData),
    // The limits on waiting for a lock, and on a statement.
    ("55P03", Meaning::TimedOut),
    ("57014", Meaning::TimedOut),
    // The server starts or stops.
    ("57P", Meaning::Passing),
    // Input and output.
    ("58", Meaning::Passing),
    // The snapshot is too old.
    ("72", Meaning::Passing),
];

/// What an SQLSTATE means.
pub(super) fn meaning(code: &SqlState) -> Meaning {
    let found = MEANINGS.iter().find(|(beginning, _)| code.code().starts_with(beginning));
    found.map_or(Meaning::Final, |(_, meaning)| *meaning)
}

/// The failure of a statement that writes nothing, or nothing that outlives it.
pub(super) fn failed(context: impl Into<String>, error: tokio_postgres::Error) -> Error {
    match error.code().map(meaning) {
        Some(Meaning::TimedOut) => Error::TimedOut { context: context.into(), cause: error.into() },
        Some(meaning) => Error::backend(context, meaning == Meaning::Passing, error),
        None => Error::backend(context, !is_unsent(&error) && !is_unreadable(&error), error),
    }
}

/// As [`failed`].
pub(super) fn backend(context: &'static str) -> impl Fn(tokio_postgres::Error) -> Error {
    move |error| failed(context, error)
}

/// Whether the connection broke (or was broken off by the server) while the statement was under way, so that
/// the server did not say how it ended.
pub(super) fn is_unanswered(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        None => !is_unsent(error),
        Some(error) => {
            let ends_the_session = matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
            let code = error.code();
            ends_the_session || code.code().starts_with("08") || *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
        }
    }
}

/// Whether the statement could not be put on the wire: the server has seen nothing of it. (The driver encodes a
/// statement whole before it sends it. It names this kind of error only in its text.)
pub(super) fn is_unsent(error: &tokio_postgres::Error) -> bool {
    const BEGINNINGS: [&str; 3] = ["error serializing parameter", "error encoding message", "expected "];
    begins_with_one_of(error, &BEGINNINGS)
}

/// Whether the answer came, and is not what we know to read.
fn is_unreadable(error: &tokio_postgres::Error) -> bool {
    const BEGINNINGS: [&str; 3] = ["error deserializing column", "invalid column", "query returned an unexpected"];
    begins_with_one_of(error, &BEGINNINGS)
}

fn begins_with_one_of(error: &tokio_postgres::Error, beginnings: &[&str]) -> bool {
    let text = error.to_string();
    error.as_db_error().is_none() && beginnings.iter().any(|beginning| text.starts_with(beginning))
}

/// Whether another transaction was quicker: the unique index on the message id refused a message that was not there
/// when it was looked for, or the server broke up a deadlock. Nothing was written; the same append again finds out.
pub(super) fn is_race(error: &DbError) -> bool {
    *error.code() == SqlState::T_R_DEADLOCK_DETECTED
        || (*error.code() == SqlState::UNIQUE_VIOLATION && error.constraint() == Some("messages_id"))
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
