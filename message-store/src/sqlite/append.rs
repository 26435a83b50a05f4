//! Appends, as parts of transactions. Each is checked before its first row is written.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use rusqlite::Transaction;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::failure::Failed;
use super::{matches, read};
use crate::metadata::{OWN_KEY, is_erased};
use crate::store::{Condition, Stored, written_before};
use crate::{
    Append, Appended, Error, GlobalPosition, Json, MessageId, NewMessage, Place, Position, Result, StreamName,
};

/// Appends, and their condition.
pub(super) type Conditional = (Vec<Append>, Option<Condition>);

pub(super) fn append(transaction: &Transaction<'_>, (appends, condition): &Conditional) -> Result<Appended, Failed> {
    let stored = stored(transaction, appends)?;
    if !stored.is_empty()
        && let Some(written) = written_before(appends, &stored)?
    {
        return Ok(Appended { written, already_written: true });
    }
    let mut firsts = Vec::with_capacity(appends.len());
    for Append { stream, expected, .. } in appends {
        let actual = read::version(transaction, stream)?;
        if !expected.allows(actual) {
            let (stream, expected) = (stream.clone(), *expected);
            return Err(Error::WrongExpectedVersion { stream, expected, actual }.into());
        }
        firsts.push(actual.next());
    }
    // The transaction contains the appends before this one.
    if let (Some(condition), Some(first)) = (condition, appends.first())
        && let Some(found) = matches::first_match(transaction, condition)?
    {
        return Err(Error::ConditionFailed { stream: first.stream.clone(), found: found.reference() }.into());
    }
    let now = Timestamp::now().as_microsecond();
    let mut written = Vec::new();
    for (append, mut position) in appends.iter().zip(firsts) {
        for message in &append.messages {
            let global_position = insert(transaction, &append.stream, message, position, now)?;
            written.push(Place { position, global_position });
            position = position.next();
        }
    }
    Ok(Appended { written, already_written: false })
}

/// The stored messages with ids of an append.
fn stored(transaction: &Transaction<'_>, appends: &[Append]) -> Result<HashMap<MessageId, Stored>, Failed> {
    let mut found = HashMap::new();
    let sql = include_str!("sql/stored.sql");
    let mut statement = transaction.prepare_cached(sql)?;
    for id in appends.iter().flat_map(|append| &append.messages).map(|message| message.id) {
        let mut rows = statement.query([id.as_uuid().as_bytes()])?;
        if let Some(row) = rows.next()? {
            let data = Json::from_database(row.get(2)?);
            let written =
                Place { position: Position::new(row.get(3)?), global_position: GlobalPosition::new(row.get(4)?) };
            let is_erased = is_erased(&data, &Json::from_database(row.get(5)?));
            found.insert(id, Stored { stream: row.get(0)?, message_type: row.get(1)?, data, written, is_erased });
        }
    }
    Ok(found)
}

fn insert(
    transaction: &Transaction<'_>,
    stream: &StreamName,
    message: &NewMessage,
    position: Position,
    now: i64,
) -> rusqlite::Result<GlobalPosition> {
    let mut statement = transaction.prepare_cached(include_str!("sql/insert.sql"))?;
    let id: Uuid = message.id.as_uuid();
    statement.execute((
        position.get(),
        now,
        stream.as_str(),
        stream.category_str(),
        &message.message_type,
        message.data.as_str(),
        with_plain_keys(&message.metadata).as_deref(),
        id.as_bytes(),
    ))?;
    Ok(GlobalPosition::new(transaction.last_insert_rowid()))
}

/// The metadata, with keys that have no escapes: the indexes of tags and correlations find them by their texts.
fn with_plain_keys(metadata: &Json) -> Option<Cow<'_, str>> {
    type Fields = BTreeMap<String, Box<RawValue>>;
    let text = metadata.as_str()?;
    let plain = || {
        let mut fields: Fields = serde_json::from_str(text).ok()?;
        if let Some(own) = fields.get_mut(OWN_KEY)
            && let Ok(of_toolkit) = serde_json::from_str::<Fields>(own.get())
        {
            *own = to_raw_value(&of_toolkit).ok()?;
        }
        serde_json::to_string(&fields).ok()
    };
    let plain = if text.contains('\\') { plain() } else { None };
    Some(plain.map_or(Cow::Borrowed(text), Cow::Owned))
}
