//! What a PostgreSQL error means to the caller.

use deadpool_postgres::PoolError;
use tokio_postgres::error::{DbError, SqlState};

use crate::Error;

/// The failure of a statement that writes nothing, or nothing that outlives it.
pub(super) fn backend(context: &'static str) -> impl Fn(tokio_postgres::Error) -> Error {
    move |error| {
        let transient = error.as_db_error().is_none_or(|error| is_transient(error.code()));
        Error::backend(context, transient, error)
    }
}

/// No connection could be had.
pub(super) fn pool_failure(place: &str, error: PoolError) -> Error {
    let (context, transient) = match &error {
        PoolError::Timeout(_) => (format!("waiting for a free connection to {place}"), true),
        PoolError::Backend(error) => {
            (format!("connecting to {place}"), error.as_db_error().is_none_or(|error| is_transient(error.code())))
        }
        _ => (format!("connecting to {place}"), false),
    };
    Error::backend(context, transient, error)
}

/// Whether the connection broke (or was broken off by the server) while the statement was under way, so that
/// nobody told us how it ended.
pub(super) fn is_unanswered(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        None => true,
        Some(error) => [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CONNECTION_EXCEPTION,
            SqlState::CONNECTION_FAILURE,
            SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        ]
        .contains(error.code()),
    }
}

/// Whether the data itself was refused: SQLSTATE class 22, and what JSON nests too deeply for the server.
pub(super) fn is_bad_data(error: &DbError) -> bool {
    error.code().code().starts_with("22") || *error.code() == SqlState::STATEMENT_TOO_COMPLEX
}

/// Whether another transaction was quicker: the unique index on the message id refused a message that was not there when it
/// was looked for, or the server broke up a deadlock. Nothing was written; the same append again finds out.
pub(super) fn is_race(error: &DbError) -> bool {
    *error.code() == SqlState::T_R_DEADLOCK_DETECTED
        || (*error.code() == SqlState::UNIQUE_VIOLATION && error.constraint() == Some("messages_id"))
}

/// Trying again may help: the server is starting, stopping or overloaded, or chose us as the victim of a conflict.
pub(super) fn is_transient(code: &SqlState) -> bool {
    let code = code.code();
    ["40", "53", "57P", "08"].iter().any(|class| code.starts_with(class)) || code == "55P03"
}
