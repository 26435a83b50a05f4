//! Read models in tables of the author's own, in the same file. SQLite has one writer at a time, so two processes that
//! update one read model take turns.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Statement};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::blocking::blocking;
use super::failure::{Failed, backend};
use super::lease_changes::assert_owned;
use super::location::Location;
use super::turns::Turns;
use super::{SqliteStore, read};
use crate::store::{Fence, ReadModel, ReadModels, SqlTransaction, SqlValue, apply_to};
use crate::{Category, Error, GlobalPosition, Limits, Read, Result, Source};

#[async_trait]
impl ReadModels for SqliteStore {
    async fn update_fenced(
        &self,
        model: &Arc<dyn ReadModel>,
        category: &Category,
        fence: Option<&Fence>,
    ) -> Result<usize> {
        let mut applied = 0;
        loop {
            let fence = fence.cloned();
            let (model, category, limits) = (Arc::clone(model), category.clone(), self.limits);
            // The author's code runs on a thread that may block, and uses the connection alone.
            let runtime = Handle::current();
            let turns = Arc::clone(&self.update_turns);
            // If the caller gives up, its end of the channel is dropped, and the transaction is rolled back. Otherwise the
            // transaction would keep the file locked for as long as the author's code waits.
            let (caller, caller_is_gone) = oneshot::channel::<()>();
            let part = self.with_connection(move |connection| {
                runtime.block_on(async {
                    tokio::select! {
                        part = update(connection, &turns, &*model, (&category, &limits), fence.as_ref()) => part,
                        _ = caller_is_gone => Err(Error::backend("updating a read model", true, "its caller gave up")),
                    }
                })
            });
            let part = part.await?;
            drop(caller);
            match part {
                None => return Ok(applied),
                Some(part) => applied += part,
            }
        }
    }

    async fn positions(&self) -> Result<Vec<(String, GlobalPosition)>> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/read_models.sql"))?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, GlobalPosition::new(row.get(1)?))))?;
            rows.collect()
        };
        self.readers.read("reading the read models", read).await
    }

    async fn set_position(&self, name: &str, position: GlobalPosition) -> Result<bool> {
        let (name, turns) = (name.to_owned(), Arc::clone(&self.update_turns));
        let set = move |connection: &mut Connection| {
            let context = || backend("setting the position of a read model");
            let own = AuthorTransaction::begin(connection, &turns).map_err(context())?;
            let sql = include_str!("sql/move_read_model.sql");
            let rows = own.connection.execute(sql, (name, position.get())).map_err(context())?;
            own.commit().map_err(context())?;
            Ok(rows > 0)
        };
        self.with_connection(set).await
    }
}

impl SqliteStore {
    /// Calls `work` on a thread that may block, with a connection that may write.
    async fn with_connection<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match self.place.clone() {
            Location::Memory => self.readers.lend(work).await,
            // The connections that read a file cannot write.
            place @ Location::File(_) => blocking(move || work(&mut place.open_again()?)).await,
        }
    }
}

/// Applies one batch. `None` when no message is left.
async fn update(
    connection: &mut Connection,
    turns: &Mutex<Turns>,
    model: &dyn ReadModel,
    (category, limits): (&Category, &Limits),
    fence: Option<&Fence>,
) -> Result<Option<usize>> {
    let context = || backend("updating a read model");
    let mut own = AuthorTransaction::begin(connection, turns).map_err(context())?;
    let sql = include_str!("sql/read_model.sql");
    let position: Option<i64> =
        own.connection.query_row(sql, [model.name()], |row| row.get(0)).optional().map_err(context())?;
    let read = Read::from(GlobalPosition::new(position.unwrap_or_default()).next());
    let batch = read::category(own.connection, category, &read, limits).map_err(context())?;
    if batch.is_at_end(&read) {
        return Ok(None);
    }
    for message in &batch.messages {
        apply_to(model, &mut own, message).await?;
    }
    let sql = include_str!("sql/save_read_model.sql");
    own.connection.execute(sql, (model.name(), batch.looked_through.get())).map_err(context())?;
    if let Some(fence) = fence {
        assert_owned(own.connection, fence).map_err(|failed| match failed {
            Failed::Refused(error) => error,
            Failed::Database(error) => context()(error),
        })?;
    }
    own.commit().map_err(context())?;
    Ok(Some(batch.messages.len()))
}

/// The transaction that the author's code uses. It is rolled back when it is dropped.
struct AuthorTransaction<'a> {
    connection: &'a mut Connection,
    is_open: bool,
}

impl<'a> AuthorTransaction<'a> {
    fn begin(connection: &'a mut Connection, turns: &Mutex<Turns>) -> rusqlite::Result<Self> {
        let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.take();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        drop(turn);
        Ok(Self { connection, is_open: true })
    }

    fn commit(mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch("COMMIT")?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for AuthorTransaction<'_> {
    fn drop(&mut self) {
        if self.is_open
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::debug!(target: "message_store::sqlite", %error, "the transaction of a read model could not be rolled back; it ends with its connection");
        }
    }
}

#[async_trait]
impl SqlTransaction for AuthorTransaction<'_> {
    async fn execute(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<u64, Source> {
        let mut statement = self.connection.prepare_cached(sql).map_err(author_failed)?;
        bind(&mut statement, parameters)?;
        Ok(statement.raw_execute().map_err(author_failed)? as u64)
    }

    async fn query(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>, Source> {
        let mut statement = self.connection.prepare_cached(sql).map_err(author_failed)?;
        let columns = statement.column_count();
        bind(&mut statement, parameters)?;
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(author_failed)? {
            let columns = (0..columns).map(|column| row.get(column).map(read_value));
            found.push(columns.collect::<rusqlite::Result<_>>().map_err(author_failed)?);
        }
        Ok(found)
    }
}

/// The author's code returns the error, and the consumer finds its class: a file that is locked for long passes by itself.
fn author_failed(error: rusqlite::Error) -> Error {
    backend("a statement of a read model")(error)
}

/// SQLite numbers `$1` and `$2` by their order in the text. Here they mean the first and the second value, as in
/// PostgreSQL.
fn bind(statement: &mut Statement<'_>, parameters: &[SqlValue]) -> Result<(), Source> {
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index);
        let number = name.and_then(|name| name.strip_prefix('$')).and_then(|number| number.parse().ok());
        let number: usize = number.unwrap_or(index);
        let Some(parameter) = number.checked_sub(1).and_then(|place| parameters.get(place)) else {
            return Err(format!("parameter {number} of the statement has no value").into());
        };
        statement.raw_bind_parameter(index, value(parameter)).map_err(author_failed)?;
    }
    Ok(())
}

fn value(value: &SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Boolean(value) => Value::Integer((*value).into()),
        SqlValue::Integer(value) => Value::Integer(*value),
        SqlValue::Float(value) => Value::Real(*value),
        SqlValue::Text(value) => Value::Text(value.clone()),
        SqlValue::Bytes(value) => Value::Blob(value.clone()),
    }
}

fn read_value(value: Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Integer(value) => SqlValue::Integer(value),
        Value::Real(value) => SqlValue::Float(value),
        Value::Text(value) => SqlValue::Text(value),
        Value::Blob(value) => SqlValue::Bytes(value),
    }
}
