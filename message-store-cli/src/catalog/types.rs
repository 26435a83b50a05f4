//! `message-store types`: lists the message types of a category or of the store.

use std::collections::BTreeMap;

use anyhow::Result;
use message_store::{Category, GlobalPosition, Timestamp};
use serde_json::json;

use super::look::Look;
use crate::output::{Format, Rows};

#[derive(Debug, clap::Args)]
pub(crate) struct Types {
    #[command(flatten)]
    look: Look,
}

/// The messages of one type.
struct Found {
    messages: u64,
    last: GlobalPosition,
    time: Timestamp,
}

impl Types {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let mut types: BTreeMap<(Category, String), Found> = BTreeMap::new();
        let see = |message: message_store::Message| {
            let (last, time) = (message.global_position, message.time);
            let of_type = types.entry((message.stream.category(), message.message_type));
            let found = of_type.or_insert(Found { messages: 0, last, time });
            *found = Found { messages: found.messages + 1, last, time };
        };
        let looked = self.look.through(see).await?;
        let mut rows = Rows::new(format, ["category", "type", "messages", "last global position", "last time"])?;
        for ((category, message_type), found) in types {
            rows.add([
                json!(category.as_str()),
                json!(message_type),
                json!(found.messages),
                json!(found.last.get()),
                json!(found.time.to_string()),
            ])?;
        }
        rows.print()?;
        looked.say();
        Ok(())
    }
}
