//! `message-store erase`: erases the data of a stream, of an entity, or of the messages with a tag.

use anyhow::Result;
use message_store::operations::Erasing;
use serde_json::json;

use crate::confirm::Confirm;
use crate::open::StoreUrl;
use crate::output::{done, line};

#[derive(Debug, clap::Args)]
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
    #[command(flatten)]
    confirm: Confirm,
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
        if self.confirm.counts() {
            line(format_args!("the data of {} messages of {what} {}", erasing.count().await?, self.stream))?;
        }
        if !self.confirm.goes_on("Erase it? This cannot be undone.", "erased")? {
            return Ok(());
        }
        let erased = erasing.run(|_| {}).await?;
        done(&erased, [("erased", json!(erased.to_string()))])
    }
}
