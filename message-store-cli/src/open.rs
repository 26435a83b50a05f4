//! The store of a command.

use std::sync::Arc;

use anyhow::{Result, bail};
use message_store::{MessageStore, connect};

/// The store that a command opens.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreUrl {
    /// The store: `postgres://…` or `sqlite:PATH`
    #[arg(long = "store", value_name = "URL", env = "MESSAGE_STORE", hide_env_values = true)]
    pub(crate) url: String,
}

impl StoreUrl {
    /// The path of a SQLite store, which must exist. `None` for another store.
    pub(crate) fn existing_file(&self) -> Result<Option<&str>> {
        let path = self.url.strip_prefix("sqlite:");
        if let Some(path) = path
            && !std::fs::exists(path)?
        {
            bail!("there is no file {path}");
        }
        Ok(path)
    }

    /// Opens the store. A file that does not exist is not made, because its name may be misspelt.
    pub(crate) async fn open(&self) -> Result<Arc<dyn MessageStore>> {
        if self.url != "sqlite::memory:" {
            self.existing_file()?;
        }
        Ok(connect(&self.url).await?)
    }
}
