//! `message-store transfer`: copies categories to another store.

use std::io::IsTerminal as _;

use anyhow::Result;
use message_store::operations::Transfer as Copying;
use message_store::{Category, Read};
use serde_json::json;

use crate::confirm::is_confirmed;
use crate::exit::Exit;
use crate::open::{StoreUrl, open};
use crate::output::{Format, Rows, remark};

#[derive(Debug, clap::Args)]
pub(crate) struct Transfer {
    #[command(flatten)]
    from: StoreUrl,
    /// The store to which the messages are copied. It must be there
    #[arg(long, value_name = "URL")]
    to: String,
    /// The categories, in this order: those of entities and of their reservations first, then dead letters, then commands
    #[arg(required = true)]
    categories: Vec<String>,
    /// Show how many messages there are, and copy nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask, and do not count
    #[arg(long)]
    yes: bool,
}

impl Transfer {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let (from, to) = (self.from.open().await?, open(&self.to).await?);
        let categories: Vec<Category> = self.categories.into_iter().map(Category::new).collect::<Result<_, _>>()?;
        if !self.yes {
            let mut rows = Rows::new(if self.dry_run { format } else { Format::Table }, ["category", "messages"])?;
            for category in &categories {
                let backlog = from.backlog(category, Read::default().from.previous()).await?;
                rows.add([json!(category.as_str()), json!(backlog.messages)])?;
            }
            rows.print()?;
            let question = format!("Copy them from {} to {}?", from.describe(), to.describe());
            if self.dry_run {
                remark("(nothing was copied)");
                return Ok(());
            }
            if !is_confirmed(&question)? {
                return Err(Exit::NotConfirmed.because("nothing was copied"));
            }
        }
        let shows_progress = std::io::stderr().is_terminal();
        let columns = ["category", "messages", "written", "verified", "timers", "through"];
        let mut rows = Rows::new(format, columns)?;
        let mut transfer = Copying::new(&from, &to);
        for category in &categories {
            let progress = |progress: &message_store::operations::Copied| {
                if shows_progress {
                    remark(progress);
                }
            };
            let copied = transfer.copy(category, progress).await?;
            rows.add([
                json!(category.as_str()),
                json!(copied.messages),
                json!(copied.written),
                json!(copied.verified),
                json!(copied.timers),
                json!(copied.through.get()),
            ])?;
        }
        rows.print()
    }
}
