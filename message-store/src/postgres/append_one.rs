//! The statement that appends a single message, in less time than that of a batch.

use super::append::{InBatch, Jsonb, Sent, known_position, written};
use super::prepared::Prepared;
use crate::{Append, Appended, NewMessage, Position, Result, StreamName};

pub(super) const APPEND_ONE: &str = include_str!("sql/append_one.sql");

/// The message of a batch that is one append of one message, without a condition.
pub(super) fn only_message<'a>(batch: impl IntoIterator<Item = InBatch<'a>>) -> Option<(&'a Append, &'a NewMessage)> {
    let mut batch = batch.into_iter();
    match (batch.next(), batch.next()) {
        (Some(([append], None)), None) if let [message] = &append.messages[..] => Some((append, message)),
        _ => None,
    }
}

/// Writes the message. `None`, and nothing was written, if the stream has another version than expected, or the id is
/// taken: the statement of a batch finds out which.
pub(super) async fn send_one(
    client: &tokio_postgres::Client,
    statement: &Prepared,
    Append { stream, expected, .. }: &Append,
    message: &NewMessage,
    known: impl Fn(&StreamName) -> Option<Position>,
) -> Result<Option<Sent>, tokio_postgres::Error> {
    let (data, metadata) = (message.data.as_str().map(Jsonb), message.metadata.as_str().map(Jsonb));
    let (name, id, message_type) = (stream.as_str(), message.id.as_uuid(), &message.message_type);
    let (known, expected) = (known_position(stream, *expected, known), expected.number());
    let row = statement.query_one(client, &[&name, &known, &expected, &id, message_type, &data, &metadata]).await?;
    let result: Option<Vec<i64>> = row.try_get(0)?;
    let Some([position, global_position, has_waited]) = result.as_deref() else { return Ok(None) };
    let appended = Appended { written: vec![written((*position, *global_position))], already_written: false };
    Ok(Some(Sent { results: vec![Some(Ok(appended))], locked: None, has_waited: *has_waited != 0 }))
}
