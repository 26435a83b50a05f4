//! Decoding of rows.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type, accepts};

use crate::{Error, GlobalPosition, Json, Message, MessageId, Position, Result, Source, StreamName};

/// The number of microseconds from 1970 to 2000, where PostgreSQL begins to count.
const YEAR_2000: i64 = 946_684_800_000_000;

/// Decodes a column by its number, from 0.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|error| Error::backend("reading a row", false, error))
}

/// Decodes the columns id, stream name, type, position, global position, data, metadata and time. Returns `None` for a
/// row without an id: the read looked at its message, which did not pass the filter.
pub(super) fn message_in(row: &Row) -> Result<Option<Message>> {
    let Some(id) = get(row, 0)? else { return Ok(None) };
    let InUtc(time) = get(row, 7)?;
    Ok(Some(Message {
        id: MessageId::from_uuid(id),
        stream: StreamName::from_database(get(row, 1)?),
        message_type: get(row, 2)?,
        position: Position::new(get(row, 3)?),
        global_position: global_position_in(row)?,
        data: Json::from_database(get(row, 5)?),
        metadata: Json::from_database(get(row, 6)?),
        time,
    }))
}

/// Decodes the global position of a message's row.
pub(super) fn global_position_in(row: &Row) -> Result<GlobalPosition> {
    get(row, 4).map(GlobalPosition::new)
}

/// A `timestamp` without a time zone, in UTC: microseconds, which need no calendar.
pub(super) struct InUtc(pub(super) Timestamp);

impl<'a> FromSql<'a> for InUtc {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Source> {
        let since_2000 = i64::from_be_bytes(raw.try_into()?);
        // PostgreSQL's `infinity` and `-infinity` are the ends of the range.
        let since_1970 = since_2000.checked_add(YEAR_2000).ok_or("the time is infinite")?;
        Ok(Self(Timestamp::from_microsecond(since_1970)?))
    }

    accepts!(TIMESTAMP);
}
