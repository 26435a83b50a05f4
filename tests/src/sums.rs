//! A read model in versions: the sum of each account. Readers see the view `sums`. Its effect is a row in `mails`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use message_store::store::{ReadModel, ReadModels, SqlTransaction, SqlValue, Update};
use message_store::{Append, Category, GlobalPosition, Json, Message, MessageStore, NewMessage, Source, StreamName};

/// What a version does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fails {
    /// All goes well.
    #[default]
    Never,
    /// The creation of the tables.
    Create,
    /// The message with this amount, always.
    Apply(i64),
    /// The message with this amount, once.
    ApplyOnce(i64),
    /// The message with this amount panics.
    Panic(i64),
    /// The switch.
    Switch,
    /// The removal.
    Remove,
}

/// One version of the sums.
#[derive(Clone, Debug)]
pub struct Sums {
    /// The number of the version.
    pub version: u32,
    /// What fails.
    pub fails: Fails,
    /// The number of messages that were applied, also in transactions that were rolled back.
    pub applied: Arc<AtomicU32>,
}

impl Sums {
    /// This version.
    #[must_use]
    pub fn version(version: u32) -> Self {
        Self { version, fails: Fails::Never, applied: Arc::default() }
    }

    /// As it is, but this fails.
    #[must_use]
    pub fn failing(mut self, fails: Fails) -> Self {
        self.fails = fails;
        self
    }

    /// For the store.
    #[must_use]
    pub fn shared(self) -> Arc<dyn ReadModel> {
        Arc::new(self)
    }

    fn fail(&self, fails: Fails) -> Result<(), Source> {
        if self.fails == fails { Err(format!("planted: {fails:?}").into()) } else { Ok(()) }
    }
}

#[async_trait]
impl ReadModel for Sums {
    fn name(&self) -> &'static str {
        "sums"
    }

    fn version(&self) -> u32 {
        self.version
    }

    async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        let table = format!("CREATE TABLE sums_{} (account TEXT PRIMARY KEY, sum BIGINT NOT NULL)", self.version);
        transaction.execute(&table, &[]).await?;
        let mails = "CREATE TABLE IF NOT EXISTS mails (amount BIGINT NOT NULL, version BIGINT NOT NULL)";
        transaction.execute(mails, &[]).await?;
        self.fail(Fails::Create)
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let before = self.applied.fetch_add(1, Ordering::SeqCst);
        let Ok(amount) = message.decode_data::<i64>() else { return Ok(()) };
        let upsert = format!(
            "INSERT INTO sums_{0} (account, sum) VALUES ($1, $2) \
             ON CONFLICT (account) DO UPDATE SET sum = sums_{0}.sum + excluded.sum",
            self.version
        );
        transaction.execute(&upsert, &[message.stream.cardinal_id().into(), amount.into()]).await?;
        assert!(self.fails != Fails::Panic(amount), "a planted panic");
        if self.fails == Fails::ApplyOnce(amount) && before < u32::try_from(amount)? {
            return Err("planted, once".into());
        }
        self.fail(Fails::Apply(amount))
    }

    async fn effects(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        let Ok(amount) = message.decode_data::<i64>() else { return Ok(()) };
        let insert = "INSERT INTO mails (amount, version) VALUES ($1, $2)";
        transaction.execute(insert, &[amount.into(), i64::from(self.version).into()]).await?;
        Ok(())
    }

    async fn switch(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        transaction.execute("DROP VIEW IF EXISTS sums", &[]).await?;
        let view = format!(
            "CREATE VIEW sums AS SELECT account, sum, CAST({0} AS bigint) AS version FROM sums_{0}",
            self.version
        );
        transaction.execute(&view, &[]).await?;
        self.fail(Fails::Switch)
    }

    async fn remove(&self, transaction: &mut dyn SqlTransaction, version: u32) -> Result<(), Source> {
        transaction.execute(&format!("DROP TABLE IF EXISTS sums_{version}"), &[]).await?;
        self.fail(Fails::Remove)
    }
}

/// The category of the accounts.
///
/// # Panics
/// Never.
#[must_use]
pub fn account() -> Category {
    Category::new("account").unwrap()
}

/// Appends these amounts to account 1. Returns the position of the last.
///
/// # Panics
/// Panics if the store refuses them.
pub async fn deposit(store: &Arc<dyn MessageStore>, amounts: impl IntoIterator<Item = i64>) -> GlobalPosition {
    deposit_to(store, "account-1", amounts).await
}

/// Appends these amounts to a stream. Returns the position of the last.
///
/// # Panics
/// Panics if the store refuses them.
pub async fn deposit_to(
    store: &Arc<dyn MessageStore>,
    stream: &str,
    amounts: impl IntoIterator<Item = i64>,
) -> GlobalPosition {
    let stream = StreamName::new(stream).unwrap();
    let mut last = GlobalPosition::ZERO;
    for amount in amounts {
        let message = NewMessage::new("Deposited", Json::encode(&amount).unwrap());
        last =
            store.append(Append::to(stream.clone()).message(message).into()).await.unwrap().written[0].global_position;
    }
    last
}

/// The store's read models.
///
/// # Panics
/// Panics if it has none.
#[must_use]
pub fn read_models(store: &Arc<dyn MessageStore>) -> &dyn ReadModels {
    store.read_models().unwrap()
}

/// Updates of the category of the accounts, with this number of messages in a transaction.
pub fn batches(messages: usize) -> Update {
    Update::of(&account()).limit(messages)
}

/// The numbers of a query.
///
/// # Panics
/// Panics if the query fails, or returns something else.
pub async fn numbers(store: &Arc<dyn MessageStore>, sql: &str) -> Vec<i64> {
    let rows = read_models(store).query(sql, &[]).await.unwrap();
    let number = |value: &SqlValue| match value {
        SqlValue::Integer(number) => *number,
        other => panic!("{other:?} is no number"),
    };
    rows.iter().flat_map(|row| row.iter().map(number).collect::<Vec<_>>()).collect()
}

/// What readers of the sums see: the sum of account 1, and the version.
///
/// # Panics
/// Panics if the query fails.
pub async fn seen(store: &Arc<dyn MessageStore>) -> Vec<i64> {
    numbers(store, "SELECT sum, version FROM sums WHERE account = '1'").await
}

/// The amounts for which there were mails, in order.
///
/// # Panics
/// Panics if the query fails.
pub async fn mails(store: &Arc<dyn MessageStore>) -> Vec<i64> {
    numbers(store, "SELECT amount FROM mails ORDER BY amount").await
}

/// The versions of the sums, with their states and positions.
///
/// # Panics
/// Panics if the store cannot be read.
pub async fn states(store: &Arc<dyn MessageStore>) -> Vec<(u32, String)> {
    let versions = read_models(store).versions(Some("sums")).await.unwrap();
    versions.into_iter().map(|version| (version.version, version.state.to_string())).collect()
}
