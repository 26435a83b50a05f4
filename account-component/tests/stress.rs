//! Sends the account component's commands, from two categories, to a few accounts. Several processes with caches handle
//! them, and are killed and started again. A model gives the expected result: no command is lost, and none has two
//! effects.
//!
//! `MESSAGE_STORE_STRESS_ROUNDS` sets the number of rounds (default 2; the long run uses 50).
//! `MESSAGE_STORE_STRESS_SEED` repeats a run.
#![allow(missing_docs, clippy::unwrap_used)]

mod stress {
    pub(crate) mod model;
    pub(crate) mod workers;
}

use std::sync::Arc;
use std::time::Duration;

use account_component::{Command, Money};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use message_store::{
    Append, Category, GlobalPosition, MessageStore, MessageStoreExt as _, NewMessage, Read, StreamName, connect,
};
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::{Random, setting};
use stress::model;
use stress::workers::{CATEGORIES, Workers};

const ACCOUNTS: usize = 12;
/// A time-out that is longer than any pause of a consumer.
const HANGS: Duration = Duration::from_mins(2);

/// Sends commands, and records them in the model.
struct Sender<'a> {
    store: &'a Arc<dyn MessageStore>,
    sent: model::Sent,
    /// The last global position of each category.
    ends: [GlobalPosition; 2],
}

impl Sender<'_> {
    async fn send(&mut self, category: usize, command: &Command) {
        let stream = StreamName::new(format!("{}-{}", CATEGORIES[category], command.account_id())).unwrap();
        let append = Append::to(stream).message(NewMessage::from_variant(command).unwrap());
        let appended = self.store.append(append.into()).await.unwrap();
        self.ends[category] = appended.written[0].global_position;
        self.sent.note(command);
    }

    async fn deposit(&mut self, category: usize, account: &str, id: &str, hundredths: i64) {
        let (deposit_id, account_id, amount) = (id.to_owned(), account.to_owned(), Money::from_hundredths(hundredths));
        self.send(
            category,
            &Command::Deposit { deposit_id, account_id, amount, time: Timestamp::now(), expected_version: None },
        )
        .await;
    }

    async fn withdraw(&mut self, category: usize, account: &str, id: &str, hundredths: i64) {
        let (withdrawal_id, account_id, amount) =
            (id.to_owned(), account.to_owned(), Money::from_hundredths(hundredths));
        self.send(
            category,
            &Command::Withdraw { withdrawal_id, account_id, amount, time: Timestamp::now(), expected_version: None },
        )
        .await;
    }

    async fn open(&mut self, category: usize, account: &str) {
        let (account_id, customer_id) = (account.to_owned(), "c1".to_owned());
        self.send(category, &Command::Open { account_id, customer_id, time: Timestamp::now() }).await;
    }

    async fn close(&mut self, category: usize, account: &str) {
        self.send(
            category,
            &Command::Close { account_id: account.to_owned(), time: Timestamp::now(), expected_version: None },
        )
        .await;
    }
}

/// Runs one round. Returns the differences from the model.
async fn run(url: &str, bug: bool) -> Vec<String> {
    let seed = setting("MESSAGE_STORE_STRESS_SEED").unwrap_or(7);
    let rounds = setting("MESSAGE_STORE_STRESS_ROUNDS").unwrap_or(2);
    println!("MESSAGE_STORE_STRESS_SEED={seed} MESSAGE_STORE_STRESS_ROUNDS={rounds}");
    let mut random = Random(seed);
    let store = connect(url).await.unwrap();
    let mut sender = Sender { store: &store, sent: model::Sent::default(), ends: [GlobalPosition::ZERO; 2] };
    for round in 0..rounds {
        // One or two processes for each category. They are killed now and then, but not in the twin, which then loses a
        // command for certain.
        let members = if bug { 1 } else { 1 + u16::try_from(random.below(2)).unwrap() };
        let mut workers = Workers::start(url, members, bug);
        let accounts: Vec<String> = (0..ACCOUNTS).map(|number| format!("{round}x{number}")).collect();
        for phase in 0..5 {
            for account in &accounts {
                let id = |what: &str| format!("{what}{phase}");
                match phase {
                    // Before the account is open: rejected, and the account is cached as not open.
                    0 => sender.deposit(1, account, &id("d"), 1_000).await,
                    1 => sender.open(0, account).await,
                    2 => {
                        for number in 0..random.below(6) {
                            let (category, amount) = (random.below(2), i64::try_from(random.below(2_000)).unwrap());
                            let id = id(&number.to_string());
                            let again = random.below(4) == 0;
                            for category in [Some(category), again.then(|| random.below(2))].into_iter().flatten() {
                                if number % 2 == 0 {
                                    sender.deposit(category, account, &id, amount).await;
                                } else {
                                    sender.withdraw(category, account, &id, amount).await;
                                }
                            }
                        }
                    }
                    // Half of these go through the category whose process has not seen the account open.
                    3 => sender.close(random.below(2), account).await,
                    _ => {
                        sender.deposit(random.below(2), account, &id("d"), 1).await;
                        sender.open(random.below(2), account).await;
                        sender.close(random.below(2), account).await;
                    }
                }
                if !bug && random.below(ACCOUNTS) == 0 {
                    workers.kill_one(random.below(usize::MAX));
                }
            }
            let handled = tokio::time::timeout(HANGS, workers.handled_through(&store, sender.ends)).await;
            assert!(handled.is_ok(), "round {round}, phase {phase}: the workers hang");
        }
    }
    let account = Category::new("account").unwrap();
    let events: Vec<_> = store.category_messages(&account, Read::default()).try_collect().await.unwrap();
    sender.sent.compare(&events)
}

fn file(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("store.db").display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_no_command_is_lost_and_none_has_two_effects() {
    let wrong = run(TestDatabase::create().await.url(), false).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_no_command_is_lost_and_none_has_two_effects() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = run(&file(&folder), false).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_on_postgres_with_decisions_on_what_is_remembered_commands_are_lost() {
    let wrong = run(TestDatabase::create().await.url(), true).await;
    assert!(wrong.iter().any(|wrong| wrong.contains("Close")), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_on_sqlite_with_decisions_on_what_is_remembered_commands_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = run(&file(&folder), true).await;
    assert!(wrong.iter().any(|wrong| wrong.contains("Close")), "{wrong:?}");
}

/// Runs as a worker process, started by the stress test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is started by the other tests"]
async fn worker() {
    stress::workers::work().await;
}
