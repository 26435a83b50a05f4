//! `message-store check`: reports the state of a store's schema.

use anyhow::{Result, bail};
use message_store::postgres;

use crate::open::StoreUrl;

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    store: StoreUrl,
}

impl Check {
    pub(crate) async fn run(self) -> Result<()> {
        if self.store.is_sqlite()? {
            println!("{}: the schema is current", self.store.open().await?.describe());
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
