//! Messages as output.

use anyhow::Result;
use message_store::{Json, Message};
use serde_json::json;

use crate::output::{Cell, Format, Rows, line, without_control};

/// The characters of data that a table shows.
const SHOWN: usize = 100;

/// Messages, one row each. A table shows the beginning of their data, the other forms all of their fields.
#[derive(Debug)]
pub(crate) enum MessageRows {
    Table(Rows<6>),
    Whole(Rows<8>),
}

impl MessageRows {
    pub(crate) fn new(format: Format) -> Result<Self> {
        Ok(if format == Format::Table {
            Self::Table(Rows::new(format, ["global position", "stream", "position", "type", "time", "data"])?)
        } else {
            let columns = ["id", "stream", "type", "position", "global position", "data", "metadata", "time"];
            Self::Whole(Rows::new(format, columns)?)
        })
    }

    pub(crate) fn add(&mut self, message: &Message) -> Result<()> {
        match self {
            Self::Table(rows) => rows.add([
                json!(message.global_position.get()),
                json!(message.stream.as_str()),
                json!(message.position.get()),
                json!(message.message_type),
                json!(message.time.to_string()),
                json!(beginning(&message.data)),
            ]),
            Self::Whole(rows) => rows.add([
                Cell::from(json!(message.id.to_string())),
                json!(message.stream.as_str()).into(),
                json!(message.message_type).into(),
                json!(message.position.get()).into(),
                json!(message.global_position.get()).into(),
                Cell::json(message.data.text()),
                Cell::json(message.metadata.text()),
                json!(message.time.to_string()).into(),
            ]),
        }
    }

    pub(crate) fn print(self) -> Result<()> {
        match self {
            Self::Table(rows) => rows.print(),
            Self::Whole(rows) => rows.print(),
        }
    }
}

/// One message, with all of its fields.
pub(crate) fn print_one(format: Format, message: &Message) -> Result<()> {
    if format != Format::Table {
        let mut rows = MessageRows::new(format)?;
        rows.add(message)?;
        return rows.print();
    }
    line(format_args!("id               {}", message.id))?;
    line(format_args!("stream           {}", without_control(message.stream.as_str())))?;
    line(format_args!("type             {}", without_control(&message.message_type)))?;
    line(format_args!("position         {}", message.position))?;
    line(format_args!("global position  {}", message.global_position))?;
    line(format_args!("time             {}", message.time))?;
    line(format_args!("data             {}", without_control(message.data.text())))?;
    line(format_args!("metadata         {}", without_control(message.metadata.text())))
}

/// The beginning of the data.
fn beginning(json: &Json) -> String {
    let text = json.as_str().unwrap_or_default();
    let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(end, _)| end);
    without_control(&text[..end]) + if end < text.len() { "…" } else { "" }
}
