//! `message-store archive`: moves old messages of a category to the archive.

use anyhow::{Result, bail};
use message_store::Timestamp;
use message_store::operations::Archiving;
use serde_json::json;

use crate::confirm::Confirm;
use crate::open::StoreUrl;
use crate::output::{done, line};

#[derive(Debug, clap::Args)]
pub(crate) struct Archive {
    #[command(flatten)]
    store: StoreUrl,
    /// The category, such as account:command
    category: String,
    /// Only messages that were written before this time, such as 2026-01-01T00:00:00Z
    #[arg(long)]
    before: Timestamp,
    /// A consumer or a read model that no longer exists, or reads another category. A consumer is named by the stream of its position, such as
    /// account:command+position
    #[arg(long, value_name = "NAME")]
    leave_out: Vec<String>,
    /// The number of messages at which one transaction looks
    #[arg(long, default_value_t = 1000)]
    part: u32,
    #[command(flatten)]
    confirm: Confirm,
}

impl Archive {
    pub(crate) async fn run(self) -> Result<()> {
        let store = self.store.open().await?;
        let mut archiving = Archiving::of(&store, &self.category, self.before)?.part(self.part);
        for name in &self.leave_out {
            archiving = archiving.leave_out(name);
        }
        let plan = archiving.plan().await?;
        if let Some(unfinished) = &plan.unfinished {
            line(format_args!(
                "{unfinished}; begun at {} and not ended: it is carried out first",
                unfinished.begun_at
            ))?;
        }
        let whole = format!("the messages of {} up to {}, except the last of each stream", plan.category, plan.through);
        for behind in &plan.behind {
            line(format_args!("not handled yet: {behind}"))?;
        }
        if !self.confirm.is_dry_run() && !plan.behind.is_empty() && plan.unfinished.is_none() {
            bail!("not all messages of {} up to {} are handled, so nothing was moved", plan.category, plan.through);
        }
        line(&whole)?;
        if !self.confirm.goes_on("Move them to the archive?", "moved")? {
            return Ok(());
        }
        let moved = archiving.run(|_| {}).await?;
        done(format_args!("{moved} messages were moved to the archive"), [("moved", json!(moved))])
    }
}
