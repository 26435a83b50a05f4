//! What a store may have beside messages: read models, in tables of the author's own in the same database.
//!
//! Problem: a read model that is changed before its position is saved sees a message twice after a crash, and one that
//! is changed after it, not at all. Fix: both are one transaction. Two processes that update one read model take turns.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Category, Message, Result, Source};

/// A read model that messages are applied to, each once.
///
/// One that is also changed from elsewhere, or rebuilt beside the old one, guards each row by the version it shows:
/// `INSERT … ON CONFLICT (id) DO UPDATE SET … WHERE balances.version < excluded.version`.
#[async_trait]
pub trait ReadModel: Send + Sync {
    /// Its name: the name of its position. Another name is another read model, from the beginning.
    fn name(&self) -> &str;

    /// Applies a message, in the transaction that also says that it was. It must write by this transaction alone, and
    /// must not call the store: a store in memory has one connection, which the transaction has.
    ///
    /// # Errors
    /// Whatever keeps it from being applied: nothing of its batch is, then.
    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source>;
}

/// Read models in the store's own database.
///
/// ```
/// use std::sync::Arc;
/// use async_trait::async_trait;
/// use message_store::store::{ReadModel, SqlTransaction};
/// use message_store::{Category, Message, Source, connect};
///
/// struct Balances;
///
/// #[async_trait]
/// impl ReadModel for Balances {
///     fn name(&self) -> &str {
///         "balances"
///     }
///
///     async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
///         let sql = "INSERT INTO balances (account, balance) VALUES ($1, $2)
///                    ON CONFLICT (account) DO UPDATE SET balance = balances.balance + excluded.balance";
///         let amount: i64 = message.decode_data()?;
///         transaction.execute(sql, &[message.stream.cardinal_id().into(), amount.into()]).await?;
///         Ok(())
///     }
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = connect("sqlite:account.db").await?;
/// let read_models = store.read_models().ok_or("this store has no read models")?;
/// let model: Arc<dyn ReadModel> = Arc::new(Balances);
/// let applied = read_models.update(&model, &Category::new("account")?).await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ReadModels: Send + Sync {
    /// Applies to a read model what it has not seen of a category. How many messages that were.
    ///
    /// # Errors
    /// [`Error::Handler`](crate::Error::Handler) with what the read model said; the store's errors. The read model is
    /// then as it was after the last whole batch.
    async fn update(&self, model: &Arc<dyn ReadModel>, category: &Category) -> Result<usize>;
}

/// A transaction of the store's database. Parameters are written `$1`, `$2`, … (in SQLite `?1`, `?2`, … as well).
#[async_trait]
pub trait SqlTransaction: Send {
    /// Carries out a statement. How many rows it has changed.
    ///
    /// # Errors
    /// What the database says.
    async fn execute(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<u64, Source>;

    /// Reads rows.
    ///
    /// # Errors
    /// What the database says; a column whose type is none of [`SqlValue`]'s (cast it to text).
    async fn query(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>, Source>;
}

/// A value of a statement or a row. What a database has other types for, such as exact numbers, times, UUIDs and JSON,
/// is text.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    /// No value.
    Null,
    /// A truth value; in SQLite a number, 0 or 1.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction, not exact.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl From<bool> for SqlValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for SqlValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for SqlValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for SqlValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for SqlValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for SqlValue {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for SqlValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
