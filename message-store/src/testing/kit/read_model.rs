//! Given, when, then: tests of a read model, on SQLite in memory.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::difference::assert_same;
use super::past::{run_apart, send};
use super::storage::{message, of_version};
use crate::store::{Advanced, ReadModel, ReadModels, SqlTransaction, SqlValue, TimerChange, Update};
use crate::{Category, Message, MessageStore, NewMessage, Result, Source, StreamName, chain, connect};

/// The rows of a query.
type Rows = Vec<Vec<SqlValue>>;

/// The most messages for which each batch size is tried.
const SHORT: usize = 20;

/// The messages of a case, and the timers that wait.
#[derive(Debug, Default)]
#[must_use = "say when_applied(model).then(query, rows), or when_handled(handler, stream, message).then(written)"]
pub struct GivenMessages {
    messages: Vec<(StreamName, NewMessage)>,
    timers: Vec<TimerChange>,
}

/// The messages, and the read model that applies them.
#[must_use = "say then(query, rows)"]
pub struct WhenApplied {
    given: GivenMessages,
    model: Arc<dyn ReadModel>,
}

/// Begins a case without messages.
///
/// ```
/// # use async_trait::async_trait;
/// # use message_store::store::{ReadModel, SqlTransaction};
/// # use message_store::{Message, Source};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// enum Event { Deposited { amount: i64 } }
///
/// struct Total;
///
/// #[async_trait]
/// impl ReadModel for Total {
///     fn name(&self) -> &str { "total" }
///
///     async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
///         transaction.execute("CREATE TABLE total (amount BIGINT NOT NULL)", &[]).await?;
///         transaction.execute("INSERT INTO total VALUES (0)", &[]).await.map(drop)
///     }
///
///     async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
///         let Some(Event::Deposited { amount }) = message.decode_variant()? else { return Ok(()) };
///         transaction.execute("UPDATE total SET amount = amount + $1", &[amount.into()]).await.map(drop)
///     }
///
///     async fn remove(&self, transaction: &mut dyn SqlTransaction, _: u32) -> Result<(), Source> {
///         transaction.execute("DROP TABLE total", &[]).await.map(drop)
///     }
/// }
///
/// use message_store::testing::given_messages;
///
/// given_messages()
///     .in_stream("account-1", Event::Deposited { amount: 5 })
///     .in_stream("account-2", Event::Deposited { amount: 7 })
///     .when_applied(Total)
///     .then("SELECT amount FROM total", [vec![12.into()]]);
/// ```
pub fn given_messages() -> GivenMessages {
    GivenMessages::default()
}

impl GivenMessages {
    /// Adds a message to a stream.
    pub fn in_stream(mut self, stream: &str, event: impl Serialize) -> Self {
        let stream = StreamName::new(stream).unwrap();
        self.messages.push((stream, message(&event, &[])));
        self
    }

    /// Adds a message as it is stored: the type, its version, and the data. A read model may find every version of a type
    /// that was ever written ([`Message::decode_upcast`]).
    pub fn stored_in_stream(mut self, stream: &str, stored: (&str, u32, &str)) -> Self {
        self.messages.push((StreamName::new(stream).unwrap(), of_version(stored)));
        self
    }

    /// Sets a timer, as [`Timers::change`](crate::store::Timers::change) does, before the message that a handler handles.
    pub fn timer(mut self, change: TimerChange) -> Self {
        self.timers.push(change);
        self
    }

    /// Writes the messages, and sets the timers.
    pub(super) async fn write(&self, store: &dyn MessageStore) {
        for (stream, message) in &self.messages {
            send(store, stream, message.clone()).await;
        }
        store.timers().expect("a store in memory has timers").change(self.timers.clone()).await.unwrap();
    }

    /// Sets the read model.
    pub fn when_applied(self, model: impl ReadModel) -> WhenApplied {
        WhenApplied { given: self, model: Arc::new(model) }
    }
}

