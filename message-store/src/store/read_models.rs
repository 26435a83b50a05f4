//! An optional part of a store: read models, in tables of the author's own in the same database.
//!
//! Problem: if a read model is changed before its position is saved, a crash between the two applies a message twice.
//! If it is changed afterwards, a crash loses the message. Fix: one transaction does both. Two processes that update
//! one read model take turns.

use std::sync::Arc;

use async_trait::async_trait;

use crate::store::Fence;
use crate::{Category, Error, GlobalPosition, Message, Result, Source};

/// A read model. Each message is applied to it once.
///
/// If other code changes the same rows too, or rebuilds them beside the old ones, protect each row by the version that
/// it shows: `INSERT … ON CONFLICT (id) DO UPDATE SET … WHERE balances.version < excluded.version`.
#[async_trait]
pub trait ReadModel: Send + Sync {
    /// The name under which the position is saved. A new name begins a new read model at the first message.
    fn name(&self) -> &str;

    /// Applies a message, in the transaction that also saves the position. It must write only with this transaction,
    /// and must not call the store: a store in memory has one connection, which the transaction uses.
    ///
    /// # Errors
    /// Any error. The transaction is rolled back then, and no message of the batch is applied.
    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source>;

    /// As [`apply`](Self::apply), for a message that was erased ([`Erasing`](crate::operations::Erasing)): its data is
    /// gone. The default changes nothing.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    async fn apply_erased(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let _ = (transaction, message);
        Ok(())
    }
}

/// Applies a message, whether it was erased or not.
pub(crate) async fn apply_to(
    model: &dyn ReadModel,
    transaction: &mut dyn SqlTransaction,
    message: &Message,
) -> Result<()> {
    let applied = if message.is_erased() {
        model.apply_erased(transaction, message).await
    } else {
        model.apply(transaction, message).await
    };
    applied.map_err(|error| Error::read_model(model.name(), message, error))
}

/// The read models of a store.
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
    /// Applies the messages of a category that the read model has not seen. Returns their number.
    ///
    /// # Errors
    /// [`Error::ReadModel`](crate::Error::ReadModel) with the read model's error; the store's errors. The read model
    /// remains as it was after the last complete batch.
    async fn update(&self, model: &Arc<dyn ReadModel>, category: &Category) -> Result<usize> {
        self.update_fenced(model, category, None).await
    }

    /// As [`update`](Self::update), but applies messages only while the owner of a slot has the slot: the check is the last
    /// step of each transaction. Give it the fence of the handler's context
    /// ([`Context::fence`](crate::handling::Context::fence)), in a group with one slot for each read model.
    ///
    /// # Errors
    /// As [`update`](Self::update); [`Error::SlotLost`](crate::Error::SlotLost) if the owner has lost the slot or its
    /// lease.
    async fn update_fenced(
        &self,
        model: &Arc<dyn ReadModel>,
        category: &Category,
        fence: Option<&Fence>,
    ) -> Result<usize>;

    /// The names of the read models that were ever updated, and the global positions up to which messages are applied,
    /// in the order of the names.
    ///
    /// # Errors
    /// The store's errors.
    async fn positions(&self) -> Result<Vec<(String, GlobalPosition)>>;

    /// Sets the position of a read model. Returns `false`, and sets nothing, if no read model of this name was ever
    /// updated. The author's tables do not change: empty them before a position is set back, or the messages after it are
    /// applied twice. If the read model is being updated, this waits until that has ended.
    ///
    /// # Errors
    /// The store's errors.
    async fn set_position(&self, name: &str, position: GlobalPosition) -> Result<bool>;
}

/// A transaction of the store's database. Write parameters as `$1`, `$2`, … (in SQLite also as `?1`, `?2`, …).
#[async_trait]
pub trait SqlTransaction: Send {
    /// Executes a statement. Returns the number of rows that it has changed.
    ///
    /// # Errors
    /// The database's error.
    async fn execute(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<u64, Source>;

    /// Executes a query and returns its rows.
    ///
    /// # Errors
    /// The database's error; a column type that [`SqlValue`] does not have (cast it to text).
    async fn query(&mut self, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>, Source>;
}

/// A value of a statement or a row. Values of other types, such as exact numbers, times, UUIDs and JSON, are text.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    /// SQL's `NULL`.
    Null,
    /// In SQLite a number, 0 or 1.
    Boolean(bool),
    /// 64 bits, signed.
    Integer(i64),
    /// A binary floating-point number, 64 bits.
    Float(f64),
    /// UTF-8 text.
    Text(String),
    /// PostgreSQL's `bytea`, SQLite's `BLOB`.
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
