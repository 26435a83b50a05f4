//! `message-store console`: pages that show what a store contains and what runs on it.

use anyhow::Result;
use message_store::service::stop_signal;
use message_store_console::{Console as Pages, Options};

use crate::open::StoreUrl;

#[derive(Debug, clap::Args)]
pub(crate) struct Console {
    #[command(flatten)]
    store: StoreUrl,
    #[command(flatten)]
    options: Options,
}

impl Console {
    pub(crate) async fn run(self) -> Result<()> {
        let store = self.store.open().await?;
        let stop = async {
            let _ = stop_signal().await;
        };
        Ok(self.options.serve(Pages::new(&store), stop).await?)
    }
}
