//! `message-store check`: reports the state of a store's schema.

use anyhow::{Result, bail};
use message_store::{MessageStore as _, postgres, sqlite::SqliteStore};

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The store: `postgres://…` or `sqlite:PATH`
    #[arg(long, value_name = "URL", env = "MESSAGE_STORE", hide_env_values = true)]
    store: String,
}

impl Check {
    pub(crate) async fn run(self) -> Result<()> {
        if let Some(path) = self.store.strip_prefix("sqlite:") {
            if !std::fs::exists(path)? {
                bail!("there is no file {path}");
            }
            let store = SqliteStore::open(path).await?;
            println!("{}: the schema is current", store.describe());
            return Ok(());
        }
        let report = postgres::check(&self.store).await?;
        println!("{report}");
        if !report.is_well() {
            bail!("there are problems");
        }
        Ok(())
    }
}
