//! Turns: the connections that write to one file, of all processes, take turns.
//!
//! Problem: a connection that waits for SQLite's write lock sleeps and tries again. A busy connection takes the lock
//! again in the meantime, so it can keep the others out for as long as it is busy. Fix: a lock on a second file, the
//! turn. A connection takes the turn before it begins a transaction, and gives it back as soon as the transaction has
//! begun. Why it is fair: the connection that waits for the write lock has the turn, so the connection that has just
//! committed cannot begin before it. Why it is safe: the turn decides only the order. The file is protected by SQLite's
//! own lock, so a connection that cannot get the turn begins without it.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::location::Location;

/// How long a connection waits for the turn. The process that has it may have been stopped.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long a connection does not wait again after it did not get the turn.
const PAUSE: Duration = Duration::from_secs(10);
/// The time between two attempts to get the turn.
const RETRY: Duration = Duration::from_micros(200);

/// The turns of one connection.
#[derive(Debug)]
pub(super) struct Turns {
    /// `None` for a store in memory, and if the file cannot be opened.
    file: Option<File>,
    /// Until this time, the connection does not wait for the turn.
    paused_until: Instant,
}

/// The turn, until this is dropped.
#[must_use]
pub(super) struct Turn<'a>(&'a File);

impl Turns {
    /// The turns of a connection to this store. The lock file is beside the store's file.
    pub(super) fn of(store: &Location) -> Self {
        let file = match store {
            Location::Memory => None,
            Location::File(path) => open(path),
        };
        Self { file, paused_until: Instant::now() }
    }

    /// Waits for the turn. A connection that has it, or did not get it in time, begins its transaction.
    pub(super) fn take(&mut self) -> Option<Turn<'_>> {
        let file = self.file.as_ref()?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Some(Turn(file)),
                Err(TryLockError::Error(error)) => {
                    tracing::debug!(target: "message_store::sqlite", %error, "the turn could not be taken");
                    return None;
                }
                Err(TryLockError::WouldBlock) if begun < self.paused_until => return None,
                Err(TryLockError::WouldBlock) if begun.elapsed() > LONGEST_WAIT => {
                    self.paused_until = Instant::now() + PAUSE;
                    return None;
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(RETRY),
            }
        }
    }
}

fn open(store: &Path) -> Option<File> {
    let mut path = store.as_os_str().to_owned();
    path.push("-turn");
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    // The file of another user. A lock needs no right to write.
    let opened = opened.or_else(|error| File::open(&path).map_err(|_| error));
    let unopened = |error| {
        let path = Path::new(&path).display();
        tracing::warn!(target: "message_store::sqlite", %path, %error, "the file cannot be opened; writers of several processes may wait for long");
    };
    opened.map_err(unopened).ok()
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!(target: "message_store::sqlite", %error, "the turn could not be given back; it ends with its connection");
        }
    }
}
