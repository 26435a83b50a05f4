//! What a SQLite error means to the caller.

use rusqlite::ErrorCode;

use crate::Error;

/// The failure of a statement. What the machine lacks (space, memory, a file system that can be written) will pass.
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

/// As [`failed`].
pub(super) fn backend(context: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| failed(context, error)
}

/// Whether another connection has the file locked.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether the file could not be read or written.
pub(super) fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

/// Why a request of the shared transaction failed.
pub(super) enum Failed {
    /// This append cannot be written; it left nothing behind.
    Refused(Error),
    /// The database failed, and with it the whole group.
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
    fn what_the_machine_lacks_will_pass() {
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
    fn the_rest_is_final() {
        for code in
            [ffi::SQLITE_CORRUPT, ffi::SQLITE_CONSTRAINT, ffi::SQLITE_CANTOPEN, ffi::SQLITE_NOTADB, ffi::SQLITE_ERROR]
        {
            assert!(matches!(meaning(code), Error::Backend { transient: false, .. }), "{code}");
        }
    }
}
