//! The messages that the benchmarks write: events of about 250 bytes, like those of a component.

use message_store::{Append, Json, NewMessage, Result, StreamName};
use uuid::Uuid;

pub const TYPE: &str = "Deposited";

pub fn data(number: usize) -> String {
    data_of(Uuid::new_v4(), number)
}

pub fn data_of(deposit: Uuid, number: usize) -> String {
    format!(
        r#"{{"depositId":"{deposit}","accountId":"{number}","amount":"7.50","time":"2026-01-01T00:00:00.000Z","processedTime":"2026-01-01T00:00:00.001Z"}}"#
    )
}

pub fn metadata(number: usize) -> String {
    format!(
        r#"{{"causationMessageStreamName":"account:command-{number}","causationMessagePosition":{number},"causationMessageGlobalPosition":{number},"correlationStreamName":"transfer-{number}"}}"#
    )
}

pub fn message(number: usize) -> Result<NewMessage> {
    Ok(NewMessage::new(TYPE, Json::parse(data(number))?).with_metadata_json(Json::parse(metadata(number))?))
}

/// The stream of a writer. The writers are spread over `categories` categories.
pub fn stream(writer: usize, categories: usize) -> String {
    format!("account{}-{writer}", writer % categories)
}

pub fn append(writer: usize, categories: usize, number: usize) -> Result<Append> {
    Ok(Append::to(StreamName::new(stream(writer, categories))?).message(message(number)?))
}
