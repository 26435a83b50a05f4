//! The exit codes, which scripts rely on.

use std::io;
use std::process::ExitCode;

use message_store::Error;

/// Shown at the end of `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    an error
  2    wrong arguments
  3    not found: the store, a message, a stream, a consumer, a letter or a timer
  4    the append was refused: another version, another content of an id, or a condition
  5    the store does not answer, or refuses the user
  6    check, consumers check, diagnose or verify found something
  7    nothing was changed, because it was not confirmed
  130  interrupted";

/// Why a command fails, if the reason has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Usage = 2,
    NotFound = 3,
    Refused = 4,
    NoAnswer = 5,
    Problems = 6,
    NotConfirmed = 7,
    Interrupted = 130,
}

/// An error with an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    text: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl Exit {
    /// An error that ends the program with this code.
    pub(crate) fn because(self, text: impl Into<String>) -> anyhow::Error {
        Failure { exit: self, text: text.into() }.into()
    }
}

/// Whether the error is that nobody reads the output any more.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// The exit code of an error.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    let of_store = |error: &Error| match error {
        Error::WrongExpectedVersion { .. } | Error::IdConflict { .. } | Error::ConditionFailed { .. } => {
            Some(Exit::Refused)
        }
        error if error.is_transient() => Some(Exit::NoAnswer),
        _ => None,
    };
    let exit = error.chain().find_map(|cause| {
        let failure = cause.downcast_ref::<Failure>().map(|failure| failure.exit);
        failure.or_else(|| cause.downcast_ref::<Error>().and_then(of_store))
    });
    ExitCode::from(exit.map_or(1, |exit| exit as u8))
}
