//! How a store is opened.

use std::path::{Path, PathBuf};

use super::location::Location;
use crate::{Error, Limits, Result};

/// Connections that read beside the writer, unless said otherwise.
const READERS: usize = 4;

/// How to open a [`SqliteStore`](super::SqliteStore).
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
}

impl SqliteOptions {
    fn at(place: Location) -> Self {
        Self { place, limits: Limits::default(), readers: READERS }
    }

    /// A file, which is made when it is missing.
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

    /// Memory: the store is gone when it is dropped.
    pub fn memory() -> Self {
        Self::at(Location::Memory)
    }

    /// What a `sqlite:` URL names: `sqlite:PATH`, or `sqlite::memory:`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another scheme, or without a path.
    pub fn from_url(url: &str) -> Result<Self> {
        match url.strip_prefix("sqlite:") {
            Some(":memory:") => Ok(Self::memory()),
            Some(path) => Self::file(path),
            None => Err(Error::invalid("store URL", "it must begin with sqlite:, as in sqlite:account.db")),
        }
    }

    /// With these limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// So many connections that read a file beside its writer (4). A store in memory has one connection for all.
    pub fn readers(mut self, connections: usize) -> Self {
        self.readers = connections.max(1);
        self
    }
}
