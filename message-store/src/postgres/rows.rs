//! The rows of a statement, read one by one as they arrive.
//!
//! Problem: a reader that stops before the last row leaves a connection on which rows still arrive. Its next user would
//! wait for them. Fix: until the last row has been read, the connection counts as one with unread rows, and does not
//! return to its pool. Why it is right: only the end of the rows takes the mark away, so every other way out of a read
//! leaves it.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, RowStream};

use super::connection::Connection;
use super::failure::backend;
use super::silence::Watch;
use crate::Result;

pub(super) struct Rows<'a> {
    arriving: Pin<Box<RowStream>>,
    connection: &'a mut Connection,
    watch: Arc<Watch>,
}

impl<'a> Rows<'a> {
    pub(super) async fn of(
        connection: &'a mut Connection,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Self> {
        let statement = connection.prepare_cached(sql).await.map_err(backend("reading messages"))?;
        let arriving = statement.rows(connection, parameters).await.map_err(backend("reading messages"))?;
        connection.has_unread_rows = true;
        let watch = connection.watch();
        Ok(Self { arriving: Box::pin(arriving), connection, watch })
    }

    pub(super) fn connection(&self) -> &Connection {
        self.connection
    }

    /// The next row, or `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Row>> {
        self.watch.is_asked();
        let row = self.arriving.next().await.transpose();
        // The server sends no row after an error.
        let is_end = match &row {
            Ok(row) => row.is_none(),
            Err(error) => error.as_db_error().is_some(),
        };
        self.connection.has_unread_rows = !is_end;
        row.map_err(backend("reading messages"))
    }
}
