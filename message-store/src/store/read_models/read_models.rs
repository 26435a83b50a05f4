//! The read models of a store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::advance::{advance, versions};
use super::begin::begin;
use super::database::Database;
use super::operate::{drop_version, set_position, switch_to};
use super::tables::skipped_in;
use super::{Advanced, Moved, ReadModel, ReadModelVersion, Skipped, SqlValue, Update, VersionState};
use crate::store::Fence;
use crate::{Category, Error, GlobalPosition, Result};

/// The least time that a caller gives the store for its first answer.
const LEAST_LOOK: Duration = Duration::from_secs(1);

/// The pauses between two looks of a caller that waits, if this process does not move the read model.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(200));

/// The read models of a store. [`Updater`](crate::consumer::Updater) keeps one up to date.
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
///     async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
///         let sql = "CREATE TABLE IF NOT EXISTS balances (account TEXT PRIMARY KEY, balance BIGINT NOT NULL)";
///         transaction.execute(sql, &[]).await?;
///         Ok(())
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
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let read_models = store.read_models().ok_or("this store has no read models")?;
/// let model: Arc<dyn ReadModel> = Arc::new(Balances);
/// read_models.begin(&model).await?;
/// let applied = read_models.update(&model, &Category::new("account")?).await?;
/// let rows = read_models.query("SELECT account, balance FROM balances", &[]).await?;
/// assert_eq!((applied, rows.len()), (0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait ReadModels: Send + Sync {
    /// Makes a version known to the store, creates its tables, and returns its state. The first version of a model serves;
    /// one that is higher than all before it is built, and any other that was built until now stands by. A version that is
    /// known is not changed. An unknown version that is lower than a known one stands by.
    ///
    /// # Errors
    /// The errors of [`ReadModel::create`] and [`ReadModel::switch`]; the store's errors.
    async fn begin(&self, model: &Arc<dyn ReadModel>) -> Result<VersionState>;

    /// Applies one batch of messages to a version that serves or is built, or switches to one that has been built.
    ///
    /// # Errors
    /// [`Error::ReadModel`](crate::Error::ReadModel) with the read model's error; the store's errors. Nothing is changed.
    async fn advance(&self, model: &Arc<dyn ReadModel>, update: &Update) -> Result<Advanced>;

    /// Applies the messages of a category that the read model has not seen, and switches to its version if that is built.
    /// Returns the number of messages. 0 if another version serves.
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
    ) -> Result<usize> {
        let mut update = Update::of(category);
        update.fence = fence.cloned();
        let mut applied = 0;
        loop {
            match self.advance(model, &update).await {
                Ok(Advanced::Applied { messages, .. }) => applied += messages,
                Ok(Advanced::AtEnd | Advanced::StandsBy) => return Ok(applied),
                // Another caller was first, or the messages that were read belong to another history.
                Ok(Advanced::Overtaken | Advanced::Switched) | Err(Error::HistoryChanged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The versions of one read model, or of all, in the order of their names.
    ///
    /// # Errors
    /// The store's errors.
    async fn versions(&self, name: Option<&str>) -> Result<Vec<ReadModelVersion>>;

    /// The names of the read models that were ever updated, and the global positions up to which the versions that serve have
    /// applied messages, in the order of the names.
    ///
    /// # Errors
    /// The store's errors.
    async fn positions(&self) -> Result<Vec<(String, GlobalPosition)>> {
        let versions = self.versions(None).await?.into_iter();
        let serving = versions.filter(|version| version.state == VersionState::Serving);
        Ok(serving.map(|version| (version.name, version.position)).collect())
    }

    /// Waits until readers of the read model see everything up to a position of its categories, such as that of an event
    /// which the caller has just written. All messages up to it are applied then, and not only that message. The version
    /// that serves counts.
    ///
    /// In a process that updates the read model, the caller wakes up; elsewhere it looks again after growing pauses of at
    /// most 200 ms.
    ///
    /// # Errors
    /// [`Error::ReadModelBehind`](crate::Error::ReadModelBehind) when the time runs out,
    /// [`Error::ReadModelStopped`](crate::Error::ReadModelStopped) when a message before the position could not be applied;
    /// both say how far it is. The store's errors; one that passes is waited out until the time runs out.
    async fn wait_for(&self, name: &str, position: GlobalPosition, within: Duration) -> Result<()> {
        let begun = Instant::now();
        let deadline = begun.checked_add(within).unwrap_or(begun + Duration::from_hours(24 * 365));
        let (moved, mut trusts_moves, (mut pause, longest)) = (self.moved(), true, PAUSES);
        loop {
            // The last look begins when the time is over.
            let looked = timeout_at(deadline.max(Instant::now() + LEAST_LOOK), self.versions(Some(name))).await;
            let silent = |_| Err(Error::backend("waiting for a read model", true, "the store did not answer in time"));
            let versions = match looked.unwrap_or_else(silent) {
                Err(error) if error.is_transient() && Instant::now() < deadline => {
                    sleep_until(deadline.min(Instant::now() + pause)).await;
                    pause = (pause * 2).min(longest);
                    continue;
                }
                versions => versions?,
            };
            let serving = versions.into_iter().find(|known| known.state == VersionState::Serving);
            let reached = serving.as_ref().map_or(GlobalPosition::ZERO, |serving| serving.position);
            if serving.is_some() && reached >= position {
                return Ok(());
            }
            let name = name.to_owned();
            if let Some(failure) = serving.and_then(|serving| serving.failure) {
                return Err(Error::ReadModelStopped { name, reached, failure });
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Error::ReadModelBehind { name, awaited: position, reached, within });
            }
            let next = deadline.min(now + pause);
            if trusts_moves {
                moved.reaches(&name, position, next).await;
                // If it is not there now, its position was set back.
                trusts_moves = Instant::now() >= next;
            } else {
                sleep_until(next).await;
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// Tells a caller that waits about positions that this process has moved. A store without that returns one that tells
    /// nothing, and callers poll.
    fn moved(&self) -> Moved {
        Moved::default()
    }

    /// Sets the position of the version that serves. Returns `false`, and sets nothing, if no read model of this name was ever
    /// updated. The author's tables do not change: empty them before a position is set back, or the messages after it are
    /// applied twice. They have their [effects](ReadModel::effects) once in any case. If the read model is being updated, this
    /// waits until that has ended.
    ///
    /// # Errors
    /// The store's errors.
    async fn set_position(&self, name: &str, position: GlobalPosition) -> Result<bool>;

    /// Asks for a version that stands by to serve again: its updater builds it up to the position of the version that serves,
    /// and switches. While no process updates it, nothing happens. For the version that serves, this gives up the one that is
    /// built. Returns `false` if the store does not know the version.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if the version was dropped; the store's errors.
    async fn switch_to(&self, name: &str, version: u32) -> Result<bool>;

    /// Drops a version that does not serve, with its tables ([`ReadModel::remove`]). If it is being built, that is given up,
    /// and does not begin again. Any version of the model can be given. Returns `false` if the store does not know the version.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if the version serves; the errors of [`ReadModel::remove`]; the store's errors.
    async fn drop_version(&self, model: &Arc<dyn ReadModel>, version: u32) -> Result<bool>;

    /// The messages that the versions of a read model have skipped, in the order of the versions and positions.
    ///
    /// # Errors
    /// The store's errors.
    async fn skipped(&self, name: &str) -> Result<Vec<Skipped>>;

    /// The rows of a query on the author's tables. It can change nothing.
    ///
    /// # Errors
    /// The database's errors, among them that for a statement that writes; a column type that [`SqlValue`] does not have
    /// (cast it to text).
    async fn query(&self, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>>;
}

#[async_trait]
impl<D: Database> ReadModels for D {
    async fn begin(&self, model: &Arc<dyn ReadModel>) -> Result<VersionState> {
        begin(self, model).await
    }

    async fn advance(&self, model: &Arc<dyn ReadModel>, update: &Update) -> Result<Advanced> {
        advance(self, model, update).await
    }

    async fn versions(&self, name: Option<&str>) -> Result<Vec<ReadModelVersion>> {
        versions(self, name).await
    }

    fn moved(&self) -> Moved {
        self.moved_here().clone()
    }

    async fn set_position(&self, name: &str, position: GlobalPosition) -> Result<bool> {
        set_position(self, name, position).await
    }

    async fn switch_to(&self, name: &str, version: u32) -> Result<bool> {
        switch_to(self, name, version).await
    }

    async fn drop_version(&self, model: &Arc<dyn ReadModel>, version: u32) -> Result<bool> {
        drop_version(self, model, version).await
    }

    async fn skipped(&self, name: &str) -> Result<Vec<Skipped>> {
        skipped_in(&self.rows(&self.statements().skipped, vec![name.into()]).await?)
    }

    async fn query(&self, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>> {
        self.author_query(sql, parameters.to_vec()).await
    }
}
