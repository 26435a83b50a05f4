//! `message-store streams`: lists the streams of a category or of the store.

use std::collections::HashMap;

use anyhow::Result;
use message_store::{Message, StreamName};
use serde_json::json;

use super::look::Look;
use crate::output::{Format, Rows};

#[derive(Debug, clap::Args)]
pub(crate) struct Streams {
    #[command(flatten)]
    look: Look,
    /// The greatest number of streams: those with the latest messages
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

impl Streams {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let mut last: HashMap<StreamName, Message> = HashMap::new();
        let see = |mut message: Message| {
            message.data = message_store::Json::NULL;
            message.metadata = message_store::Json::NULL;
            last.insert(message.stream.clone(), message);
        };
        let looked = self.look.through(see).await?;
        let mut last: Vec<Message> = last.into_values().collect();
        last.sort_unstable_by_key(|message| std::cmp::Reverse(message.global_position));
        last.truncate(self.limit);
        let mut rows =
            Rows::new(format, ["stream", "last position", "last type", "last global position", "last time"])?;
        for message in last {
            rows.add([
                json!(message.stream.as_str()),
                json!(message.position.get()),
                json!(message.message_type),
                json!(message.global_position.get()),
                json!(message.time.to_string()),
            ])?;
        }
        rows.print()?;
        looked.say();
        Ok(())
    }
}
