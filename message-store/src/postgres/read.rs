//! Reading, past nothing that is still being written.
//!
//! Problem: positions are drawn before commit, so that a higher one can be visible while a lower one is not yet.
//!
//! For a category: its writers draw positions under the category's lock, and hold it until they have committed. So its commits come in the
//! order of its positions, and every snapshot of the database holds a beginning of the category, without gaps but those that stay. A
//! reader needs nothing for that: it holds for any SELECT, under every isolation level, on a standby, in a dump.
//!
//! For all messages there is no such order, and a reader asks for the horizon first: the argument stands in `functions/append.sql`. It holds on
//! the primary, and for statements that begin after the horizon was taken.

use deadpool_postgres::Object;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::failure::backend;
use super::get;
use crate::{
    Batch, Category, Error, Filter, GlobalPosition, Json, Limits, Message, MessageId, Position, Read, Result, StoreId,
    StreamName, StreamRead, Version,
};

const STREAM_FORWARDS: &str = include_str!("sql/read_stream_forwards.sql");
const STREAM_BACKWARDS: &str = include_str!("sql/read_stream_backwards.sql");
/// As it is, and filtered.
const CATEGORY: [&str; 2] = [include_str!("sql/read_category.sql"), include_str!("sql/read_category_filtered.sql")];
const ALL: [&str; 2] = [include_str!("sql/read_all.sql"), include_str!("sql/read_all_filtered.sql")];
const LAST: &str = include_str!("sql/last_message.sql");
pub(super) const VERSION: &str = "SELECT max(position) FROM message_store.messages WHERE stream_name = $1";
const HORIZON: &str = "SELECT message_store.horizon()";
const GIVEN_OUT: &str = "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM message_store.messages_global_position_seq";
const NOW: &str = "SELECT clock_timestamp()";
const STORE_ID: &str = "SELECT store_id FROM message_store.store_identity";

pub(super) async fn stream(
    client: &Object,
    stream: &StreamName,
    read: &StreamRead,
    limits: &Limits,
) -> Result<Vec<Message>> {
    let (sql, first) = if read.backwards { (STREAM_BACKWARDS, i64::MAX) } else { (STREAM_FORWARDS, 0) };
    let from = read.from.map_or(first, Position::get);
    let (rows, bytes) = (limits.rows(read.limit), limits.bytes());
    let rows = query(client, sql, &[&stream.as_str(), &from, &rows, &bytes]).await?;
    rows.iter().map(message_in).collect()
}

pub(super) async fn category(client: &Object, category: &Category, read: &Read, limits: &Limits) -> Result<Batch> {
    batch(client, CATEGORY, &category.as_str(), read, limits).await
}

/// In a statement of its own before the read: see `functions/append.sql` for why that is right.
pub(super) async fn all(client: &Object, place: &str, read: &Read, limits: &Limits) -> Result<Batch> {
    let statement = client.prepare_cached(HORIZON).await.map_err(backend("reading messages"))?;
    let row = client.query_one(&statement, &[]).await.map_err(|error| {
        if error.code() != Some(&SqlState::FEATURE_NOT_SUPPORTED) {
            return backend("reading messages")(error);
        }
        let what = "reading all messages on a standby, which does not know which positions are still being written; read them on the primary";
        Error::Unsupported { store: place.to_owned(), what: what.to_owned() }
    })?;
    batch(client, ALL, &get::<i64>(&row, 0)?, read, limits).await
}

async fn batch(
    client: &Object,
    [plain, filtered]: [&'static str; 2],
    scope: &(dyn ToSql + Sync),
    read: &Read,
    limits: &Limits,
) -> Result<Batch> {
    let filter = &read.filter;
    let (from, rows, bytes) = (read.from.get(), limits.rows(read.look_at()), limits.bytes());
    if *filter == Filter::default() {
        let rows = query(client, plain, &[scope, &from, &rows, &bytes]).await?;
        let messages: Vec<Message> = rows.iter().map(message_in).collect::<Result<_>>()?;
        let last = messages.last().map(|message| message.global_position);
        return Ok(Batch::of(messages, last, read));
    }
    let correlation = filter.correlation.as_ref().map(Category::as_str);
    let member = filter.member.map(|member| i64::from(member.number()));
    let size = filter.member.map(|member| i64::from(member.size()));
    let types = (!filter.message_types.is_empty()).then_some(&filter.message_types);
    let rows = query(client, filtered, &[scope, &from, &rows, &bytes, &correlation, &member, &size, &types]).await?;

    let last = rows.last().map(|row| get(row, 4)).transpose()?.map(GlobalPosition::new);
    let mut passing = Vec::with_capacity(rows.len());
    for row in &rows {
        if get(row, 8)? {
            passing.push(message_in(row)?);
        }
    }
    Ok(Batch::of(passing, last, read))
}

pub(super) async fn last(client: &Object, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
    let rows = query(client, LAST, &[&stream.as_str(), &message_type]).await?;
    rows.first().map(message_in).transpose()
}

pub(super) async fn version(client: &Object, stream: &StreamName) -> Result<Version> {
    version_in(query(client, VERSION, &[&stream.as_str()]).await?.first())
}

/// A version as `VERSION` gives it.
pub(super) fn version_in(row: Option<&Row>) -> Result<Version> {
    let position: Option<i64> = row.map(|row| get(row, 0)).transpose()?.flatten();
    Ok(position.map_or(Version::NO_STREAM, |position| Version::at(Position::new(position))))
}

pub(super) async fn store_id(client: &Client) -> Result<StoreId> {
    let rows = client.query(STORE_ID, &[]).await.map_err(backend("reading the store's identity"))?;
    let missing = || Error::backend("reading the store's identity", false, "message_store.store_identity is empty");
    get::<Uuid>(rows.first().ok_or_else(missing)?, 0).map(StoreId::from_uuid)
}

pub(super) async fn given_out(client: &Object) -> Result<GlobalPosition> {
    let rows = query(client, GIVEN_OUT, &[]).await?;
    let position: Option<i64> = rows.first().map(|row| get(row, 0)).transpose()?;
    Ok(GlobalPosition::new(position.unwrap_or_default()))
}

pub(super) async fn now(client: &Object) -> Result<Timestamp> {
    let row = client.query_one(NOW, &[]).await.map_err(backend("reading the database's clock"))?;
    get(&row, 0)
}

async fn query(client: &Object, sql: &'static str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
    let statement = client.prepare_cached(sql).await.map_err(backend("reading messages"))?;
    client.query(&statement, parameters).await.map_err(backend("reading messages"))
}

pub(super) fn message_in(row: &Row) -> Result<Message> {
    let time: DateTime = get(row, 7)?;
    let time =
        time.to_zoned(TimeZone::UTC).map_err(|error| Error::backend("reading a message's time", false, error))?;
    Ok(Message {
        id: MessageId::from_uuid(get(row, 0)?),
        stream: StreamName::from_database(get(row, 1)?),
        message_type: get(row, 2)?,
        position: Position::new(get(row, 3)?),
        global_position: GlobalPosition::new(get(row, 4)?),
        data: Json::from_database(get(row, 5)?),
        metadata: Json::from_database(get(row, 6)?),
        time: time.timestamp(),
    })
}
