//! `message-store check`: reports the state of a store's schema.

use anyhow::{Result, bail};
use message_store::{MessageStore as _, postgres, sqlite::SqliteStore};

use crate::open::StoreUrl;

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    store: StoreUrl,
}

impl Check {
    pub(crate) async fn run(self) -> Result<()> {
        if let Some(path) = self.store.existing_file()? {
            let store = SqliteStore::open(path).await?;
            println!("{}: the schema is current", store.describe());
            return Ok(());
        }
        let report = postgres::check(&self.store.url).await?;
        println!("{report}");
        if !report.is_well() {
            bail!("there are problems");
        }
        Ok(())
    }
}
