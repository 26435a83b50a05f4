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
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::PlantedBug;
use super::batch_read::BatchRead;
use super::connection::Connection;
use super::failure::backend;
use super::horizon::Horizon;
use super::large_rows::{LargeRows, Place};
use super::row::{InUtc, get, global_position_in, message_in};
use super::statements::Both;
use crate::store::{Backlog, StreamBatch, lacks_archived};
use crate::{
    Batch, Category, Error, Filter, GlobalPosition, Limits, Message, MessageId, MessageRef, Position, Read, Result,
    StoreId, StreamName, StreamRead, Version,
};

static STREAM_FORWARDS: LazyLock<Both> = LazyLock::new(|| Both::new(include_str!("sql/scope_stream_forwards.sql")));
static STREAM_BACKWARDS: LazyLock<Both> = LazyLock::new(|| Both::new(include_str!("sql/scope_stream_backwards.sql")));
/// The unfiltered and the filtered statements.
static CATEGORY: LazyLock<[Both; 2]> = LazyLock::new(|| both(include_str!("sql/scope_category.sql")));
static ALL: LazyLock<[Both; 2]> = LazyLock::new(|| both(include_str!("sql/scope_all.sql")));
static CORRELATED: LazyLock<[Both; 2]> = LazyLock::new(|| both(include_str!("sql/scope_correlated.sql")));
const LAST: &str = include_str!("sql/last_message.sql");
pub(super) const VERSION: &str = include_str!("sql/version.sql");
const HORIZON: &str = include_str!("sql/horizon.sql");
const GIVEN_OUT: &str = include_str!("sql/given_out.sql");
const BACKLOG: &str = include_str!("sql/backlog.sql");
const CATEGORIES: &str = include_str!("sql/categories.sql");
const NOW: &str = include_str!("sql/now.sql");
const WRITTEN_BY: &str = include_str!("sql/written_by.sql");
const STORE_ID: &str = include_str!("sql/store_id.sql");

fn both(scope: &str) -> [Both; 2] {
    [Both::new(scope), Both::filtered(scope)]
}

/// Reads the archive only if the table of messages lacks some of the stream, so that most streams do not pay for it.
pub(super) async fn stream(
    client: &mut Connection,
    stream: &StreamName,
    read: &StreamRead,
    bounds: (&Limits, &LargeRows),
) -> Result<StreamBatch> {
    let found = part_of_stream(client, stream, read, bounds, false).await?;
    if lacks_archived(read, &found) && !client.has(PlantedBug::ArchiveNotRead) {
        return part_of_stream(client, stream, read, bounds, true).await;
    }
    Ok(found)
}

async fn part_of_stream(
    client: &mut Connection,
    stream: &StreamName,
    read: &StreamRead,
    (limits, large_rows): (&Limits, &LargeRows),
    with_archive: bool,
) -> Result<StreamBatch> {
    let backwards = read.backwards;
    let (statements, first) = if backwards { (&*STREAM_BACKWARDS, i64::MAX) } else { (&*STREAM_FORWARDS, 0) };
    let statements = statements.get(with_archive);
    let from = read.from.map_or(first, Position::get);
    let after = |position: i64| if backwards { position - 1 } else { position + 1 };
    let (rows, bytes) = (limits.rows(read.limit), limits.bytes());
    let batch = BatchRead { statements, scope: &stream.as_str(), filter: &[], from, rows, bytes };
    let place = |from| Place::OfStream { stream, backwards, from };
    let is_weighed = large_rows.begin_at(client, &place(from));
    let found = batch.read(client, is_weighed, |row| Ok(after(get(row, 3)?))).await?;
    let is_full = found.is_full(rows, bytes);
    if let Some(last) = found.messages.last().filter(|_| found.is_large) {
        large_rows.record([place(from), place(after(last.position.get()))]);
    }
    Ok(StreamBatch::new(found.messages, !is_full))
}

pub(super) async fn category(
    client: &mut Connection,
    category: &Category,
    read: &Read,
    bounds: (&Limits, &LargeRows),
) -> Result<Batch> {
    batch(client, &CATEGORY, (&category.as_str(), Some(category)), read, bounds).await
}

/// The horizon is read in a separate statement before the messages: `functions/append.sql` has the reason.
pub(super) async fn all(
    client: &mut Connection,
    horizon: (&str, &Horizon),
    read: &Read,
    bounds: (&Limits, &LargeRows),
) -> Result<Batch> {
    let through = self::horizon(client, horizon).await?;
    batch(client, &ALL, (&through, None), read, bounds).await
}

/// The messages of all categories whose correlation is this stream.
pub(super) async fn correlated(
    client: &mut Connection,
    horizon: (&str, &Horizon),
    stream: &StreamName,
    read: &Read,
    bounds: (&Limits, &LargeRows),
) -> Result<Batch> {
    let through = self::horizon(client, horizon).await?.to_string();
    batch(client, &CORRELATED, (&[stream.as_str(), &through].as_slice(), None), read, bounds).await
}

