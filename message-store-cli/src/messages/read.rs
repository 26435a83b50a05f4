//! `message-store read`: lists the messages of a stream, of a category or of the store.

use anyhow::{Result, bail};
use message_store::{Batch, Category, Filter, GlobalPosition, MessageStore, Position, StreamName, StreamRead};

use super::rows::MessageRows;
use crate::open::StoreUrl;
use crate::output::{Format, remark};

#[derive(Debug, clap::Args)]
pub(crate) struct Read {
    #[command(flatten)]
    store: StoreUrl,
    /// A stream, such as account-123, or a category, such as account. If none is given: all messages
    source: Option<String>,
    /// The first position: in a stream, its own position; otherwise a global position
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    from: Option<i64>,
    /// The greatest number of messages
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// From the last message to lower positions. A stream only
    #[arg(long)]
    backwards: bool,
    /// Only messages of this type. Can be given more than once
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
}

impl Read {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        let mut rows = MessageRows::new(format)?;
        let next = match self.source.as_deref() {
            Some(stream) if stream.contains('-') => self.stream(&*store, &StreamName::new(stream)?, &mut rows).await?,
            _ if self.backwards => bail!("only a stream is read backwards"),
            Some(category) => self.others(&*store, Some(&Category::new(category)?), &mut rows).await?,
            None => self.others(&*store, None, &mut rows).await?,
        };
        rows.print()?;
        if let Some(next) = next {
            remark(format!("(there may be more: --from {next})"));
        }
        Ok(())
    }

    /// Reads a stream. Returns where the next read begins, if the limit has ended this one.
    async fn stream(
        &self,
        store: &dyn MessageStore,
        stream: &StreamName,
        rows: &mut MessageRows,
    ) -> Result<Option<i64>> {
        let mut read = if self.backwards { StreamRead::backwards() } else { StreamRead::default() };
        read.from = self.from.map(Position::new).or(read.from);
        let mut left = self.limit;
        while left > 0 {
            let batch = store.read_stream_batch(stream, read.clone().limit(left)).await?;
            let Some(last) = batch.messages.last().map(|message| message.position.get()) else { return Ok(None) };
            for message in &batch.messages {
                if self.types.is_empty() || self.types.contains(&message.message_type) {
                    rows.add(message)?;
                    left -= 1;
                }
            }
            if batch.is_end || self.backwards && last == 0 {
                return Ok(None);
            }
            read.from = Some(Position::new(if self.backwards { last - 1 } else { last + 1 }));
        }
        Ok(read.from.map(Position::get))
    }

    /// Reads a category, or all messages.
    async fn others(
        &self,
        store: &dyn MessageStore,
        category: Option<&Category>,
        rows: &mut MessageRows,
    ) -> Result<Option<i64>> {
        let mut from = GlobalPosition::new(self.from.unwrap_or(1).max(1));
        let mut left = self.limit;
        while left > 0 {
            let filter = Filter::default().message_types(self.types.clone());
            let read = message_store::Read::from(from).limit(left).filter(filter);
            let Batch { messages, looked_through, .. } = match category {
                Some(category) => store.read_category(category, read).await?,
                None => store.read_all(read).await?,
            };
            for message in &messages {
                rows.add(message)?;
            }
            left -= messages.len();
            if looked_through < from {
                return Ok(None);
            }
            from = looked_through.next();
        }
        Ok(Some(from.get()))
    }
}
