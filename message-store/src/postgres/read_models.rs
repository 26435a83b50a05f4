//! Read models in tables of the author's own, in the same database.

use std::collections::HashMap;
use std::sync::LazyLock;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Statement, Transaction};

use super::append_apart::is_slot_lost;
use super::connection::Connection;
use super::failure::{backend, classed};
use super::open::POOL_WAIT;
use super::prepared::Prepared;
use super::row::get;
use super::silence::Watch;
use super::sql_value::{Column, Parameter};
use super::{PostgresStore, read};
use crate::store::{Database, Fence, Moved, OwnTransaction, SqlTransaction, SqlValue, Statements, Work, of_categories};
use crate::{Batch, Category, Error, GlobalPosition, History, MessageStore as _, Read, Result, Source};

static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| {
    Statements::new("message_store.", "FOR UPDATE", "(extract(epoch FROM skipped_at) * 1000000)::bigint")
});
const BEGIN_AUTHORS: &str = include_str!("sql/author_transaction.sql");
const SET_FENCE: &str = include_str!("sql/set_fence.sql");
const COMMIT_WITH_FENCE: &str = include_str!("sql/commit_with_fence.sql");

const CONTEXT: &str = "updating a read model";
const QUERY: &str = "querying a read model";

#[async_trait]
impl Database for PostgresStore {
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
        let read = async |connection: &mut Connection| {
            let parameters: Vec<Parameter<'_>> = parameters.iter().map(Parameter).collect();
            let rows = connection.query(sql, &as_sql(&parameters)).await.map_err(backend("reading the read models"))?;
            values_in(&rows).map_err(|error| Error::backend("reading the read models", false, error))
        };
        self.pool.with(read).await
    }

    async fn author_query(&self, sql: &str, parameters: Vec<SqlValue>) -> Result<Vec<Vec<SqlValue>>> {
        let query = async |connection: &mut Connection| {
            let watch = connection.watch();
            watch.is_asked();
            let transaction = connection.build_transaction().read_only(true).start().await.map_err(backend(QUERY))?;
            let mut own = AuthorTransaction::new(self, &transaction, &watch, HashMap::new());
            let rows = own.query(sql, &parameters).await;
            drop(own);
            watch.is_asked();
            transaction.rollback().await.map_err(backend(QUERY))?;
            rows.map_err(|error| match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::backend(QUERY, false, error),
            })
        };
        self.pool.with(query).await
    }

    async fn in_transaction<T: Send + 'static>(
        &self,
        history: Option<History>,
        fence: Option<&Fence>,
        work: Work<T>,
    ) -> Result<Option<T>> {
        // Its code may ask the store, so one connection is left for that. If callers kept connections while they wait for
        // others, the pool could run empty and all would wait for ever.
        let turn = timeout(POOL_WAIT, self.read_model_turns.acquire()).await;
        let _turn = match turn {
            Ok(turn) => turn.map_err(|error| Error::backend(CONTEXT, false, error))?,
            Err(late) => return Err(Error::backend("waiting for a turn to update a read model", true, late)),
        };
        let mut connection = self.pool.get().await?;
        let changed = || Error::HistoryChanged { store: self.place.clone() };
        if history.is_some_and(|history| history != connection.history()) {
            // The messages that were read may be lost.
            connection.give_back();
            return Err(changed());
        }
        let (watch, question) = (connection.watch(), connection.history_question());
        let prepared = prepare(&connection).await.map_err(backend(CONTEXT))?;
        let [begin_authors, set_fence] =
            connection.prepare_all([BEGIN_AUTHORS, SET_FENCE]).await.map_err(backend(CONTEXT))?;
        let transaction = connection.transaction().await.map_err(backend(CONTEXT))?;
        let session = transaction.client();
        if !question.is_same(session).await.map_err(backend(CONTEXT))? {
            transaction.rollback().await.map_err(backend(CONTEXT))?;
            connection.give_back();
            return Err(changed());
        }
        let row = begin_authors.query_one(session, &[]).await.map_err(backend(CONTEXT))?;
        if let Some(Fence { member, slot, epoch, .. }) = fence {
            let owner: [&(dyn ToSql + Sync); 4] =
                [&member.group, &slot.to_string(), &epoch.to_string(), &member.id.to_string()];
            set_fence.execute(session, &owner).await.map_err(backend(CONTEXT))?;
        }
        watch.is_in_transaction_of(get(&row, 4)?);
        watch.is_answered();
        let mut own = AuthorTransaction::new(self, &transaction, &watch, prepared);
        let done = work(&mut own).await;
        // Its statements are closed within the transaction: behind a pooler, the session is not ours after it.
        drop(own);
        let done = match done {
            Ok(Some(done)) => done,
            refused => {
                if watch.was_silent() {
                    return Err(self.pool.silent(CONTEXT));
                }
                watch.is_asked();
                let rolled_back = transaction.rollback().await;
                if rolled_back.is_ok() {
                    connection.give_back();
                } else if refused.as_ref().is_err_and(|error| !error.is_transient()) {
                    // The connection was lost, and the author's error may not show it.
                    let text = refused.err().map_or_else(String::new, |error| error.to_string());
                    return Err(Error::backend(CONTEXT, true, text));
                }
                return refused;
            }
        };
        watch.is_asked();
        if let Some(fence) = fence {
            let committed = transaction.batch_execute(COMMIT_WITH_FENCE).await;
            committed.map_err(|error| if is_slot_lost(&error) { fence.lost() } else { backend(CONTEXT)(error) })?;
        }
        // With a fence, the transaction has ended already.
        transaction.commit().await.map_err(backend(CONTEXT))?;
        connection.give_back();
        Ok(Some(done))
    }
}

