//! `message-store dedup`: removes keys of de-duplication whose window is over.

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::open::StoreUrl;
use crate::output::{Format, Rows};

/// The greatest number of keys that one transaction removes.
const BATCH: u32 = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Dedup {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Remove the keys whose windows are over. They count no longer, and only take room
    Sweep {
        #[command(flatten)]
        store: StoreUrl,
    },
}

impl Dedup {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let Action::Sweep { store } = self.action;
        let store = store.open().await?;
        let keys = store.deduplication().context("this store has no de-duplication")?;
        let mut removed = 0;
        loop {
            let part = keys.sweep(BATCH).await?;
            removed += part;
            if part < u64::from(BATCH) {
                break;
            }
        }
        let mut rows = Rows::new(format, ["removed keys"])?;
        rows.add([json!(removed)])?;
        rows.print()
    }
}
