//! `message-store erase`: erases the data of a stream or of an entity.

use anyhow::{Result, bail};
use message_store::operations::Erasing;

use crate::confirm::is_confirmed;
use crate::open::StoreUrl;

#[derive(Debug, clap::Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    store: StoreUrl,
    /// The stream, such as account-123
    stream: String,
    /// Erase the entity: this stream, and all streams whose names begin with its name and `+`
    #[arg(long)]
    entity: bool,
    /// Show how many messages would be erased, and erase none
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Erase {
    pub(crate) async fn run(self) -> Result<()> {
        let store = self.store.open().await?;
        let (what, erasing) = if self.entity {
            ("the entity", Erasing::entity(&store, &self.stream)?)
        } else {
            ("the stream", Erasing::stream(&store, &self.stream)?)
        };
        let count = erasing.count().await?;
        let whole = format!("the data of {count} messages of {what} {}", self.stream);
        if self.dry_run {
            println!("{whole} (nothing was erased)");
            return Ok(());
        }
        if !self.yes && !is_confirmed(&format!("Erase {whole}? This cannot be undone."))? {
            bail!("nothing was erased");
        }
        println!("{}", erasing.run(|_| {}).await?);
        Ok(())
    }
}
