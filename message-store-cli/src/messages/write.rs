//! `message-store write`: appends one message.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use message_store::{Append, ExpectedVersion, Json, MessageId, NewMessage, Position, StreamName, Uuid};
use serde_json::json;

use crate::open::StoreUrl;
use crate::output::{Format, Rows};

/// The time in which a wake-up is sent.
const WAKE_UP: Duration = Duration::from_millis(20);

#[derive(Debug, clap::Args)]
pub(crate) struct Write {
    #[command(flatten)]
    store: StoreUrl,
    /// The stream, such as account-123
    stream: String,
    /// The message type, such as Deposited
    message_type: String,
    /// The data: JSON, @FILE, or - for standard input
    #[arg(long, default_value = "null", value_name = "JSON")]
    data: String,
    /// The metadata: JSON, or @FILE
    #[arg(long, default_value = "null", value_name = "JSON")]
    metadata: String,
    /// The id. The same id and content again writes nothing, and prints the first place
    #[arg(long)]
    id: Option<Uuid>,
    /// Fail if the stream has another version: the position of its last message, or `no-stream`
    #[arg(long, value_parser = version, value_name = "VERSION")]
    expected: Option<ExpectedVersion>,
}

fn version(text: &str) -> Result<ExpectedVersion, String> {
    match (text, text.parse::<i64>()) {
        ("no-stream", _) => Ok(ExpectedVersion::NoStream),
        (_, Ok(position @ 0..)) => Ok(ExpectedVersion::Exact(Position::new(position))),
        _ => Err("it must be the position of the stream's last message, from 0, or `no-stream`".to_owned()),
    }
}

/// JSON from an argument, a file or standard input.
fn json(argument: String) -> Result<Json> {
    let text = if argument == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else if let Some(path) = argument.strip_prefix('@') {
        std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?
    } else {
        argument
    };
    Ok(Json::parse(text)?)
}

impl Write {
    pub(crate) async fn run(self, format: Format) -> Result<()> {
        let mut message = NewMessage::new(self.message_type, json(self.data).context("the data")?);
        message = message.with_metadata_json(json(self.metadata).context("the metadata")?);
        if let Some(id) = self.id {
            message = message.with_id(MessageId::from_uuid(id));
        }
        let id = message.id;
        let mut append = Append::to(StreamName::new(self.stream)?).message(message);
        if let Some(expected) = self.expected {
            append = append.expecting(expected);
        }
        let stream = append.stream.to_string();
        let store = self.store.open().await?;
        let written = store.append(append.into()).await?;
        // The wake-up for other processes is sent beside, and would be lost with this one.
        tokio::time::sleep(WAKE_UP).await;
        let mut rows = Rows::new(format, ["id", "stream", "position", "global position", "already written"])?;
        for place in written.written {
            rows.add([
                json!(id.to_string()),
                json!(stream),
                json!(place.position.get()),
                json!(place.global_position.get()),
                json!(written.already_written),
            ])?;
        }
        rows.print()
    }
}
