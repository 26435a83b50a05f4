//! `message-store identity`: shows the identity of a store, and gives it a new one.

use anyhow::Result;
use serde_json::json;

use crate::confirm::Confirm;
use crate::open::StoreUrl;
use crate::output::{done, line};

#[derive(Debug, clap::Args)]
pub(crate) struct Identity {
    #[command(flatten)]
    store: StoreUrl,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the identity: sequences of this store's messages name it
    Show,
    /// Give a copy of a store an identity of its own. Stop all its processes before: they would keep the old one
    Rotate {
        #[command(flatten)]
        confirm: Confirm,
    },
}

impl Identity {
    pub(crate) async fn run(self) -> Result<()> {
        let store = self.store.open().await?;
        match self.action {
            Action::Show => {
                let id = store.store_id().to_string();
                done(&id, [("identity", json!(id))])?;
            }
            Action::Rotate { confirm } => {
                let (old, place) = (store.store_id(), store.describe());
                line(format_args!(
                    "{place} gets a new identity. Rotate a copy of a store, not the store itself, and stop its processes before."
                ))?;
                if !confirm.goes_on("Go on?", "changed")? {
                    return Ok(());
                }
                let new = store.rotate_store_id().await?;
                let fields = [("identity", json!(new.to_string())), ("before", json!(old.to_string()))];
                done(format_args!("{new} (before: {old})"), fields)?;
            }
        }
        Ok(())
    }
}
