//! Reads.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use uuid::Uuid;

use super::failure::backend;
use crate::{
    Batch, Category, Error, GlobalPosition, Json, Limits, Message, MessageId, Position, Read, Result, StoreId,
    StreamName, StreamRead, Version,
};

const STREAM_FORWARDS: &str = include_str!("sql/read_stream_forwards.sql");
const STREAM_BACKWARDS: &str = include_str!("sql/read_stream_backwards.sql");
const CATEGORY: &str = include_str!("sql/read_category.sql");
const ALL: &str = include_str!("sql/read_all.sql");
const LAST: &str = include_str!("sql/last_message.sql");
const MESSAGE: &str = include_str!("sql/message.sql");
const VERSION: &str = include_str!("sql/version.sql");
const STORE_ID: &str = include_str!("sql/store_id.sql");
const GIVEN_OUT: &str = include_str!("sql/given_out.sql");

pub(super) fn stream(
    connection: &Connection,
    stream: &StreamName,
    read: &StreamRead,
    limits: &Limits,
) -> Result<Vec<Message>> {
    let (sql, first) = if read.backwards { (STREAM_BACKWARDS, i64::MAX) } else { (STREAM_FORWARDS, 0) };
    let from = read.from.map_or(first, Position::get);
    messages(connection, sql, (stream.as_str(), from, limits.rows(read.limit)), limits)
}

pub(super) fn category(connection: &Connection, category: &Category, read: &Read, limits: &Limits) -> Result<Batch> {
    let rows = limits.rows(read.look_at());
    Ok(batch(messages(connection, CATEGORY, (category.as_str(), read.from.get(), rows), limits)?, read))
}

/// There is one writer at a time, so positions become visible in order, and no horizon is needed.
pub(super) fn all(connection: &Connection, read: &Read, limits: &Limits) -> Result<Batch> {
    Ok(batch(messages(connection, ALL, (read.from.get(), limits.rows(read.look_at())), limits)?, read))
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
) -> Result<Option<Message>> {
    one(connection, LAST, (stream.as_str(), message_type))
}

pub(super) fn message(connection: &Connection, id: MessageId) -> Result<Option<Message>> {
    one(connection, MESSAGE, [id.as_uuid().as_bytes()])
}

pub(super) fn version(connection: &Connection, stream: &StreamName) -> Result<Version> {
    let mut statement = connection.prepare_cached(VERSION).map_err(backend("reading a stream's version"))?;
    let position: Option<i64> =
        statement.query_row([stream.as_str()], |row| row.get(0)).map_err(backend("reading a stream's version"))?;
    Ok(position.map_or(Version::NO_STREAM, |position| Version::at(Position::new(position))))
}

pub(super) fn store_id(connection: &Connection) -> Result<StoreId> {
    let bytes: [u8; 16] =
        connection.query_row(STORE_ID, [], |row| row.get(0)).map_err(backend("reading the store's identity"))?;
    Ok(StoreId::from_uuid(Uuid::from_bytes(bytes)))
}

pub(super) fn given_out(connection: &Connection) -> Result<GlobalPosition> {
    let position =
        connection.query_row(GIVEN_OUT, [], |row| row.get(0)).map_err(backend("reading the last position"))?;
    Ok(GlobalPosition::new(position))
}

fn one(connection: &Connection, sql: &str, parameters: impl Params) -> Result<Option<Message>> {
    let mut statement = connection.prepare_cached(sql).map_err(backend("reading a message"))?;
    let row = statement.query_row(parameters, |row| Ok(message_in(row))).optional();
    row.map_err(backend("reading a message"))?.transpose()
}

/// Decodes rows, until a batch has enough bytes.
fn messages(connection: &Connection, sql: &str, parameters: impl Params, limits: &Limits) -> Result<Vec<Message>> {
    let mut statement = connection.prepare_cached(sql).map_err(backend("reading messages"))?;
    let mut rows = statement.query(parameters).map_err(backend("reading messages"))?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while bytes < limits.batch_bytes {
        let Some(row) = rows.next().map_err(backend("reading messages"))? else { break };
        let message = message_in(row)?;
        bytes += message.data.len() + message.metadata.len();
        messages.push(message);
    }
    Ok(messages)
}

fn message_in(row: &Row<'_>) -> Result<Message> {
    let column = backend("reading a message's row");
    let time = Timestamp::from_microsecond(row.get(7).map_err(&column)?);
    Ok(Message {
        id: MessageId::from_uuid(Uuid::from_bytes(row.get(0).map_err(&column)?)),
        stream: StreamName::from_database(
            row.get_ref(1).map_err(&column)?.as_str().map_err(|error| column(error.into()))?,
        ),
        message_type: row.get(2).map_err(&column)?,
        position: Position::new(row.get(3).map_err(&column)?),
        global_position: GlobalPosition::new(row.get(4).map_err(&column)?),
        data: Json::from_database(row.get(5).map_err(&column)?),
        metadata: Json::from_database(row.get(6).map_err(&column)?),
        time: time.map_err(|error| Error::backend("reading a message's time", false, error))?,
    })
}
