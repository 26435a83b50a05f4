//! `message-store timers`: lists and cancels timers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use message_store::store::{TimerChange, TimerChanged, TimerKey, TimerQuery};
use message_store::{Category, StreamName};
use serde_json::json;

use crate::confirm::is_confirmed;
use crate::exit::Exit;
use crate::open::StoreUrl;
use crate::output::{Format, Rows, line, remark};

#[derive(Debug, clap::Args)]
pub(crate) struct Timers {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the timers that wait, by the times at which they are due
    List {
        #[command(flatten)]
        store: StoreUrl,
        /// Only those whose keys have streams of this category
        #[arg(long)]
        category: Option<String>,
        /// Only those that are due within so many seconds
        #[arg(long, value_name = "SECONDS")]
        due_within: Option<u64>,
        /// The greatest number of timers
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Cancel a timer, so that its message is never written
    Cancel {
        #[command(flatten)]
        store: StoreUrl,
        /// The stream of its key, such as fundsTransfer-7
        stream: String,
        /// The name of its key
        name: String,
        /// Show the timer, and cancel nothing
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl Timers {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        match self.action {
            Action::List { store, category, due_within, limit } => {
                let mut query = TimerQuery::new().limit(limit);
                query.category = category.map(Category::new).transpose()?;
                query.due_within = due_within.map(Duration::from_secs);
                let store = store.open().await?;
                let found = store.timers().context("this store has no timers")?.list(query).await?;
                let mut rows = Rows::new(format, ["stream", "name", "due", "due in seconds", "to", "type", "message"])?;
                for timer in &found {
                    rows.add([
                        json!(timer.key.stream.as_str()),
                        json!(timer.key.name),
                        json!(timer.due.to_string()),
                        json!(timer.due_in.as_secs()),
                        json!(timer.to.as_str()),
                        json!(timer.message.message_type),
                        json!(timer.id().to_string()),
                    ])?;
                }
                rows.print()?;
                if found.len() == limit {
                    remark(format_args!("(the first {limit}; --limit shows more)"));
                }
                Ok(())
            }
            Action::Cancel { store, stream, name, dry_run, yes } => {
                let key = TimerKey::new(StreamName::new(stream)?, name);
                cancel(&store, key, dry_run, yes).await
            }
        }
    }
}

async fn cancel(store: &StoreUrl, key: TimerKey, dry_run: bool, yes: bool) -> Result<()> {
    let store = store.open().await?;
    let timers = store.timers().context("this store has no timers")?;
    let which = format!("the timer {:?} of {}", key.name, key.stream);
    if dry_run || !yes {
        let mut query = TimerQuery::new().of_category(key.stream.category());
        let timer = loop {
            let page = timers.list(query.clone()).await?;
            if let Some(timer) = page.iter().find(|timer| timer.key == key) {
                break timer.clone();
            }
            let Some(last) = page.last() else {
                return Err(
                    Exit::NotFound.because(format!("{which} does not wait: it was fired, cancelled or never set"))
                );
            };
            query = query.after(last);
        };
        line(format_args!("{which}: {} to {}, due {}", timer.message.message_type, timer.to, timer.due))?;
        if dry_run {
            return line("(nothing was cancelled)");
        }
        if !is_confirmed("Is it to be cancelled?")? {
            return Err(Exit::NotConfirmed.because("nothing was cancelled"));
        }
    }
    match timers.change(vec![TimerChange::Cancel { key }]).await?.as_slice() {
        [TimerChanged::Cancelled] => line(format_args!("{which} is cancelled")),
        _ => Err(Exit::NotFound.because(format!("{which} does not wait: it was fired, cancelled or never set"))),
    }
}
