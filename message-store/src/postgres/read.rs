//! Reads. A reader never passes a message that is still being written.
//!
//! Problem: a position is drawn before the commit, so a higher position can be visible while a lower one is not.
//!
//! For a category: its writers draw positions under the category's lock, and keep the lock until they have committed.
//! So its commits have the order of its positions, and every snapshot of the database contains all messages of the
//! category up to some position. This is true for any SELECT, under every isolation level, on a standby and in a dump.
//! A reader needs no lock.
//!
//! Commits of different categories have no such order. So a reader of all messages asks for the horizon first
//! (`functions/append.sql` has the argument). The horizon is right only on the primary, and for statements that begin
//! after it was read.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::connection::Connection;
use super::failure::backend;
use super::row::get;
use crate::{
    Batch, Category, Error, Filter, GlobalPosition, Json, Limits, Message, MessageId, Position, Read, Result, StoreId,
    StreamName, StreamRead, Version,
};

static STREAM_FORWARDS: LazyLock<String> = LazyLock::new(|| framed(include_str!("sql/scope_stream_forwards.sql")));
static STREAM_BACKWARDS: LazyLock<String> = LazyLock::new(|| framed(include_str!("sql/scope_stream_backwards.sql")));
/// The unfiltered and the filtered statement.
static CATEGORY: LazyLock<[String; 2]> = LazyLock::new(|| both(include_str!("sql/scope_category.sql")));
static ALL: LazyLock<[String; 2]> = LazyLock::new(|| both(include_str!("sql/scope_all.sql")));
const LAST: &str = include_str!("sql/last_message.sql");
pub(super) const VERSION: &str = include_str!("sql/version.sql");
const HORIZON: &str = include_str!("sql/horizon.sql");
const GIVEN_OUT: &str = include_str!("sql/given_out.sql");
const NOW: &str = include_str!("sql/now.sql");
const STORE_ID: &str = include_str!("sql/store_id.sql");

fn framed(scope: &str) -> String {
    include_str!("sql/read.sql").replace("{scope}", scope)
}

fn both(scope: &str) -> [String; 2] {
    [framed(scope), include_str!("sql/read_filtered.sql").replace("{scope}", scope)]
}

pub(super) async fn stream(
    client: &Connection,
    stream: &StreamName,
    read: &StreamRead,
    limits: &Limits,
) -> Result<Vec<Message>> {
    let (sql, first) = if read.backwards { (&*STREAM_BACKWARDS, i64::MAX) } else { (&*STREAM_FORWARDS, 0) };
    let next = |row: &Row| {
        let position: i64 = get(row, 3)?;
        Ok(if read.backwards { position - 1 } else { position + 1 })
    };
    let parts =
        Parts { sql, scope: &stream.as_str(), filter: &[], rows: limits.rows(read.limit), bytes: limits.bytes() };
    Ok(parts.read(client, read.from.map_or(first, Position::get), next).await?.0)
}

pub(super) async fn category(client: &Connection, category: &Category, read: &Read, limits: &Limits) -> Result<Batch> {
    batch(client, &CATEGORY, &category.as_str(), read, limits).await
}

/// The horizon is read in a separate statement before the messages: `functions/append.sql` has the reason.
pub(super) async fn all(client: &Connection, place: &str, read: &Read, limits: &Limits) -> Result<Batch> {
    let statement = client.prepare_cached(HORIZON).await.map_err(backend("reading messages"))?;
    let row = client.query_one(&statement, &[]).await.map_err(|error| {
        if error.code() != Some(&SqlState::FEATURE_NOT_SUPPORTED) {
            return backend("reading messages")(error);
        }
        let what = "reading all messages on a standby, which does not know which positions are still being written; read them on the primary";
        Error::Unsupported { store: place.to_owned(), what: what.to_owned() }
    })?;
    batch(client, &ALL, &get::<i64>(&row, 0)?, read, limits).await
}

async fn batch(
    client: &Connection,
    [plain, filtered]: &'static [String; 2],
    scope: &(dyn ToSql + Sync),
    read: &Read,
    limits: &Limits,
) -> Result<Batch> {
    let Filter { correlation, member, message_types } = &read.filter;
    let correlation = correlation.as_ref().map(Category::as_str);
    let (member, size) = (member.map(|it| i64::from(it.number())), member.map(|it| i64::from(it.size())));
    let types = (!message_types.is_empty()).then_some(message_types);
    let filter: &[&(dyn ToSql + Sync)] = &[&correlation, &member, &size, &types];
    let (sql, filter) = if read.filter.is_empty() { (plain, &[][..]) } else { (filtered, filter) };
    let parts = Parts { sql, scope, filter, rows: limits.rows(read.look_at()), bytes: limits.bytes() };
    let (messages, last) = parts.read(client, read.from.get(), |row| Ok(get::<i64>(row, 4)? + 1)).await?;
    Ok(Batch::of(messages, last, read))
}

