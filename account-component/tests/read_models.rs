//! Read models while commands come, workers are killed and a new version is built: they are equal to a fold over the events.
//!
//! `MESSAGE_STORE_READ_MODEL_COMMANDS` sets the number of commands (default 400), and `MESSAGE_STORE_READ_MODEL_SEED` repeats a
//! run.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use account_component::messages::Command;
use account_component::read_models::{Balances, DailySum, DailySums};
use account_component::{Account, Event, Money, component};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use message_store::consumer::{Consumer, ElasticGroup, Updater};
use message_store::handling::CommandHandler;
use message_store::service::Service;
use message_store::store::{ReadModel, ReadModelBug, VersionState};
use message_store::{Append, Category, GlobalPosition, MessageStore, MessageStoreExt as _, NewMessage, Read, connect};
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::{Random, setting};

type Store = Arc<dyn MessageStore>;

const URL: &str = "MESSAGE_STORE_READ_MODELS_URL";
const VERSION: &str = "MESSAGE_STORE_READ_MODELS_VERSION";
const BUG: &str = "MESSAGE_STORE_READ_MODELS_BUG";
const ACCOUNTS: usize = 5;
/// Longer than any pause.
const HANGS: Duration = Duration::from_mins(5);

/// A process that carries out commands and updates read models until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a worker process of the other tests"]
async fn worker() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = connect(&url).await.unwrap();
    let version: u32 = std::env::var(VERSION).unwrap().parse().unwrap();
    let group = ElasticGroup::new().lease(Duration::from_millis(800));
    let commands = Consumer::new(component::COMMANDS, CommandHandler::<Account>::new(&store)).identifier("accounts");
    let commands = commands.elastic_group(group).concurrency(8).poll_interval(Duration::from_millis(20));
    let mut service = Service::new(&store).consumer(commands);
    for updater in [updater(Balances::of_version(version)), updater(DailySums::of_version(version))] {
        service = service.read_model(updater);
    }
    let handle = service.start().await.unwrap();
    // The worker ends when the other end of the pipe is closed.
    let closed = tokio::task::spawn_blocking(|| std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new()));
    closed.await.unwrap().unwrap();
    drop(handle);
}

/// Small batches, so that many are under way when a worker is killed.
fn updater(model: impl ReadModel) -> Updater {
    let updater = Updater::new("account", model).batch(3).poll_interval(Duration::from_millis(5));
    if std::env::var(BUG).is_ok() { updater.plant(ReadModelBug::PositionUnchecked) } else { updater }
}

