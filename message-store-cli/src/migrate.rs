//! `message-store migrate`: creates, upgrades or adopts a schema.

use anyhow::{Context as _, Result, bail};
use message_store::postgres::{self, Installation};
use message_store::{MessageStore as _, sqlite::SqliteStore};

use crate::open::StoreUrl;

#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    store: StoreUrl,

    /// Upgrade a database with Message DB's schema in place: every message keeps its id and positions, and its clients
    /// keep working
    #[arg(long)]
    adopt: bool,
}

impl Migrate {
    pub(crate) async fn run(self) -> Result<()> {
        if self.store.is_sqlite()?
            && let Some(path) = self.store.url.strip_prefix("sqlite:")
        {
            let store = SqliteStore::open(path).await?;
            println!("{}: the schema is current", store.describe());
            return Ok(());
        }
        let migrated =
            if self.adopt { postgres::adopt(&self.store.url).await } else { postgres::migrate(&self.store.url).await };
        match migrated.context("nothing was migrated")? {
            found @ Installation::MessageDb if !self.adopt => {
                bail!("found {found}, and did not change it; give --adopt to upgrade it in place")
            }
            found if found.is_current() => println!("found {found}: it is current"),
            found => println!("found {found}; the schema is current now"),
        }
        Ok(())
    }
}
