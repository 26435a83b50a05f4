//! Read models in tables of the author's own, in the same file. SQLite has one writer at a time, so two processes that
//! update one read model take turns.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, Statement};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::blocking::blocking;
use super::failure::{Failed, backend};
use super::lease_changes::assert_owned;
use super::location::Location;
use super::turns::Turns;
use super::{SqliteStore, read};
use crate::store::{Database, Fence, Moved, OwnTransaction, SqlTransaction, SqlValue, Statements, Work, of_categories};
use crate::{Batch, Category, Error, GlobalPosition, History, Limits, MessageStore as _, Read, Result, Source};

static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| Statements::new("", "", "skipped_at"));

const CONTEXT: &str = "updating a read model";

#[async_trait]
impl Database for SqliteStore {
    fn statements(&self) -> &'static Statements {
        &STATEMENTS
    }

    fn history_now(&self) -> History {
        self.history()
    }

    async fn read_of(&self, categories: &[Category], messages: Read) -> Result<Batch> {
        match categories {
            [category] => self.read_category(category, messages).await,
            _ => Ok(of_categories(categories, self.read_all(messages).await?)),
        }
    }

    fn moved_here(&self) -> &Moved {
        &self.moved
    }

    async fn rows(&self, sql: &'static str, parameters: Vec<SqlValue>) -> Result<Vec<Vec<SqlValue>>> {
        self.author_query(sql, parameters).await
    }

    async fn author_query(&self, sql: &str, parameters: Vec<SqlValue>) -> Result<Vec<Vec<SqlValue>>> {
        let (sql, is_shared) = (sql.to_owned(), matches!(self.place, Location::Memory));
        let query = move |connection: &mut Connection| {
            let rows = if is_shared {
                // The one connection of a store in memory may write.
                without_writing(connection, |connection| query(connection, &sql, &parameters))
            } else {
                query(connection, &sql, &parameters)
            };
            rows.map_err(|error| match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::backend("querying a read model", false, error),
            })
        };
        self.readers.lend(query).await
    }

    async fn in_transaction<T: Send + 'static>(
        &self,
        history: Option<History>,
        fence: Option<&Fence>,
        work: Work<T>,
    ) -> Result<Option<T>> {
        if history.is_some_and(|history| history != self.history()) {
            return Err(Error::HistoryChanged { store: self.describe() });
        }
        let (fence, limits, turns) = (fence.cloned(), self.limits, Arc::clone(&self.update_turns));
        // The author's code runs on a thread that may block, and uses the connection alone.
        let runtime = Handle::current();
        // If the caller gives up, its end of the channel is dropped, and the transaction is rolled back. Otherwise the
        // transaction would keep the file locked for as long as the author's code waits.
        let (caller, caller_is_gone) = oneshot::channel::<()>();
        let done = self.with_connection(move |connection| {
            runtime.block_on(async {
                tokio::select! {
                    done = carry_out(connection, &turns, limits, fence.as_ref(), work) => done,
                    _ = caller_is_gone => Err(Error::backend(CONTEXT, true, "its caller gave up")),
                }
            })
        });
        let done = done.await;
        drop(caller);
        done
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

async fn carry_out<T>(
    connection: &mut Connection,
    turns: &Mutex<Turns>,
    limits: Limits,
    fence: Option<&Fence>,
    work: Work<T>,
) -> Result<Option<T>> {
    let context = || backend(CONTEXT);
    let mut own = AuthorTransaction::begin(connection, turns, limits).map_err(context())?;
    let Some(done) = work(&mut own).await? else { return Ok(None) };
    if let Some(fence) = fence {
        assert_owned(own.connection, fence).map_err(|failed| match failed {
            Failed::Refused(error) => error,
            Failed::Database(error) => context()(error),
        })?;
    }
    own.commit().map_err(context())?;
    Ok(Some(done))
}

/// The transaction that the author's code uses. It is rolled back when it is dropped.
struct AuthorTransaction<'a> {
    connection: &'a mut Connection,
    limits: Limits,
    is_open: bool,
    /// A statement has failed for a reason that passes by itself.
    had_passing_fault: bool,
}

impl<'a> AuthorTransaction<'a> {
    fn begin(connection: &'a mut Connection, turns: &Mutex<Turns>, limits: Limits) -> rusqlite::Result<Self> {
        let mut turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.take();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        drop(turn);
        Ok(Self { connection, limits, is_open: true, had_passing_fault: false })
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
        let executed = execute(self.connection, sql, parameters);
        self.record(executed)
    }

    async fn query(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>, Source> {
        let rows = query(self.connection, sql, parameters);
        self.record(rows)
    }
}

#[async_trait]
impl OwnTransaction for AuthorTransaction<'_> {
    async fn read(&mut self, categories: &[Category], messages: Read) -> Result<Batch> {
        let batch = match categories {
            [category] => read::category(self.connection, category, &messages, &self.limits),
            _ => read::all(self.connection, &messages, &self.limits).map(|batch| of_categories(categories, batch)),
        };
        batch.map_err(backend(CONTEXT))
    }

    /// This transaction has the only writer's turn, so no other is under way.
    async fn settled(&mut self) -> Result<GlobalPosition> {
        Ok(GlobalPosition::new(i64::MAX))
    }

    fn had_passing_fault(&self) -> bool {
        self.had_passing_fault
    }
}

impl AuthorTransaction<'_> {
    fn record<T>(&mut self, result: Result<T, Source>) -> Result<T, Source> {
        if let Err(error) = &result {
            self.had_passing_fault |= error.downcast_ref::<Error>().is_some_and(Error::is_transient);
        }
        result
    }
}

fn execute(connection: &Connection, sql: &str, parameters: &[SqlValue]) -> Result<u64, Source> {
    let mut statement = connection.prepare_cached(sql).map_err(author_failed)?;
    bind(&mut statement, parameters)?;
    Ok(statement.raw_execute().map_err(author_failed)? as u64)
}

fn query(connection: &Connection, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>, Source> {
    let mut statement = connection.prepare_cached(sql).map_err(author_failed)?;
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

/// Calls `work` while the connection cannot write.
fn without_writing<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Source>,
) -> Result<T, Source> {
    connection.pragma_update(None, "query_only", true).map_err(author_failed)?;
    let done = work(connection);
    connection.pragma_update(None, "query_only", false).map_err(author_failed)?;
    done
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