/// Prepares the statements of each batch, once for each session.
async fn prepare(connection: &Connection) -> Result<HashMap<&'static str, Prepared>, tokio_postgres::Error> {
    let statements = STATEMENTS.of_each_batch();
    let prepared = connection.prepare_all(statements).await?;
    Ok(statements.into_iter().zip(prepared).collect())
}

fn as_sql<'a>(parameters: &'a [Parameter<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| parameter as _).collect()
}

fn values_in(rows: &[tokio_postgres::Row]) -> Result<Vec<Vec<SqlValue>>, Source> {
    let row = |row: &tokio_postgres::Row| {
        (0..row.len()).map(|column| Ok(row.try_get::<_, Column>(column)?.0)).collect::<Result<_, Source>>()
    };
    rows.iter().map(row).collect()
}

/// The transaction that the author uses. A statement is prepared once for each batch.
struct AuthorTransaction<'a> {
    store: &'a PostgresStore,
    transaction: &'a Transaction<'a>,
    watch: &'a Watch,
    /// This library's statements of each batch.
    own: HashMap<&'static str, Prepared>,
    prepared: HashMap<String, Statement>,
    /// A statement has failed for a reason that passes by itself.
    had_passing_fault: bool,
}

impl<'a> AuthorTransaction<'a> {
    fn new(
        store: &'a PostgresStore,
        transaction: &'a Transaction<'a>,
        watch: &'a Watch,
        own: HashMap<&'static str, Prepared>,
    ) -> Self {
        Self { store, transaction, watch, own, prepared: HashMap::new(), had_passing_fault: false }
    }

    async fn prepare(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.transaction.prepare(sql).await?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn failed(&mut self, error: Error) -> Source {
        self.had_passing_fault |= error.is_transient();
        error.into()
    }
}

/// The author's code returns the error, and the consumer finds its class: a lost connection passes by itself.
fn author_failed(error: tokio_postgres::Error) -> Error {
    classed("a statement of a read model", error)
}

#[async_trait]
impl SqlTransaction for AuthorTransaction<'_> {
    async fn execute(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<u64, Source> {
        self.watch.is_asked();
        let changed = if let Some(own) = self.own.get(sql) {
            let parameters: Vec<Parameter<'_>> = parameters.iter().map(Parameter).collect();
            own.execute(self.transaction.client(), &as_sql(&parameters)).await.map_err(backend(CONTEXT))
        } else {
            let changed = async {
                let statement = self.prepare(sql).await?;
                self.transaction.execute_raw(&statement, parameters.iter().map(Parameter)).await
            };
            changed.await.map_err(author_failed)
        };
        self.watch.is_answered();
        changed.map_err(|error| self.failed(error))
    }

    async fn query(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>, Source> {
        self.watch.is_asked();
        let rows = if let Some(own) = self.own.get(sql) {
            let parameters: Vec<Parameter<'_>> = parameters.iter().map(Parameter).collect();
            own.query(self.transaction.client(), &as_sql(&parameters)).await.map_err(backend(CONTEXT))
        } else {
            let rows = async {
                let statement = self.prepare(sql).await?;
                let rows = self.transaction.query_raw(&statement, parameters.iter().map(Parameter)).await?;
                rows.try_collect::<Vec<_>>().await
            };
            rows.await.map_err(author_failed)
        };
        self.watch.is_answered();
        values_in(&rows.map_err(|error| self.failed(error))?)
    }
}

#[async_trait]
impl OwnTransaction for AuthorTransaction<'_> {
    /// On another connection: the messages are committed, so it sees them too.
    async fn read(&mut self, categories: &[Category], messages: Read) -> Result<Batch> {
        self.store.read_of(categories, messages).await
    }

    async fn settled(&mut self) -> Result<GlobalPosition> {
        let horizon = (self.store.place.as_str(), &self.store.horizon);
        let read = async |connection: &mut Connection| read::horizon(connection, horizon).await;
        self.store.pool.with(read).await.map(GlobalPosition::new)
    }

    fn had_passing_fault(&self) -> bool {
        self.had_passing_fault
    }
}
