//! A small account for tests of the toolkit. It has only deposits, so its balance counts effects.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Decider};
use message_store::intents::Intent;
use message_store::testing::PlantedBug;
use message_store::{
    Append, Category, ExpectedVersion, Json, Message, MessageStore, MessageStoreExt as _, NewMessage, Read, StreamName,
    connect,
};
use serde::{Deserialize, Serialize};

use crate::postgres::TestDatabase;

/// A command to an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Command {
    Deposit {
        amount: u64,
    },
    /// A deposit with an intent of its own.
    DepositOnce {
        deposit_id: String,
        amount: u64,
        time: String,
    },
    /// Leads to no event.
    Look,
}

/// An event of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Event {
    Deposited { amount: u64 },
}

/// An account. Its balance starts at zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Account {
    /// The sum of all deposits.
    pub balance: u64,
    /// The number of deposits.
    pub deposits: u64,
}

impl Projection for Account {
    const CATEGORY: &'static str = "account";
    type Event = Event;

    fn apply(&mut self, event: &Event) {
        let Event::Deposited { amount } = event;
        self.balance += amount;
        self.deposits += 1;
    }

    /// Events that other programs and other deciders write to the streams of accounts.
    fn ignores(message_type: &str) -> bool {
        ["Foreign", "BonusGiven"].contains(&message_type)
    }
}

impl Decider for Account {
    type Command = Command;
    // The content differs between the first and the second decision.
    const PROCESSED_TIME_FIELD: Option<&'static str> = Some("processedTime");

    fn decide(&self, command: &Command) -> Vec<Event> {
        match command {
            Command::Deposit { amount } | Command::DepositOnce { amount, .. } => {
                vec![Event::Deposited { amount: *amount }]
            }
            Command::Look => vec![],
        }
    }

    fn intent(command: &Command) -> Option<Intent> {
        match command {
            Command::DepositOnce { deposit_id, .. } => {
                Some(Intent::new("accountTransaction", ["deposit", deposit_id]).ignoring(["time"]))
            }
            Command::Deposit { .. } | Command::Look => None,
        }
    }
}

/// A runtime with an empty cache, as in a process that has just started, and with a planted bug, if one is given.
pub fn member(store: &Arc<dyn MessageStore>, bug: Option<PlantedBug>) -> CommandHandler<Account> {
    let decide = CommandHandler::new(store);
    match bug {
        Some(bug) => decide.plant(bug),
        None => decide,
    }
}

/// Writes a command to `{category}-{account}`. Returns it as it was read.
pub async fn send(store: &Arc<dyn MessageStore>, category: &str, account: &str, command: &Command) -> Message {
    let message = NewMessage::from_variant(command).unwrap();
    let id = message.id;
    let stream = StreamName::new(format!("{category}-{account}")).unwrap();
    store.append_to(&stream, ExpectedVersion::Any, vec![message]).await.unwrap();
    store.message(id).await.unwrap().unwrap()
}

/// Sends `count` deposits of 1. Returns them in order.
pub async fn send_deposits(store: &Arc<dyn MessageStore>, category: &str, account: &str, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    for _ in 0..count {
        messages.push(send(store, category, account, &Command::Deposit { amount: 1 }).await);
    }
    messages
}

/// The balance, projected from the stream alone.
pub async fn balance(store: &Arc<dyn MessageStore>, account: &str) -> u64 {
    member(store, None).entities().fetch(account).await.unwrap().state.balance
}

/// All messages of a category.
pub async fn messages_of(store: &Arc<dyn MessageStore>, category: &str) -> Vec<Message> {
    let category = Category::new(category).unwrap();
    store.category_messages(&category, Read::default()).try_collect().await.unwrap()
}

/// Opens a PostgreSQL store on a new database.
pub async fn postgres() -> Arc<dyn MessageStore> {
    connect(TestDatabase::create().await.url()).await.unwrap()
}

/// Opens a new SQLite store in memory.
pub async fn sqlite() -> Arc<dyn MessageStore> {
    connect("sqlite::memory:").await.unwrap()
}

/// Makes two tests of each test function: one on PostgreSQL and one on SQLite. The function takes a store.
#[macro_export]
macro_rules! on_both_stores {
    ($($(#[$attribute:meta])* async fn $name:ident($store:ident) $body:block)*) => {
        $($(#[$attribute])* async fn $name($store: std::sync::Arc<dyn message_store::MessageStore>) $body)*

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() { super::$name($crate::accounts::postgres().await).await; })*
        }

        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() { super::$name($crate::accounts::sqlite().await).await; })*
        }
    };
}

/// Writes a message as another program would, with metadata of any shape.
///
/// # Panics
/// Panics if the store refuses it.
pub async fn put(
    store: &Arc<dyn MessageStore>,
    stream: &str,
    message_type: &str,
    data: &str,
    metadata: &str,
) -> Message {
    let metadata = Json::parse(metadata).unwrap();
    let message = NewMessage::new(message_type, Json::parse(data).unwrap()).with_metadata_json(metadata);
    let id = message.id;
    store.append(Append::to(StreamName::new(stream).unwrap()).message(message).into()).await.unwrap();
    store.message(id).await.unwrap().unwrap()
}
