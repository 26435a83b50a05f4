//! `message-store migrate`: creates, upgrades or adopts a schema.

use anyhow::{Context as _, Result, bail};
use message_store::postgres::{self, Installation};
use message_store::{MessageStore as _, sqlite::SqliteStore};

use crate::open::{StoreUrl, is_sqlite};
use crate::output::line;

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
        let url = self.store.url()?;
        if is_sqlite(&url)?
            && let Some(path) = url.strip_prefix("sqlite:")
        {
            let store = SqliteStore::open(path).await?;
            line(format_args!("{}: the schema is current", store.describe()))?;
            return Ok(());
        }
        let migrated = if self.adopt { postgres::adopt(&url).await } else { postgres::migrate(&url).await };
        match migrated.context("nothing was migrated")? {
            found @ Installation::MessageDb if !self.adopt => {
                bail!("found {found}, and did not change it; give --adopt to upgrade it in place")
            }
            found if found.is_current() => line(format_args!("found {found}: it is current"))?,
            found => line(format_args!("found {found}; the schema is current now"))?,
        }
        Ok(())
    }
}
