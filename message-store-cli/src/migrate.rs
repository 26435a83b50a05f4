//! `message-store migrate`: creates, upgrades or adopts a schema.

use anyhow::{Context as _, Result, bail};
use message_store::postgres::{self, Installation};
use message_store::{MessageStore as _, sqlite::SqliteStore};
use serde_json::json;

use crate::open::{StoreUrl, is_sqlite};
use crate::output::done;

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
            let place = store.describe();
            return done(format_args!("{place}: the schema is current"), [("found", json!(null))]);
        }
        let migrated = if self.adopt { postgres::adopt(&url).await } else { postgres::migrate(&url).await };
        match migrated.context("nothing was migrated")? {
            found @ Installation::MessageDb if !self.adopt => {
                bail!("found {found}, and did not change it; give --adopt to upgrade it in place")
            }
            found => {
                let now = if found.is_current() { ": it is current" } else { "; the schema is current now" };
                done(format_args!("found {found}{now}"), [("found", json!(found.to_string()))])
            }
        }
    }
}
