//! `message-store stats`: counts the messages of each category.

use anyhow::Result;
use message_store::{Category, GlobalPosition, MessageStore, Read};
use serde_json::json;

use crate::open::StoreUrl;
use crate::output::{Format, Rows, remark};

/// The number of categories of one read.
const PAGE: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    store: StoreUrl,
    /// List the categories without counting their messages, which takes a while in a large store
    #[arg(long)]
    quick: bool,
}

impl Stats {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        let mut rows = Rows::new(format, ["category", "messages", "last global position", "last time"])?;
        let (mut after, mut categories, mut messages) = (None, 0, 0);
        loop {
            let page = store.categories(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for category in page {
                categories += 1;
                messages += self.add(&*store, &category, &mut rows).await?;
            }
        }
        rows.print()?;
        let end = store.given_out(None).await?;
        let counted = if self.quick { String::new() } else { format!("{messages} messages, ") };
        remark(format_args!("({}: {categories} categories, {counted}global position {end})", store.describe()));
        Ok(())
    }

    async fn add(&self, store: &dyn MessageStore, category: &Category, rows: &mut Rows<4>) -> Result<u64> {
        // A backlog is counted from its beginning. At the end there is nothing to count.
        let from = if self.quick { GlobalPosition::new(i64::MAX) } else { GlobalPosition::ZERO };
        let backlog = store.backlog(category, from).await?;
        let last = store.read_category(category, Read::from(backlog.end).limit(1)).await?.messages;
        rows.add([
            json!(category.as_str()),
            json!((!self.quick).then_some(backlog.messages)),
            json!(backlog.end.get()),
            json!(last.first().map(|message| message.time.to_string())),
        ])?;
        Ok(backlog.messages)
    }
}
