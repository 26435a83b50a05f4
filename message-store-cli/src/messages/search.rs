//! `message-store search`: finds messages, a page at a time.

use anyhow::Result;
use message_store::operations::Search as Finding;
use message_store::{Category, GlobalPosition, Tag};

use super::rows::MessageRows;
use crate::open::StoreUrl;
use crate::output::{Format, remark};
use crate::when::{When, when};

#[derive(Debug, clap::Args)]
pub(crate) struct Search {
    #[command(flatten)]
    store: StoreUrl,
    /// Only messages of this category, such as account
    #[arg(long)]
    category: Option<String>,
    /// Only messages of this entity: 7 for the stream account-7. Quick with a category
    #[arg(long, value_name = "ID")]
    entity: Option<String>,
    /// Only messages of this type. Can be given more than once
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only messages with this tag. Quick with a category. Can be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only messages of this time or later: 2026-11-29T08:00:00Z, or 90s, 10m, 2h or 7d ago
    #[arg(long, value_parser = when, value_name = "TIME")]
    since: Option<When>,
    /// Only messages before this time
    #[arg(long, value_parser = when, value_name = "TIME")]
    until: Option<When>,
    /// Only messages whose data or metadata contain this text. Upper and lower case differ
    #[arg(long)]
    text: Option<String>,
    /// Go on after this global position
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    after: i64,
    /// The greatest number of messages
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// The number of messages, about, at which the search looks before it ends
    #[arg(long, default_value_t = 20_000)]
    look_at: usize,
}

impl Search {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        let mut search =
            Finding::of(&store).types(self.types).look_at(self.look_at).after(GlobalPosition::new(self.after));
        if let Some(category) = self.category {
            search = search.category(Category::new(category)?);
        }
        if let Some(entity) = self.entity {
            search = search.entity(entity);
        }
        for tag in self.tags {
            search = search.tag(Tag::new(tag)?);
        }
        if let Some(since) = self.since {
            search = search.since(since.by_the_clock_of(&*store).await?);
        }
        if let Some(until) = self.until {
            search = search.until(until.by_the_clock_of(&*store).await?);
        }
        if let Some(text) = self.text {
            search = search.text(text);
        }
        let page = search.page(self.limit).await?;
        let mut rows = MessageRows::new(format)?;
        for message in &page.messages {
            rows.add(message)?;
        }
        rows.print()?;
        if page.is_end {
            remark(format_args!("(looked through all, to global position {})", page.end));
        } else {
            let through = page.looked_through;
            remark(format_args!(
                "(looked through global position {through} of {}; go on with --after {through})",
                page.end
            ));
        }
        Ok(())
    }
}