pub(super) async fn horizon(client: &mut Connection, (place, horizon): (&str, &Horizon)) -> Result<i64> {
    let row = client.query_one(HORIZON, &[]).await.map_err(|error| {
        if error.code() != Some(&SqlState::FEATURE_NOT_SUPPORTED) {
            return backend("reading messages")(error);
        }
        let what = "reading all messages on a standby, which does not know which positions are still being written; read them on the primary";
        Error::Unsupported { store: place.to_owned(), what: what.to_owned() }
    })?;
    let through: i64 = get(&row, 0)?;
    horizon.seen(through, get(&row, 1)?);
    Ok(through)
}

async fn batch(
    client: &mut Connection,
    [plain, filtered]: &'static [Both; 2],
    (scope, category): (&(dyn ToSql + Sync), Option<&Category>),
    read: &Read,
    (limits, large_rows): (&Limits, &LargeRows),
) -> Result<Batch> {
    let Filter { correlation, member, slots, message_types } = &read.filter;
    let correlation = correlation.as_ref().map(Category::as_str);
    let (member, size) = match (member, slots) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid("filter", "it names a member and slots, and a group has one of them"));
        }
        (Some(member), None) => (Some(vec![i64::from(member.number())]), Some(i64::from(member.size()))),
        (None, Some(slots)) => {
            let without_an_entity = slots.takes(None).then_some(-1);
            (Some(slots.numbers().map(i64::from).chain(without_an_entity).collect()), Some(i64::from(slots.count())))
        }
        (None, None) => (None, None),
    };
    let types = (!message_types.is_empty()).then_some(message_types);
    let filter: &[&(dyn ToSql + Sync)] = &[&correlation, &member, &size, &types];
    let (statements, filter) = if read.filter.is_empty() { (plain, &[][..]) } else { (filtered, filter) };
    let with_archive = read.with_archive && !client.has(PlantedBug::ArchiveNotRead);
    let statements = statements.get(with_archive);
    let (from, rows, bytes) = (read.from.get(), limits.rows(read.look_at()), limits.bytes());
    let place = |from| Place::OfBatch { category, filter: &read.filter, from };
    let is_weighed = large_rows.begin_at(client, &place(read.from));
    let found = BatchRead { statements, scope, filter, from, rows, bytes }
        .read(client, is_weighed, |row| Ok(global_position_in(row)?.next().get()))
        .await?;
    let batch = Batch::of(found.messages, found.last, read);
    if found.is_large {
        large_rows.record([place(read.from), place(batch.looked_through.next())]);
    }
    Ok(batch)
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

pub(super) async fn written_by(client: &Connection, handler: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
    let ids: Vec<Uuid> = ids.iter().map(MessageId::as_uuid).collect();
    let rows = query(client, WRITTEN_BY, &[&ids, &handler]).await?;
    let written: Vec<MessageRef> = rows.iter().map(reference_in).collect::<Result<_>>()?;
    client.record_seen(written.iter().map(|written| written.global_position).max());
    Ok(written)
}

fn reference_in(row: &Row) -> Result<MessageRef> {
    Ok(MessageRef {
        id: MessageId::from_uuid(get(row, 0)?),
        stream: StreamName::from_database(get::<&str>(row, 1)?),
        position: Position::new(get(row, 2)?),
        global_position: GlobalPosition::new(get(row, 3)?),
    })
}

pub(super) async fn given_out(client: &Connection) -> Result<GlobalPosition> {
    let rows = query(client, GIVEN_OUT, &[]).await?;
    let position: Option<i64> = rows.first().map(|row| get(row, 0)).transpose()?;
    Ok(GlobalPosition::new(position.unwrap_or_default()))
}

pub(super) async fn backlog(client: &Connection, category: &Category, after: GlobalPosition) -> Result<Backlog> {
    let rows = query(client, BACKLOG, &[&category.as_str(), &after.get()]).await?;
    let Some(row) = rows.first() else { return Ok(Backlog::EMPTY) };
    let oldest: Option<InUtc> = get(row, 1)?;
    let end = GlobalPosition::new(get::<Option<i64>>(row, 2)?.unwrap_or_default());
    client.record_seen(Some(end));
    Ok(Backlog::new(get::<i64>(row, 0)?.unsigned_abs(), oldest.map(|InUtc(time)| time), end))
}

pub(super) async fn categories(client: &Connection, after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = query(client, CATEGORIES, &[&after.map_or("", Category::as_str), &limit]).await?;
    rows.iter().map(|row| Ok(StreamName::from_database(get::<&str>(row, 0)?).category())).collect()
}

pub(super) async fn now(client: &Connection) -> Result<Timestamp> {
    let row = client.query_one(NOW, &[]).await.map_err(backend("reading the database's clock"))?;
    get(&row, 0)
}

async fn query(client: &Connection, sql: &'static str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
    client.query(sql, parameters).await.map_err(backend("reading messages"))
}

/// Decodes rows, and records their highest global position.
pub(super) fn messages_in(client: &Connection, rows: &[Row]) -> Result<Vec<Message>> {
    let messages: Vec<Message> = rows.iter().filter_map(|row| message_in(row).transpose()).collect::<Result<_>>()?;
    client.record_seen(messages.iter().map(|message| message.global_position).max());
    Ok(messages)
}
