//! `message-store erase`: erases the data of a stream, of an entity, or of the messages with a tag.

use anyhow::{Result, bail};
use message_store::operations::Erasing;

use crate::confirm::is_confirmed;
use crate::open::StoreUrl;
use crate::output::line;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Erase {
    #[command(flatten)]
    store: StoreUrl,
    /// The stream, such as account-123, or the tag
    stream: String,
    /// Erase the entity: this stream, and all streams whose names begin with its name and `+`
    #[arg(long)]
    entity: bool,
    /// Erase the messages with this tag, of any stream
    #[arg(long, conflicts_with = "entity")]
    tag: bool,
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
        let (what, erasing) = if self.tag {
            ("the tag", Erasing::tag(&store, &self.stream)?)
        } else if self.entity {
            ("the entity", Erasing::entity(&store, &self.stream)?)
        } else {
            ("the stream", Erasing::stream(&store, &self.stream)?)
        };
        let count = erasing.count().await?;
        let whole = format!("the data of {count} messages of {what} {}", self.stream);
        if self.dry_run {
            line(format_args!("{whole} (nothing was erased)"))?;
            return Ok(());
        }
        if !self.yes && !is_confirmed(&format!("Erase {whole}? This cannot be undone."))? {
            bail!("nothing was erased");
        }
        line(format_args!("{}", erasing.run(|_| {}).await?))?;
        Ok(())
    }
}
