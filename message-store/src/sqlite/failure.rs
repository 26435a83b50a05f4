//! Converts errors of SQLite.

use rusqlite::ErrorCode;

use crate::Error;

/// Converts the error of a statement. Errors of the machine (no space, no memory, a read-only file system) are
/// transient.
pub(super) fn failed(context: impl Into<String>, error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => Error::TimedOut { context: context.into(), cause: error.into() },
        Some(
            ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly,
        ) => Error::backend(context, true, error),
        _ => Error::backend(context, false, error),
    }
}

/// As [`failed`], for `map_err`.
pub(super) fn backend(context: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| failed(context, error)
}

/// Whether another connection has locked the file.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether it is an error of input or output.
pub(super) fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

/// The reason why a request of the shared transaction failed.
pub(super) enum Failed {
    /// The request was refused, and changed nothing.
    Refused(Error),
    /// The database failed. The whole transaction is rolled back.
    Database(rusqlite::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn meaning(code: i32) -> Error {
        failed("writing", rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn a_file_that_stays_locked_is_a_time_out() {
        assert!(matches!(meaning(ffi::SQLITE_BUSY), Error::TimedOut { .. }));
    }

    #[test]
    fn errors_of_the_machine_are_transient() {
        for code in [
            ffi::SQLITE_LOCKED,
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_NOMEM,
            ffi::SQLITE_READONLY,
        ] {
            assert!(matches!(meaning(code), Error::Backend { transient: true, .. }), "{code}");
        }
    }

    #[test]
    fn other_errors_are_final() {
        for code in
            [ffi::SQLITE_CORRUPT, ffi::SQLITE_CONSTRAINT, ffi::SQLITE_CANTOPEN, ffi::SQLITE_NOTADB, ffi::SQLITE_ERROR]
        {
            assert!(matches!(meaning(code), Error::Backend { transient: false, .. }), "{code}");
        }
    }
}
