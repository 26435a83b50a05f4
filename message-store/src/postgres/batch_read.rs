//! The read of a batch, which ends when the batch has enough bytes.
//!
//! Problem: a thousand rows can have a megabyte each, and the server knows the exact bytes of a row only after it has
//! read the whole row. Fix: two statements.
//! - The plain statement is limited by rows alone. This process counts the bytes as they arrive. When it has enough, it
//!   stops, and closes the connection if rows are left ([`Rows`]).
//! - The weighed statement limits the rows by weight, an upper bound of the bytes that the server knows without reading
//!   the row (`sql/read_weighed.sql`). This process counts the bytes that arrive, and reads another part if there are
//!   fewer than allowed. Usually one part is enough, because the weight of an uncompressed row is its size. The
//!   statement takes half as long again as the plain one.
//!
//! A read is plain, except at a place where rows are known to be large ([`LargeRows`](super::large_rows::LargeRows)).
//! Why it is right: with both statements this process stops when the batch has enough bytes, so both lead to the same
//! batch. The weight only spares the server, and the connection. It may be too low: the text of a number can be larger
//! than its stored form.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::PlantedBug;
use super::connection::Connection;
use super::row::{get, global_position_in, message_in};
use super::rows::Rows;
use super::statements::Statements;
use crate::{GlobalPosition, Message, Result};

/// The rows after a batch count as large if it has at least this part of the bytes that it may have.
const LARGE: i64 = 8;

/// One read.
pub(super) struct BatchRead<'a> {
    pub(super) statements: &'static Statements,
    pub(super) scope: &'a (dyn ToSql + Sync),
    pub(super) filter: &'a [&'a (dyn ToSql + Sync)],
    pub(super) from: i64,
    /// The greatest number of rows to look at.
    pub(super) rows: i64,
    /// The bytes of data and metadata at which the batch ends.
    pub(super) bytes: i64,
}

/// The result of a read so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) messages: Vec<Message>,
    /// The global position of the last message that was looked at.
    pub(super) last: Option<GlobalPosition>,
    /// The bytes of data and metadata of the messages.
    bytes: i64,
    /// Whether the rows after the batch are probably as large.
    pub(super) is_large: bool,
}

impl Found {
    /// Whether the read has ended because it has so many rows, or so many bytes.
    pub(super) fn is_full(&self, rows: i64, bytes: i64) -> bool {
        self.bytes >= bytes || self.messages.len() as u64 >= rows.unsigned_abs()
    }

    /// Adds the message of a row, if it passes the filter.
    fn add(&mut self, row: &Row) -> Result<()> {
        self.last = Some(global_position_in(row)?);
        if let Some(message) = message_in(row)? {
            self.bytes += i64::try_from(message.data.len() + message.metadata.len()).unwrap_or(i64::MAX);
            self.messages.push(message);
        }
        Ok(())
    }
}

impl BatchRead<'_> {
    /// Reads a batch with the weighed statement or the plain one. `next` returns where a read continues after a row.
    pub(super) async fn read(
        &self,
        connection: &mut Connection,
        is_weighed: bool,
        next: impl Fn(&Row) -> Result<i64>,
    ) -> Result<Found> {
        let mut found = Found::default();
        if is_weighed {
            self.weighed(connection, &mut found, next).await?;
        } else {
            let parameters = [&[self.scope, &self.from, &self.rows], self.filter].concat();
            self.part(connection, &self.statements.plain, &parameters, &mut found).await?;
        }
        connection.record_seen(found.last);
        if let Some(last) = found.messages.last() {
            connection.record_message(last.id, last.global_position);
        }
        found.is_large = found.bytes.saturating_mul(if is_weighed { LARGE } else { 1 }) >= self.bytes;
        Ok(found)
    }

    async fn weighed(
        &self,
        connection: &mut Connection,
        found: &mut Found,
        next: impl Fn(&Row) -> Result<i64>,
    ) -> Result<()> {
        let (mut from, mut rows, mut allowance) = (self.from, self.rows, self.bytes.max(1));
        loop {
            let before = found.bytes;
            let parameters = [&[self.scope, &from, &rows], self.filter, &[&allowance]].concat();
            let Some(end) = self.part(connection, &self.statements.weighed, &parameters, found).await? else {
                return Ok(());
            };
            let (weight, looked_at): (i64, i64) = (get(&end, 8)?, get(&end, 9)?);
            rows -= looked_at;
            if weight < allowance || rows <= 0 || self.is_full(connection, found) {
                return Ok(());
            }
            from = next(&end)?;
            // The weight to ask for, if the remaining rows are compressed like those before.
            let left = self.bytes - found.bytes;
            let expected = left.saturating_mul(weight / (found.bytes - before).max(1)).max(left);
            allowance = expected.min(allowance.saturating_mul(4));
        }
    }

    /// Adds the rows of a statement until the batch is full. Returns the last row, or `None` if there is none or if
    /// rows are left.
    async fn part(
        &self,
        connection: &mut Connection,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
        found: &mut Found,
    ) -> Result<Option<Row>> {
        let mut rows = Rows::of(connection, sql, parameters).await?;
        let mut end = None;
        while let Some(row) = rows.next().await? {
            if self.is_full(rows.connection(), found) {
                return Ok(None);
            }
            found.add(&row)?;
            end = Some(row);
        }
        Ok(end)
    }

    /// Whether the batch has enough bytes. It has at least one message.
    fn is_full(&self, connection: &Connection, found: &Found) -> bool {
        found.bytes >= self.bytes && !found.messages.is_empty() && !connection.has(PlantedBug::BytesNotCounted)
    }
}
