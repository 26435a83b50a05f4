//! Reads.

use std::sync::LazyLock;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use uuid::Uuid;

use crate::store::{Backlog, StreamBatch, is_correlated_with, lacks_archived};
use crate::{
    Batch, Category, GlobalPosition, Json, Limits, Message, MessageId, MessageRef, Position, Read, StoreId, StreamName,
    StreamRead, Version,
};

/// The statements of the table of messages alone, and of the view that has the archive too.
static STREAM_FORWARDS: LazyLock<[String; 2]> = LazyLock::new(|| both(include_str!("sql/read_stream_forwards.sql")));
static STREAM_BACKWARDS: LazyLock<[String; 2]> = LazyLock::new(|| both(include_str!("sql/read_stream_backwards.sql")));
static CATEGORY: LazyLock<[String; 2]> = LazyLock::new(|| both(include_str!("sql/read_category.sql")));
static ALL: LazyLock<[String; 2]> = LazyLock::new(|| both(include_str!("sql/read_all.sql")));
static CORRELATED: LazyLock<[String; 2]> = LazyLock::new(|| both(include_str!("sql/read_correlated.sql")));
const LAST: &str = include_str!("sql/last_message.sql");
const MESSAGE: &str = include_str!("sql/message.sql");
const VERSION: &str = include_str!("sql/version.sql");
const STORE_ID: &str = include_str!("sql/store_id.sql");
const GIVEN_OUT: &str = include_str!("sql/given_out.sql");
const CATEGORIES: &str = include_str!("sql/categories.sql");
const BACKLOG: &str = include_str!("sql/backlog.sql");

fn both(sql: &str) -> [String; 2] {
    ["messages", "all_messages"].map(|table| sql.replace("{messages}", table))
}

/// Reads the archive only if the table of messages lacks some of the stream, so that most streams do not pay for it.
pub(super) fn stream(
    connection: &Connection,
    stream: &StreamName,
    read: &StreamRead,
    limits: &Limits,
) -> rusqlite::Result<StreamBatch> {
    let (sql, first) = if read.backwards { (&*STREAM_BACKWARDS, i64::MAX) } else { (&*STREAM_FORWARDS, 0) };
    let (from, rows) = (read.from.map_or(first, Position::get), limits.rows(read.limit));
    let [of_table, of_both] = sql;
    let part = |sql| {
        let found = messages(connection, sql, (stream.as_str(), from, rows), limits)?;
        let bytes: usize = found.iter().map(|message| message.data.len() + message.metadata.len()).sum();
        let is_full = bytes >= limits.batch_bytes || found.len() as u64 >= rows.unsigned_abs();
        Ok(StreamBatch::new(found, !is_full))
    };
    let found = part(of_table)?;
    if lacks_archived(read, &found) { part(of_both) } else { Ok(found) }
}

pub(super) fn category(
    connection: &Connection,
    category: &Category,
    read: &Read,
    limits: &Limits,
) -> rusqlite::Result<Batch> {
    let rows = limits.rows(read.look_at());
    let sql = &CATEGORY[usize::from(read.with_archive)];
    Ok(batch(messages(connection, sql, (category.as_str(), read.from.get(), rows), limits)?, read))
}

/// There is one writer at a time, so positions become visible in order, and no horizon is needed.
pub(super) fn all(connection: &Connection, read: &Read, limits: &Limits) -> rusqlite::Result<Batch> {
    let sql = &ALL[usize::from(read.with_archive)];
    Ok(batch(messages(connection, sql, (read.from.get(), limits.rows(read.look_at())), limits)?, read))
}

/// The messages of all categories whose correlation is this stream.
pub(super) fn correlated(
    connection: &Connection,
    stream: &StreamName,
    read: &Read,
    limits: &Limits,
) -> rusqlite::Result<Batch> {
    let sql = &CORRELATED[usize::from(read.with_archive)];
    let mut found = messages(connection, sql, (stream.as_str(), read.from.get(), limits.rows(read.look_at())), limits)?;
    let last = found.last().map(|last| last.global_position);
    found.retain(|message| is_correlated_with(message, stream) && read.filter.passes(message));
    Ok(Batch::of(found, last, read))
}

