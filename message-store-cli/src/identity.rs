//! `message-store identity`: shows the identity of a store, and gives it a new one.

use anyhow::{Result, bail};

use crate::confirm::is_confirmed;
use crate::open::StoreUrl;

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
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
}

impl Identity {
    pub(crate) async fn run(self) -> Result<()> {
        let store = self.store.open().await?;
        match self.action {
            Action::Show => println!("{}", store.store_id()),
            Action::Rotate { yes } => {
                let old = store.store_id();
                if !yes {
                    let place = store.describe();
                    eprintln!(
                        "{place} gets a new identity. Rotate a copy of a store, not the store itself, and stop its processes before."
                    );
                    if !is_confirmed("Go on?")? {
                        bail!("nothing was changed");
                    }
                }
                println!("{} (before: {old})", store.rotate_store_id().await?);
            }
        }
        Ok(())
    }
}
