//! Read models in tables of your own, in the same database.
//!
//! Problem: a view that is changed before its position is saved sees a message twice after a crash, and after it, not at all. Fix: both are one
//! transaction. Two processes that update one view take turns: the row of its position is locked.

use async_trait::async_trait;
use tokio_postgres::Transaction;

use super::PostgresStore;
use super::failure::backend;
use super::row::get;
use crate::{Category, Error, GlobalPosition, Message, MessageStore as _, Read, Result, Source};

/// A read model that messages are applied to, each once.
///
/// A view that is also changed from elsewhere, or rebuilt beside the old one, guards each row by the version it shows:
/// `INSERT … ON CONFLICT (id) DO UPDATE SET … WHERE view.version < excluded.version`.
#[async_trait]
pub trait View: Send + Sync {
    /// Its name: the name of its position. Another name is another view, from the beginning.
    fn name(&self) -> &str;

    /// Applies a message, in the transaction that also says that it was.
    ///
    /// # Errors
    /// Whatever keeps it from being applied: nothing of its batch is, then.
    async fn apply(&self, transaction: &Transaction<'_>, message: &Message) -> Result<(), Source>;
}

const FROM: &str = include_str!("sql/view_position.sql");
const BEGIN: &str = include_str!("sql/make_view_position.sql");
const LOCK: &str = include_str!("sql/lock_view_position.sql");
const SAVE: &str = include_str!("sql/save_view_position.sql");

impl PostgresStore {
    /// Applies to a view what it has not seen of a category. How many messages that were.
    ///
    /// # Errors
    /// [`Error::Handler`] with what the view said; the store's errors. The view is then as it was after the last whole batch.
    pub async fn update_view(&self, view: &dyn View, category: &Category) -> Result<usize> {
        self.assert_ours("keeping the positions of views")?;
        let context = "updating a view";
        let mut applied = 0;
        loop {
            let row = self
                .pool
                .with(async |connection| connection.query_opt(FROM, &[&view.name()]).await.map_err(backend(context)))
                .await?;
            let from: i64 = row.map(|row| get(&row, 0)).transpose()?.unwrap_or_default();
            let read = Read::from(GlobalPosition::new(from).next());
            // Before a connection is taken for the transaction: a caller that waits for one holds none.
            let batch = self.read_category(category, read.clone()).await?;
            if batch.is_at_end(&read) {
                return Ok(applied);
            }
            let mut connection = self.pool.get().await?;
            let transaction = connection.transaction().await.map_err(backend(context))?;
            transaction.execute(BEGIN, &[&view.name()]).await.map_err(backend(context))?;
            let row = transaction.query_one(LOCK, &[&view.name()]).await.map_err(backend(context))?;
            if get::<i64>(&row, 0)? != from {
                // Another process was quicker.
                transaction.rollback().await.map_err(backend(context))?;
                connection.give_back();
                continue;
            }
            for message in &batch.messages {
                view.apply(&transaction, message).await.map_err(|error| Error::handler(message, error))?;
            }
            let position = batch.looked_through.get();
            transaction.execute(SAVE, &[&view.name(), &position]).await.map_err(backend(context))?;
            transaction.commit().await.map_err(backend(context))?;
            connection.give_back();
            applied += batch.messages.len();
        }
    }
}
