//! The store of a command.

use std::sync::Arc;

use anyhow::{Result, bail};
use message_store::MessageStore;
use message_store::postgres::PostgresOptions;
use message_store::sqlite::SqliteOptions;

/// The store that a command opens.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreUrl {
    /// The store: `postgres://…` or `sqlite:PATH`
    #[arg(long = "store", value_name = "URL", env = "MESSAGE_STORE", hide_env_values = true)]
    pub(crate) url: String,
}

impl StoreUrl {
    /// Whether it is a store on SQLite.
    ///
    /// # Errors
    /// If it is neither on SQLite nor on PostgreSQL.
    pub(crate) fn is_sqlite(&self) -> Result<bool> {
        match self.url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(true),
            Some("postgres" | "postgresql") => Ok(false),
            _ => bail!("the store must be written as postgres://USER@HOST/DATABASE or sqlite:PATH"),
        }
    }

    /// Opens the store. One that does not exist is not made, because its name may be misspelt.
    pub(crate) async fn open(&self) -> Result<Arc<dyn MessageStore>> {
        if self.is_sqlite()? {
            return Ok(Arc::new(SqliteOptions::from_url(&self.url)?.existing().open().await?));
        }
        Ok(Arc::new(PostgresOptions::from_url(&self.url)?.existing().open().await?))
    }
}
