//! The options of a store.

use std::path::{Path, PathBuf};

use super::location::Location;
use crate::{Error, Limits, Result};

/// The default number of connections that read.
const READERS: usize = 4;

/// The options of a [`SqliteStore`](super::SqliteStore).
///
/// ```
/// use message_store::sqlite::SqliteOptions;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = SqliteOptions::memory().open().await?;
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteOptions {
    pub(super) place: Location,
    pub(super) limits: Limits,
    pub(super) readers: usize,
    /// A missing file and a missing schema are created.
    pub(super) creates: bool,
}

impl SqliteOptions {
    fn at(place: Location) -> Self {
        Self { place, limits: Limits::default(), readers: READERS, creates: true }
    }

    /// A store in a file, which is created if it is missing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty path.
    pub fn file(path: impl AsRef<Path>) -> Result<Self> {
        let path: PathBuf = path.as_ref().to_owned();
        if path.as_os_str().is_empty() {
            return Err(Error::invalid("store URL", "it names no file; write sqlite:PATH or sqlite::memory:"));
        }
        Ok(Self::at(Location::File(path)))
    }

    /// A store in memory, which is lost when it is dropped.
    pub fn memory() -> Self {
        Self::at(Location::Memory)
    }

    /// A store with this URL: `sqlite:PATH`, or `sqlite::memory:`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another scheme, and for an empty path.
    pub fn from_url(url: &str) -> Result<Self> {
        match url.strip_prefix("sqlite:") {
            Some(":memory:") => Ok(Self::memory()),
            Some(path) => Self::file(path),
            None => Err(Error::invalid("store URL", "it must begin with sqlite:, as in sqlite:account.db")),
        }
    }

    /// Opens only a store that exists. By default, a missing file and a missing schema are created.
    pub fn existing(mut self) -> Self {
        self.creates = false;
        self
    }

    /// Sets the limits of messages and batches.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the number of connections that read a file. Default: 4. A store in memory has one connection for all.
    pub fn readers(mut self, connections: usize) -> Self {
        self.readers = connections.max(1);
        self
    }
}
