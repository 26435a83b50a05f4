//! Read models in tables of the author's own, in the same database. The row of the position is locked, so that two
//! processes that update one read model take turns.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Statement, Transaction};

use super::PostgresStore;
use super::append_with_fence::is_slot_lost;
use super::connection::Connection;
use super::failure::{backend, classed};
use super::open::POOL_WAIT;
use super::row::get;
use super::silence::Watch;
use super::sql_value::{Column, Parameter};
use crate::store::{Fence, ReadModel, ReadModels, SqlTransaction, SqlValue, apply_to};
use crate::{Category, Error, GlobalPosition, MessageStore as _, Read, Result, Source};

const POSITION: &str = include_str!("sql/read_model.sql");
const MAKE: &str = include_str!("sql/make_read_model.sql");
const LOCK: &str = include_str!("sql/lock_read_model.sql");
const POSITIONS: &str = include_str!("sql/read_models.sql");
const SET_FENCE: &str = include_str!("sql/set_fence.sql");
const COMMIT_WITH_FENCE: &str = include_str!("sql/commit_with_fence.sql");
const SAVE: &str = include_str!("sql/save_read_model.sql");

#[async_trait]
impl ReadModels for PostgresStore {
    async fn update_fenced(
        &self,
        model: &Arc<dyn ReadModel>,
        category: &Category,
        fence: Option<&Fence>,
    ) -> Result<usize> {
        let context = "updating a read model";
        let mut applied = 0;
        loop {
            let history = self.history();
            let row = self
                .pool
                .with(async |connection| {
                    connection.query_opt(POSITION, &[&model.name()]).await.map_err(backend(context))
                })
                .await?;
            let from: i64 = row.map(|row| get(&row, 0)).transpose()?.unwrap_or_default();
            let read = Read::from(GlobalPosition::new(from).next());
            // Reads before it takes a connection for the transaction. If callers kept connections while they wait for
            // others, the pool could run empty and all would wait for ever.
            let batch = self.read_category(category, read.clone()).await?;
            if batch.is_at_end(&read) {
                return Ok(applied);
            }
            // Its code may ask the store, so one connection is left for that.
            let turn = timeout(POOL_WAIT, self.read_model_turns.acquire()).await;
            let _turn = match turn {
                Ok(turn) => turn.map_err(|error| Error::backend(context, false, error))?,
                Err(late) => return Err(Error::backend("waiting for a turn to update a read model", true, late)),
            };
            let mut connection = self.pool.get().await?;
            if connection.history() != history {
                // The batch may have messages that the server has lost.
                connection.give_back();
                continue;
            }
            let (watch, question) = (connection.watch(), connection.history_question());
            let statements = connection.prepare_all([MAKE, LOCK, SET_FENCE, SAVE]).await;
            let [make, lock, set_fence, save] = statements.map_err(backend(context))?;
            let transaction = connection.transaction().await.map_err(backend(context))?;
            let session = transaction.client();
            if !question.is_same(session).await.map_err(backend(context))? {
                transaction.rollback().await.map_err(backend(context))?;
                connection.give_back();
                continue;
            }
            make.execute(session, &[&model.name()]).await.map_err(backend(context))?;
            let row = lock.query_one(session, &[&model.name()]).await.map_err(backend(context))?;
            if get::<i64>(&row, 0)? != from {
                // Another process updated the read model first.
                transaction.rollback().await.map_err(backend(context))?;
                connection.give_back();
                continue;
            }
            if let Some(Fence { member, slot, epoch, .. }) = fence {
                let owner: [&(dyn ToSql + Sync); 4] =
                    [&member.group, &slot.to_string(), &epoch.to_string(), &member.id.to_string()];
                set_fence.execute(session, &owner).await.map_err(backend(context))?;
            }
            watch.is_in_transaction_of(get(&row, 5)?);
            watch.is_answered();
            let mut own = AuthorTransaction { transaction: &transaction, watch: &watch, prepared: HashMap::new() };
            for message in &batch.messages {
                let applied = apply_to(&**model, &mut own, message).await;
                applied.map_err(|error| if watch.was_silent() { self.pool.silent(context) } else { error })?;
            }
            // Its statements are closed within the transaction: behind a pooler, the session is not ours after it.
            drop(own);
            let position = batch.looked_through.get();
            watch.is_asked();
            save.execute(session, &[&model.name(), &position]).await.map_err(backend(context))?;
            if let Some(fence) = fence {
                let committed = transaction.batch_execute(COMMIT_WITH_FENCE).await;
                committed.map_err(|error| if is_slot_lost(&error) { fence.lost() } else { backend(context)(error) })?;
            }
            // With a fence, the transaction has ended already.
            transaction.commit().await.map_err(backend(context))?;
            connection.give_back();
            applied += batch.messages.len();
        }
    }

    async fn positions(&self) -> Result<Vec<(String, GlobalPosition)>> {
        let read = async |connection: &mut Connection| {
            let rows = connection.query(POSITIONS, &[]).await.map_err(backend("reading the read models"))?;
            rows.iter().map(|row| Ok((get(row, 0)?, GlobalPosition::new(get(row, 1)?)))).collect()
        };
        self.pool.with(read).await
    }

    async fn set_position(&self, name: &str, position: GlobalPosition) -> Result<bool> {
        let set = async |connection: &mut Connection| {
            let changed = connection.execute(SAVE, &[&name, &position.get()]).await;
            changed.map(|rows| rows > 0).map_err(backend("setting the position of a read model"))
        };
        self.pool.with(set).await
    }
}

/// The transaction that the author's code uses. A statement is prepared once for each batch.
struct AuthorTransaction<'a> {
    transaction: &'a Transaction<'a>,
    watch: &'a Watch,
    prepared: HashMap<String, Statement>,
}

impl AuthorTransaction<'_> {
    async fn prepare(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.transaction.prepare(sql).await?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
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
        let changed = async {
            let statement = self.prepare(sql).await?;
            self.transaction.execute_raw(&statement, parameters.iter().map(Parameter)).await
        };
        let changed = changed.await;
        self.watch.is_answered();
        Ok(changed.map_err(author_failed)?)
    }

    async fn query(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>, Source> {
        self.watch.is_asked();
        let rows = async {
            let statement = self.prepare(sql).await?;
            let rows = self.transaction.query_raw(&statement, parameters.iter().map(Parameter)).await?;
            rows.try_collect::<Vec<_>>().await
        };
        let rows = rows.await;
        self.watch.is_answered();
        let rows = rows.map_err(author_failed)?;
        let row = |row: &tokio_postgres::Row| {
            (0..row.len()).map(|column| Ok(row.try_get::<_, Column>(column)?.0)).collect::<Result<_, Source>>()
        };
        rows.iter().map(row).collect()
    }
}