impl WhenApplied {
    /// Checks that the query returns these rows when the messages are applied. Every case also checks that the rows are the
    /// same:
    ///
    /// - in batches of every size;
    /// - when each batch is applied, rolled back and applied again;
    /// - when the tables are removed, created and filled again, as for a new version ([`ReadModel::remove`],
    ///   [`ReadModel::create`]).
    ///
    /// The model creates its tables in [`ReadModel::create`].
    #[track_caller]
    pub fn then(self, query: &str, expected: impl IntoIterator<Item = Vec<SqlValue>>) {
        let expected: Rows = expected.into_iter().collect();
        let query = query.to_owned();
        for (way, rows) in run_apart(move || self.every_way(query)) {
            match rows {
                Ok(rows) => assert_same(&rows, &expected, format!("{way}, the rows of the read model")),
                Err(error) => panic!("{way}, the read model fails: {}", chain(&error)),
            }
        }
    }

    async fn every_way(self, query: String) -> Vec<(String, Result<Rows>)> {
        let mut ran = Vec::new();
        let most = self.given.messages.len().max(1);
        let sizes = (1..=most).filter(|size| *size <= SHORT || *size == most);
        for size in sizes {
            ran.push((format!("in batches of {size}"), self.run(size, false, false, &query).await));
        }
        ran.push(("when each batch is applied again".to_owned(), self.run(1, true, false, &query).await));
        let again = "when the tables are removed (ReadModel::remove), created and filled again";
        ran.push((again.to_owned(), self.run(most, false, true, &query).await));
        ran
    }

    async fn run(&self, size: usize, is_repeated: bool, is_filled_again: bool, query: &str) -> Result<Rows> {
        let store = connect("sqlite::memory:").await.unwrap();
        let mut categories: Vec<Category> = Vec::new();
        self.given.write(&*store).await;
        for (stream, _) in &self.given.messages {
            let category = stream.category();
            if !categories.contains(&category) {
                categories.push(category);
            }
        }
        let read_models = store.read_models().expect("a store in memory has read models");
        read_models.begin(&self.model).await?;
        if let Some((first, others)) = categories.split_first() {
            let update = others.iter().fold(Update::of(first), Update::and).limit(size);
            self.apply(read_models, &update, is_repeated).await?;
            if is_filled_again {
                let again: Arc<dyn ReadModel> = Arc::new(Wrapped { model: Arc::clone(&self.model), is_next: true });
                read_models.begin(&again).await?;
                while read_models.advance(&again, &update).await? != Advanced::AtEnd {}
            }
        }
        read_models.query(query, &[]).await
    }

    async fn apply(&self, read_models: &dyn ReadModels, update: &Update, is_repeated: bool) -> Result<()> {
        loop {
            if is_repeated {
                let failing: Arc<dyn ReadModel> = Arc::new(Wrapped { model: Arc::clone(&self.model), is_next: false });
                let _ = read_models.advance(&failing, update).await;
            }
            if read_models.advance(&self.model, update).await? == Advanced::AtEnd {
                return Ok(());
            }
        }
    }
}

/// The same read model as its next version, which fills the tables again; or a crash after each message.
struct Wrapped {
    model: Arc<dyn ReadModel>,
    is_next: bool,
}

#[async_trait]
impl ReadModel for Wrapped {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn version(&self) -> u32 {
        self.model.version() + u32::from(self.is_next)
    }

    async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        self.model.remove(transaction, self.model.version()).await?;
        self.model.create(transaction).await
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        self.model.apply(transaction, message).await?;
        if self.is_next { Ok(()) } else { Err("the case rolls the batch back".into()) }
    }

    async fn apply_erased(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        self.model.apply_erased(transaction, message).await
    }

    async fn effects(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        self.model.effects(transaction, message).await
    }

    async fn switch(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        self.model.switch(transaction).await
    }
}