fn start(url: &str, version: u32, bug: bool) -> Child {
    let mut worker = Process::new(std::env::current_exe().unwrap());
    worker.args(["--exact", "worker", "--ignored", "--nocapture"]).env(URL, url).env(VERSION, version.to_string());
    if bug {
        worker.env(BUG, "1");
    }
    worker.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// The workers. They are killed when this is dropped.
struct Workers(Vec<Child>);

impl Workers {
    fn replace(&mut self, index: usize, worker: Child) {
        let mut before = std::mem::replace(&mut self.0[index], worker);
        before.kill().unwrap();
        before.wait().unwrap();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

async fn send(store: &Store, command: &Command) {
    let stream = component::command_stream(command.account_id()).unwrap();
    store.append(Append::to(stream).message(NewMessage::from_variant(command).unwrap()).into()).await.unwrap();
}

/// Sends the commands. In the middle, one worker after another is replaced by one of the next release. Now and then, a worker is
/// killed.
async fn send_commands(store: &Store, url: &str, workers: &mut Workers, bug: bool) {
    let seed = setting("MESSAGE_STORE_READ_MODEL_SEED").unwrap_or(7);
    let count = setting("MESSAGE_STORE_READ_MODEL_COMMANDS").unwrap_or(400);
    println!("MESSAGE_STORE_READ_MODEL_COMMANDS={count} MESSAGE_STORE_READ_MODEL_SEED={seed}");
    let mut random = Random(seed);
    let begin: Timestamp = "2026-11-28T20:00:00Z".parse().unwrap();
    for number in 0..ACCOUNTS {
        send(store, &Command::Open { account_id: number.to_string(), customer_id: "c".into(), time: begin }).await;
    }
    let versions = |number: u64, index: usize| if number > count / 2 + index as u64 * 10 { 2 } else { 1 };
    for number in 0..count {
        let account_id = random.below(ACCOUNTS).to_string();
        let amount = Money::from_hundredths(i64::try_from(random.below(9_999)).unwrap());
        let time = begin + Duration::from_mins(number);
        let command = match random.below(3) {
            0 => Command::Withdraw {
                withdrawal_id: number.to_string(),
                account_id,
                amount,
                time,
                expected_version: None,
            },
            _ => Command::Deposit { deposit_id: number.to_string(), account_id, amount, time, expected_version: None },
        };
        send(store, &command).await;
        for index in 0..workers.0.len() {
            let is_due = versions(number, index) > versions(number.saturating_sub(1), index);
            let is_killed = random.below(120) == 0 && !bug;
            if is_due || is_killed {
                workers.replace(index, start(url, versions(number, index), bug));
            }
        }
    }
}

/// Waits until the new versions serve, and have applied all events of all commands.
async fn until_idle(store: &Store) {
    let events = Category::new("account").unwrap();
    let read_models = store.read_models().unwrap();
    let mut before = None;
    loop {
        let end = store.backlog(&events, GlobalPosition::ZERO).await.unwrap().end;
        let given_out = store.given_out(None).await.unwrap();
        let versions = read_models.versions(None).await.unwrap();
        let serving = versions.iter().filter(|version| version.state == VersionState::Serving);
        let is_done = serving.filter(|version| version.version == 2 && version.position >= end).count() == 2;
        if is_done && before == Some(given_out) {
            return;
        }
        before = is_done.then_some(given_out);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The read models, as a fold over the events gives them.
async fn expected(store: &Store) -> (Vec<(String, Money)>, Vec<DailySum>) {
    let events = Category::new("account").unwrap();
    let (mut balances, mut days) = (BTreeMap::<String, Money>::new(), BTreeMap::<String, DailySum>::new());
    let messages: Vec<_> = store.category_messages(&events, Read::default()).try_collect().await.unwrap();
    for message in messages {
        let (account_id, time, deposited, withdrawn) = match message.decode_variant().unwrap() {
            Some(Event::Deposited { account_id, time, amount, .. }) => (account_id, time, amount, Money::ZERO),
            Some(Event::Withdrawn { account_id, time, amount, .. }) => (account_id, time, Money::ZERO, amount),
            _ => continue,
        };
        *balances.entry(account_id).or_default() += deposited - withdrawn;
        let day = time.to_string()[..10].to_owned();
        let (deposits, withdrawals) = (Money::ZERO, Money::ZERO);
        let sum = days.entry(day.clone()).or_insert(DailySum { day, deposits, withdrawals });
        sum.deposits += deposited;
        sum.withdrawals += withdrawn;
    }
    (balances.into_iter().collect(), days.into_values().collect())
}

/// Returns whether the read models are equal to the fold.
async fn run(url: &str, bug: bool) -> bool {
    let store = connect(url).await.unwrap();
    let mut workers = Workers((0..3).map(|_| start(url, 1, bug)).collect());
    send_commands(&store, url, &mut workers, bug).await;
    tokio::time::timeout(HANGS, until_idle(&store)).await.expect("all messages are applied");
    drop(workers);
    let (balances, days) = expected(&store).await;
    assert!(balances.len() == ACCOUNTS && days.len() > 1, "{balances:?} {days:?}");
    let shown = (Balances::all(&store).await.unwrap(), DailySums::all(&store).await.unwrap());
    if !bug {
        assert_eq!(shown, (balances.clone(), days.clone()));
    }
    shown == (balances, days)
}

async fn sqlite(bug: bool) -> bool {
    let folder = tempfile::tempdir().unwrap();
    run(&format!("sqlite:{}", folder.path().join("store.db").display()), bug).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_models_are_equal_to_a_fold_over_the_events_on_postgres() {
    let database = TestDatabase::create().await;
    assert!(run(database.url(), false).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_models_are_equal_to_a_fold_over_the_events_on_sqlite() {
    assert!(sqlite(false).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_without_a_look_at_the_position_messages_are_applied_twice() {
    assert!(!sqlite(true).await);
}