fn batch(mut messages: Vec<Message>, read: &Read) -> Batch {
    let last = messages.last().map(|last| last.global_position);
    messages.retain(|message| read.filter.passes(message));
    Batch::of(messages, last, read)
}

pub(super) fn last(
    connection: &Connection,
    stream: &StreamName,
    message_type: Option<&str>,
) -> rusqlite::Result<Option<Message>> {
    one(connection, LAST, (stream.as_str(), message_type))
}

pub(super) fn message(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<Message>> {
    one(connection, MESSAGE, [id.as_uuid().as_bytes()])
}

pub(super) fn written_by(
    connection: &Connection,
    handler: &str,
    ids: &[MessageId],
) -> rusqlite::Result<Vec<MessageRef>> {
    // In Rust, because SQLite's own functions read some texts that are no JSON, and take the first of two equal keys.
    let mut written = Vec::new();
    for id in ids {
        written.extend(message(connection, *id)?.and_then(|found| found.place_if_written_by(handler)));
    }
    Ok(written)
}

pub(super) fn version(connection: &Connection, stream: &StreamName) -> rusqlite::Result<Version> {
    let position: Option<i64> = connection.prepare_cached(VERSION)?.query_row([stream.as_str()], |row| row.get(0))?;
    Ok(position.map_or(Version::NO_STREAM, |position| Version::at(Position::new(position))))
}

pub(super) fn store_id(connection: &Connection) -> rusqlite::Result<StoreId> {
    let bytes: [u8; 16] = connection.query_row(STORE_ID, [], |row| row.get(0))?;
    Ok(StoreId::from_uuid(Uuid::from_bytes(bytes)))
}

pub(super) fn given_out(connection: &Connection) -> rusqlite::Result<GlobalPosition> {
    Ok(GlobalPosition::new(connection.query_row(GIVEN_OUT, [], |row| row.get(0))?))
}

pub(super) fn backlog(
    connection: &Connection,
    category: &Category,
    after: GlobalPosition,
) -> rusqlite::Result<Backlog> {
    connection.prepare_cached(BACKLOG)?.query_row((category.as_str(), after.get()), |row| {
        let (messages, oldest, end): (i64, Option<i64>, Option<i64>) = row.try_into()?;
        let oldest = oldest.map(|time| time_in(1, time)).transpose()?;
        Ok(Backlog::new(messages.unsigned_abs(), oldest, GlobalPosition::new(end.unwrap_or_default())))
    })
}

pub(super) fn categories(
    connection: &Connection,
    after: Option<&Category>,
    limit: usize,
) -> rusqlite::Result<Vec<Category>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(CATEGORIES)?;
    let mut rows = statement.query((after.map_or("", Category::as_str), limit))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(StreamName::from_database(row.get_ref(0)?.as_str()?).category());
    }
    Ok(found)
}

fn one(connection: &Connection, sql: &str, parameters: impl Params) -> rusqlite::Result<Option<Message>> {
    connection.prepare_cached(sql)?.query_row(parameters, message_in).optional()
}

/// Decodes rows, until a batch has enough bytes.
pub(super) fn messages(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    limits: &Limits,
) -> rusqlite::Result<Vec<Message>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while bytes < limits.batch_bytes {
        let Some(row) = rows.next()? else { break };
        let message = message_in(row)?;
        bytes += message.data.len() + message.metadata.len();
        messages.push(message);
    }
    Ok(messages)
}

pub(super) fn message_in(row: &Row<'_>) -> rusqlite::Result<Message> {
    const TIME: usize = 7;
    Ok(Message {
        id: MessageId::from_uuid(Uuid::from_bytes(row.get(0)?)),
        stream: StreamName::from_database(row.get_ref(1)?.as_str()?),
        message_type: row.get(2)?,
        position: Position::new(row.get(3)?),
        global_position: GlobalPosition::new(row.get(4)?),
        data: Json::from_database(row.get(5)?),
        metadata: Json::from_database(row.get(6)?),
        time: time_in(TIME, row.get(TIME)?)?,
    })
}

pub(super) fn time_in(column: usize, microseconds: i64) -> rusqlite::Result<Timestamp> {
    let unreadable =
        |error: jiff::Error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into());
    Timestamp::from_microsecond(microseconds).map_err(unreadable)
}
