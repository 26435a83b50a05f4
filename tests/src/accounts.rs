//! A small account, for tests of the toolkit: deposits only, so that the balance counts effects.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Decider};
use message_store::intents::Intent;
use message_store::testing::PlantedBug;
use message_store::{
    Category, ExpectedVersion, Message, MessageStore, MessageStoreExt as _, NewMessage, Read, StreamName, connect,
};
use serde::{Deserialize, Serialize};

use crate::postgres::TestDatabase;

/// What is asked of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Command {
    Deposit {
        amount: u64,
    },
    /// A deposit with an identity of its own.
    DepositOnce {
        deposit_id: String,
        amount: u64,
        time: String,
    },
    /// Leads to nothing.
    Look,
}

/// What has happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Event {
    Deposited { amount: u64 },
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// The sum of all deposits.
    pub balance: u64,
    /// How many deposits there were.
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
}

impl Decider for Account {
    type Command = Command;
    // A second decision has other content than the first.
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

/// A runtime with an empty cache, as in a process that has just started; with a bug, if one is given.
pub fn member(store: &Arc<dyn MessageStore>, bug: Option<PlantedBug>) -> CommandHandler<Account> {
    let decide = CommandHandler::new(store);
    match bug {
        Some(bug) => decide.plant(bug),
        None => decide,
    }
}

/// Writes a command to `{category}-{account}`, and reads it back.
pub async fn send(store: &Arc<dyn MessageStore>, category: &str, account: &str, command: &Command) -> Message {
    let message = NewMessage::from_variant(command).unwrap();
    let id = message.id;
    let stream = StreamName::new(format!("{category}-{account}")).unwrap();
    store.append_to(&stream, ExpectedVersion::Any, vec![message]).await.unwrap();
    store.message(id).await.unwrap().unwrap()
}

/// Sends this many deposits of 1, and returns them in order.
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

/// A PostgreSQL store of its own.
pub async fn postgres() -> Arc<dyn MessageStore> {
    connect(TestDatabase::create().await.url()).await.unwrap()
}

/// A SQLite store of its own.
pub async fn sqlite() -> Arc<dyn MessageStore> {
    connect("sqlite::memory:").await.unwrap()
}

/// Makes each test function, which takes a store, a test on PostgreSQL and a test on SQLite.
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
