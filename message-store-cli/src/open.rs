//! The store of a command.

use std::sync::Arc;

use anyhow::Result;
use message_store::postgres::PostgresOptions;
use message_store::sqlite::SqliteOptions;
use message_store::{MessageStore, connect};

/// The store that a command opens.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreUrl {
    /// The store: `postgres://…` or `sqlite:PATH`
    #[arg(long = "store", value_name = "URL", env = "MESSAGE_STORE", hide_env_values = true)]
    pub(crate) url: String,
}

impl StoreUrl {
    /// Opens the store. One that does not exist is not made, because its name may be misspelt.
    pub(crate) async fn open(&self) -> Result<Arc<dyn MessageStore>> {
        let url = &self.url;
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Arc::new(PostgresOptions::from_url(url)?.existing().open().await?));
        }
        if url.starts_with("sqlite:") {
            return Ok(Arc::new(SqliteOptions::from_url(url)?.existing().open().await?));
        }
        // It is refused, with the schemes that are known.
        Ok(connect(url).await?)
    }
}
