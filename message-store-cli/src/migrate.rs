//! `message-store migrate`: creates, upgrades or adopts a schema.

use anyhow::{Context as _, Result, bail};
use message_store::postgres::{self, Installation};
use message_store::{MessageStore as _, sqlite::SqliteOptions};
use serde_json::json;

use crate::open::{Backend, StoreUrl};
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
        match Backend::of(&url)? {
            Backend::Sqlite => {
                let store = SqliteOptions::from_url(&url)?.open().await?;
                return done(format_args!("{}: the schema is current", store.describe()), [("found", json!(null))]);
            }
            #[cfg(feature = "jetstream")]
            Backend::Jetstream => {
                let store = message_store_jetstream::JetstreamStore::open(&url).await?;
                return done(format_args!("{}: the log is there", store.describe()), [("found", json!(null))]);
            }
            Backend::Postgres => {}
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
