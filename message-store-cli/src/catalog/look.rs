//! A look through the messages of a category or of the store, up to a number of them.

use std::io::IsTerminal as _;

use anyhow::Result;
use message_store::operations::Search;
use message_store::{Category, GlobalPosition, Message};

use crate::open::StoreUrl;
use crate::output::remark;
use crate::when::{When, when};

/// The number of messages of one read.
const PART: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct Look {
    #[command(flatten)]
    store: StoreUrl,
    /// The category, such as account. If none is given: all
    category: Option<String>,
    /// Begin at messages of this time: 2026-11-29T08:00:00Z, or 90s, 10m, 2h or 7d ago
    #[arg(long, value_parser = when, value_name = "TIME")]
    since: Option<When>,
    /// Go on after this global position
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    after: i64,
    /// The number of messages, about, at which the command looks before it ends
    #[arg(id = "look_at", long = "look-at", value_name = "MESSAGES", default_value_t = 100_000)]
    limit: usize,
    /// Look at all messages, however many there are
    #[arg(long, conflicts_with = "look_at")]
    all: bool,
}

impl Look {
    /// Shows each message to `see`, in the order of their global positions. Says how far it has looked.
    pub(super) async fn through(&self, mut see: impl FnMut(Message)) -> Result<Looked> {
        let store = self.store.open().await?;
        let mut search = Search::of(&store).after(GlobalPosition::new(self.after)).look_at(PART);
        if let Some(category) = &self.category {
            search = search.category(Category::new(category)?);
        }
        if let Some(since) = self.since {
            search = search.since(since.by_the_clock_of(&*store).await?);
        }
        let shows_progress = std::io::stderr().is_terminal();
        let mut left = if self.all { usize::MAX } else { self.limit };
        loop {
            let page = search.page(left.min(PART)).await?;
            left = left.saturating_sub(page.messages.len());
            page.messages.into_iter().for_each(&mut see);
            if page.is_end || left == 0 {
                return Ok(Looked { through: page.looked_through, end: page.end, is_end: page.is_end });
            }
            if shows_progress {
                remark(format_args!("looked through global position {} of {}", page.looked_through, page.end));
            }
            search = search.after(page.looked_through);
        }
    }
}

/// How far a command has looked.
#[derive(Debug)]
pub(super) struct Looked {
    through: GlobalPosition,
    end: GlobalPosition,
    is_end: bool,
}

impl Looked {
    pub(super) fn say(&self) {
        if self.is_end {
            remark(format_args!("(looked through all, to global position {})", self.end));
        } else {
            let through = self.through;
            remark(format_args!(
                "(looked through global position {through} of {}; go on with --after {through}, or look at --all)",
                self.end
            ));
        }
    }
}
