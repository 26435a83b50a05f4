//! Runs blocking work on Tokio's threads for blocking work.

use crate::{Error, Result};

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::backend("a SQLite task", false, error)),
    }
}
