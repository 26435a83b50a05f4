//! What a backend gives: transactions, and the words of its SQL.

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::statements::Statements;
use super::{Moved, SqlTransaction, SqlValue};
use crate::store::Fence;
use crate::{Batch, Category, GlobalPosition, History, Read, Result};

/// A store on a database with SQL. [`ReadModels`](super::ReadModels) is implemented for each.
#[async_trait]
pub trait Database: Send + Sync {
    fn statements(&self) -> &'static Statements;

    /// The history that the store sees.
    fn history_now(&self) -> History;

    /// Reads the messages of these categories, in the order of their global positions.
    ///
    /// A reader of one category is safe by itself. Commits of several have no common order, so a reader of all messages looks
    /// at them, no further than no lower position can appear.
    async fn read_of(&self, categories: &[Category], read: Read) -> Result<Batch>;

    /// The positions that this process has moved.
    fn moved_here(&self) -> &Moved;

    /// The rows of one of [`statements`](Self::statements).
    async fn rows(&self, sql: &'static str, parameters: Vec<SqlValue>) -> Result<Vec<Vec<SqlValue>>>;

    /// The rows of an author's query, which can change nothing.
    async fn author_query(&self, sql: &str, parameters: Vec<SqlValue>) -> Result<Vec<Vec<SqlValue>>>;

    /// Calls `work` in a transaction. Commits if it returns something, and rolls back if not. With a fence, it commits only
    /// if the owner has its slot. With a history, the transaction is of that history.
    async fn in_transaction<T: Send + 'static>(
        &self,
        history: Option<History>,
        fence: Option<&Fence>,
        work: Work<T>,
    ) -> Result<Option<T>>;
}

/// What happens in a transaction.
pub(crate) type Work<T> =
    Box<dyn for<'t> FnOnce(&'t mut dyn OwnTransaction) -> BoxFuture<'t, Result<Option<T>>> + Send>;

/// A transaction, as this library sees it. Its author sees a [`SqlTransaction`].
#[async_trait]
pub trait OwnTransaction: SqlTransaction {
    /// Reads messages that are committed.
    async fn read(&mut self, categories: &[Category], read: Read) -> Result<Batch>;

    /// The global position up to which no message of any category can appear any more.
    async fn settled(&mut self) -> Result<GlobalPosition>;

    /// Whether a statement has failed for a reason that passes by itself. The author's code may have hidden that.
    fn had_passing_fault(&self) -> bool;
}

/// The messages of these categories.
pub(crate) fn of_categories(categories: &[Category], mut batch: Batch) -> Batch {
    let is_of_one = |stream: &str| categories.iter().any(|category| category.as_str() == stream);
    batch.messages.retain(|message| is_of_one(message.stream.category_str()));
    batch
}
