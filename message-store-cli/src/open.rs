//! Opens a store that exists.

use std::sync::Arc;

use anyhow::{Result, bail};
use message_store::{MessageStore, connect};

/// Opens a store. A file that does not exist is not made, because its name may be misspelt.
pub(crate) async fn open(url: &str) -> Result<Arc<dyn MessageStore>> {
    if let Some(path) = url.strip_prefix("sqlite:")
        && path != ":memory:"
        && !std::fs::exists(path)?
    {
        bail!("there is no file {path}");
    }
    Ok(connect(url).await?)
}