pub(super) async fn last(
    client: &Connection,
    stream: &StreamName,
    message_type: Option<&str>,
) -> Result<Option<Message>> {
    let rows = query(client, LAST, &[&stream.as_str(), &message_type]).await?;
    Ok(messages_in(client, &rows)?.pop())
}

pub(super) async fn version(client: &Connection, stream: &StreamName) -> Result<Version> {
    version_in(query(client, VERSION, &[&stream.as_str()]).await?.first())
}

/// The version in the result of `VERSION`.
pub(super) fn version_in(row: Option<&Row>) -> Result<Version> {
    let position: Option<i64> = row.map(|row| get(row, 0)).transpose()?.flatten();
    Ok(position.map_or(Version::NO_STREAM, |position| Version::at(Position::new(position))))
}

pub(super) async fn store_id(client: &Client) -> Result<StoreId> {
    let rows = client.query(STORE_ID, &[]).await.map_err(backend("reading the store's identity"))?;
    let missing = || Error::backend("reading the store's identity", false, "message_store.store_identity is empty");
    get::<Uuid>(rows.first().ok_or_else(missing)?, 0).map(StoreId::from_uuid)
}

pub(super) async fn given_out(client: &Connection) -> Result<GlobalPosition> {
    let rows = query(client, GIVEN_OUT, &[]).await?;
    let position: Option<i64> = rows.first().map(|row| get(row, 0)).transpose()?;
    Ok(GlobalPosition::new(position.unwrap_or_default()))
}

pub(super) async fn now(client: &Connection) -> Result<Timestamp> {
    let row = client.query_one(NOW, &[]).await.map_err(backend("reading the database's clock"))?;
    get(&row, 0)
}

/// A read in several parts, which ends when the batch has enough bytes.
///
/// Problem: the server knows the exact bytes of a row only after it has read the whole row, and a thousand rows can
/// have a megabyte each. Fix: the statement limits the rows by weight, an upper bound of the bytes that the server
/// knows without reading the row (see `sql/read.sql`). This process counts the bytes that arrive, and reads another
/// part if there are fewer than allowed. Usually one part is enough, because the weight of an uncompressed row is its
/// size.
struct Parts<'a> {
    sql: &'static str,
    scope: &'a (dyn ToSql + Sync),
    filter: &'a [&'a (dyn ToSql + Sync)],
    rows: i64,
    bytes: i64,
}

impl Parts<'_> {
    /// Returns the messages, and the global position of the last message that was looked at.
    async fn read(
        self,
        client: &Connection,
        mut from: i64,
        next: impl Fn(&Row) -> Result<i64>,
    ) -> Result<(Vec<Message>, Option<GlobalPosition>)> {
        let Self { sql, scope, filter, mut rows, bytes } = self;
        let most = usize::try_from(rows).unwrap_or(usize::MAX);
        let (mut messages, mut last, mut left, mut allowance) = (Vec::new(), None, bytes, bytes.max(1));
        loop {
            let place: [&(dyn ToSql + Sync); 4] = [scope, &from, &rows, &allowance];
            let part = query(client, sql, &[&place[..], filter].concat()).await?;
            let Some(end) = part.last() else { break };
            let before = left;
            for row in &part {
                if filter.is_empty() || get(row, 9)? {
                    let message = message_in(row)?;
                    left -= bytes_in(&message);
                    messages.push(message);
                    if left <= 0 || messages.len() >= most {
                        last = messages.last().map(|message| message.global_position);
                        client.record_seen(last);
                        return Ok((messages, last));
                    }
                }
            }
            last = Some(GlobalPosition::new(get(end, 4)?));
            if filter.is_empty() {
                rows -= i64::try_from(part.len()).unwrap_or(i64::MAX);
            }
            let weight: i64 = get(end, 8)?;
            if weight < allowance || rows <= 0 {
                break;
            }
            from = next(end)?;
            // The weight to ask for, if the remaining rows are compressed like those before.
            let expected = left.saturating_mul(weight / (before - left).max(1)).max(left);
            allowance = expected.min(allowance.saturating_mul(4));
        }
        client.record_seen(messages.iter().map(|message| message.global_position).max());
        Ok((messages, last))
    }
}

fn bytes_in(message: &Message) -> i64 {
    let length = |json: &Json| json.as_str().map_or(0, str::len);
    i64::try_from(length(&message.data) + length(&message.metadata)).unwrap_or(i64::MAX)
}

async fn query(client: &Connection, sql: &'static str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
    let statement = client.prepare_cached(sql).await.map_err(backend("reading messages"))?;
    client.query(&statement, parameters).await.map_err(backend("reading messages"))
}

/// Decodes rows, and records their highest global position.
pub(super) fn messages_in(client: &Connection, rows: &[Row]) -> Result<Vec<Message>> {
    let messages: Vec<Message> = rows.iter().map(message_in).collect::<Result<_>>()?;
    client.record_seen(messages.iter().map(|message| message.global_position).max());
    Ok(messages)
}

fn message_in(row: &Row) -> Result<Message> {
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
