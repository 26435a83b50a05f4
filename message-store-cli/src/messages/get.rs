//! `message-store get`: shows one message.

use anyhow::Result;

use super::name::{Name, name};
use super::rows::print_one;
use crate::open::StoreUrl;
use crate::output::Format;

#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    #[command(flatten)]
    store: StoreUrl,
    /// The message's id, or its global position
    #[arg(value_parser = name)]
    message: Name,
}

impl Get {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        print_one(format, &self.message.find(&*self.store.open().await?).await?)
    }
}
