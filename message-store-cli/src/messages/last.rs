//! `message-store last`: shows the last message of a stream.

use anyhow::Result;
use message_store::StreamName;

use super::rows::print_one;
use crate::exit::Exit;
use crate::open::StoreUrl;
use crate::output::Format;

#[derive(Debug, clap::Args)]
pub(crate) struct Last {
    #[command(flatten)]
    store: StoreUrl,
    /// The stream, such as account-123
    stream: String,
    /// The last message of this type
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
}

impl Last {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let stream = StreamName::new(self.stream)?;
        let found = self.store.open().await?.last_message(&stream, self.message_type.as_deref()).await?;
        match (found, self.message_type) {
            (Some(message), _) => print_one(format, &message),
            (None, None) => Err(Exit::NotFound.because(format!("the stream {stream} has no messages"))),
            (None, Some(name)) => Err(Exit::NotFound.because(format!("the stream {stream} has no {name}"))),
        }
    }
}
