//! `message-store tail`: prints messages as they are written.

use std::pin::pin;

use anyhow::Result;
use futures_util::TryStreamExt as _;
use message_store::store::Subscription;
use message_store::{Category, Filter, GlobalPosition, StreamName};

use super::rows::MessageRows;
use crate::open::StoreUrl;
use crate::output::{Format, line, without_control};

#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    store: StoreUrl,
    /// A stream, such as account-123, or a category, such as account. If none is given: all messages
    source: Option<String>,
    /// Begin after this global position. Default: at the end
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    after: Option<i64>,
    /// Only messages of this type. Can be given more than once
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// End after so many messages
    #[arg(long)]
    limit: Option<usize>,
}

impl Tail {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let store = self.store.open().await?;
        let stream = self.source.as_deref().filter(|source| source.contains('-')).map(StreamName::new).transpose()?;
        let category = match (&stream, self.source) {
            (Some(stream), _) => Some(stream.category()),
            (None, source) => source.map(Category::new).transpose()?,
        };
        let subscription = match &category {
            Some(category) => Subscription::to(&store, category),
            None => Subscription::to_all(&store),
        };
        let after = match self.after {
            Some(position) => GlobalPosition::new(position),
            None => store.given_out(category.as_ref()).await?,
        };
        let subscription = subscription.after(after).filter(Filter::default().message_types(self.types));
        let mut messages = pin!(subscription.messages());
        // A table would wait for its last row.
        let mut rows =
            if format == Format::Csv { MessageRows::new(format)? } else { MessageRows::new(Format::Ndjson)? };
        let mut left = self.limit.unwrap_or(usize::MAX);
        while left > 0
            && let Some(message) = messages.try_next().await?
        {
            if stream.as_ref().is_some_and(|stream| *stream != message.stream) {
                continue;
            }
            left -= 1;
            if format == Format::Table {
                let data = message.data.as_str().unwrap_or("null");
                line(format_args!(
                    "{} {} {} {} {}",
                    message.global_position,
                    message.time,
                    without_control(message.stream.as_str()),
                    without_control(&message.message_type),
                    without_control(data)
                ))?;
            } else {
                rows.add(&message)?;
            }
        }
        Ok(())
    }
}
