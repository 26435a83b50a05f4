//! Transfers under repeats, conflicts and kills: money is neither lost nor made, and every transfer ends.
//!
//! `MESSAGE_STORE_TRANSFERS` sets the number of transfers (default 300; the long run uses 10,000), and
//! `MESSAGE_STORE_TRANSFERS_SEED` repeats a run.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use account_component::messages::Command;
use account_component::transfer::messages::{Event, Received};
use account_component::transfer::{self, Stage, Transfer};
use account_component::{Account, Money, component};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use message_store::consumer::{Consumer, ElasticGroup, GroupStatus};
use message_store::entity::EntityStore;
use message_store::handling::{CommandHandler, Handler};
use message_store::service::Service;
use message_store::store::{Due, TimerChange, TimerQuery};
use message_store::testing::PlantedBug;
use message_store::{
    Append, Category, GlobalPosition, Message, MessageStore, MessageStoreExt as _, NewMessage, Read, StreamName,
    connect,
};
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::{Random, setting};

type Store = Arc<dyn MessageStore>;

const URL: &str = "MESSAGE_STORE_TRANSFERS_URL";
const BUG: &str = "MESSAGE_STORE_TRANSFERS_BUG";
/// The events of a transfer from its begin to its end.
const WAYS: [&str; 5] = [
    "Initiated Cancelled",
    "Initiated TimedOut Cancelled",
    "Initiated Withdrawn Transferred",
    "Initiated Withdrawn DepositRefused Refunded",
    "Initiated TimedOut Withdrawn Refunded",
];
/// A few, so that transfers meet each other at one account.
const ACCOUNTS: usize = 10;
/// The money of each account at the beginning, in hundredths.
const BEGINNING: i64 = 10_000;
/// Longer than any pause.
const HANGS: Duration = Duration::from_mins(5);

/// A process that handles commands and events until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a worker process of the other tests"]
async fn worker() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = connect(&url).await.unwrap();
    let transfers = transfer::handler(&store);
    let transfers = if std::env::var(BUG).is_ok() { transfers.plant(PlantedBug::RememberedNothing) } else { transfers };
    let mut service = Service::new(&store).consumer(member(
        Consumer::new(component::COMMANDS, CommandHandler::<Account>::new(&store)).identifier("accounts"),
    ));
    for consumer in transfer::consumers(&transfers) {
        service = service.consumer(member(consumer));
    }
    let handle = service.start().await.unwrap();
    // The worker ends when the other end of the pipe is closed.
    let closed = tokio::task::spawn_blocking(|| std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new()));
    closed.await.unwrap().unwrap();
    drop(handle);
}

/// Positions are saved rarely, so that a worker which is killed leaves many messages to be delivered again.
fn member<H: Handler>(consumer: Consumer<H>) -> Consumer<H> {
    let group = ElasticGroup::new().lease(Duration::from_millis(800));
    let consumer = consumer.elastic_group(group).concurrency(8).save_after(200, Duration::from_secs(2));
    consumer.poll_interval(Duration::from_millis(20))
}

fn start(url: &str, bug: bool) -> Child {
    let mut worker = Process::new(std::env::current_exe().unwrap());
    worker.args(["--exact", "worker", "--ignored", "--nocapture"]).env(URL, url);
    if bug {
        worker.env(BUG, "1");
    }
    worker.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// The workers. They are killed when this is dropped.
struct Workers(Vec<Child>);

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

async fn send(store: &Store, stream: StreamName, message: NewMessage) {
    store.append(Append::to(stream).message(message).into()).await.unwrap();
}

async fn send_to_account(store: &Store, command: &Command) {
    let stream = component::command_stream(command.account_id()).unwrap();
    send(store, stream, NewMessage::from_variant(command).unwrap()).await;
}

async fn messages_of(store: &Store, category: &str) -> Vec<Message> {
    store.category_messages(&Category::new(category).unwrap(), Read::default()).try_collect().await.unwrap()
}

/// Opens the accounts. The last one is closed again, so that deposits to it are refused.
async fn open_accounts(store: &Store) {
    let time = Timestamp::now();
    for number in 0..=ACCOUNTS {
        let account_id = number.to_string();
        let open = Command::Open { account_id: account_id.clone(), customer_id: "c".into(), time };
        send_to_account(store, &open).await;
        if number == ACCOUNTS {
            send_to_account(store, &Command::Close { account_id, time, expected_version: None }).await;
        } else {
            let (deposit_id, amount) = ("beginning".to_owned(), Money::from_hundredths(BEGINNING));
            send_to_account(store, &Command::Deposit { deposit_id, account_id, amount, time, expected_version: None })
                .await;
        }
    }
}

/// Sends the transfers, some of them twice, and some of those with another amount the second time. Kills a worker now
/// and then. Returns the number of transfers.
async fn send_transfers(store: &Store, url: &str, workers: &mut Workers, kill: bool) -> u64 {
    let seed = setting("MESSAGE_STORE_TRANSFERS_SEED").unwrap_or(11);
    let count = setting("MESSAGE_STORE_TRANSFERS").unwrap_or(300);
    println!("MESSAGE_STORE_TRANSFERS={count} MESSAGE_STORE_TRANSFERS_SEED={seed}");
    let mut random = Random(seed);
    let bug = !kill;
    for number in 0..count {
        let transfer = |amount: i64, random: &mut Random| Received::Transfer {
            transfer_id: number.to_string(),
            withdrawal_account_id: random.below(ACCOUNTS).to_string(),
            deposit_account_id: random.below(ACCOUNTS + 1).to_string(),
            amount: Money::from_hundredths(amount),
            time: Timestamp::now(),
        };
        // Some amounts are above the balance.
        let first = transfer(i64::try_from(random.below(4_000)).unwrap(), &mut random);
        let second = match random.below(6) {
            0 => Some(first.clone()),
            1 => Some(transfer(1, &mut random)),
            _ => None,
        };
        for transfer in [Some(first), second].into_iter().flatten() {
            let stream = transfer::command_stream(&number.to_string()).unwrap();
            send(store, stream, NewMessage::from_variant(&transfer).unwrap()).await;
        }
        if random.below(10) == 0 {
            time_out_one(store, &mut random).await;
        }
        if kill && random.below(60) == 0 {
            let index = random.below(workers.0.len());
            workers.0[index].kill().unwrap();
            workers.0[index].wait().unwrap();
            workers.0[index] = start(url, bug);
        }
    }
    count
}

/// Lets the time-out of a transfer pass that waits for its withdrawal.
async fn time_out_one(store: &Store, random: &mut Random) {
    let timers = store.timers().unwrap();
    let waiting = timers.list(TimerQuery::new()).await.unwrap();
    if waiting.is_empty() {
        return;
    }
    let key = waiting[random.below(waiting.len())].key.clone();
    let _ = timers.change(vec![TimerChange::Move { key, due: Due::After(Duration::ZERO) }]).await.unwrap();
}

/// Each transfer, and the types of its events.
async fn transfers(store: &Store) -> BTreeMap<String, (Transfer, Vec<String>)> {
    let entities = EntityStore::<Transfer>::new(store);
    let mut transfers: BTreeMap<String, (Transfer, Vec<String>)> = BTreeMap::new();
    for message in messages_of(store, "fundsTransfer").await {
        let id = message.stream.id().unwrap().to_owned();
        if let Some((_, events)) = transfers.get_mut(&id) {
            events.push(message.message_type);
            continue;
        }
        let transfer = entities.fetch(&id).await.unwrap().state.clone();
        transfers.insert(id, (transfer, vec![message.message_type]));
    }
    transfers
}

/// Runs the transfers. Returns what is wrong.
async fn run(url: &str, bug: bool) -> Vec<String> {
    let store = connect(url).await.unwrap();
    open_accounts(&store).await;
    let mut workers = Workers((0..3).map(|_| start(url, bug)).collect());
    let count = send_transfers(&store, url, &mut workers, !bug).await;
    tokio::time::timeout(HANGS, until_idle(&store)).await.expect("all messages are handled");
    drop(workers);
    wrong(&store, count).await
}

/// Waits until all messages are handled, also those that were written meanwhile.
async fn until_idle(store: &Store) {
    let groups =
        [(component::COMMANDS, "accounts"), (transfer::COMMANDS, "fundsTransfer"), ("account", "fundsTransfer")];
    let is_handled = async |category: &str, identifier: &str| {
        let end = store.backlog(&Category::new(category).unwrap(), GlobalPosition::ZERO).await.unwrap().end;
        let status = GroupStatus::of(store, category, Some(identifier)).await.unwrap();
        status.is_some_and(|status| status.slots.iter().all(|slot| slot.position >= end))
    };
    let mut before = None;
    loop {
        let mut are_handled = true;
        for (category, identifier) in groups {
            are_handled &= is_handled(category, identifier).await;
        }
        let end = store.given_out(None).await.unwrap();
        if are_handled && before == Some(end) {
            return;
        }
        before = are_handled.then_some(end);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The differences from the promise.
async fn wrong(store: &Store, count: u64) -> Vec<String> {
    let transfers = transfers(store).await;
    let mut wrong = Vec::new();
    if transfers.len() as u64 != count {
        wrong.push(format!("{} of {count} transfers have begun", transfers.len()));
    }
    let accounts = EntityStore::<Account>::new(store);
    let (mut total, mut stages) = (Money::ZERO, BTreeMap::new());
    let mut expected: BTreeMap<String, Money> = BTreeMap::new();
    for number in 0..ACCOUNTS {
        expected.insert(number.to_string(), Money::from_hundredths(BEGINNING));
    }
    for (id, (transfer, events)) in &transfers {
        *stages.entry(format!("{:?}", transfer.stage)).or_insert(0) += 1;
        if !WAYS.iter().any(|way| way.split_whitespace().eq(events.iter().map(String::as_str))) {
            wrong.push(format!("transfer {id} is {:?} and has {events:?}", transfer.stage));
        }
        if transfer.stage == Stage::Transferred {
            *expected.entry(transfer.withdrawal_account_id.clone()).or_default() -= transfer.amount;
            *expected.entry(transfer.deposit_account_id.clone()).or_default() += transfer.amount;
        }
    }
    println!("{stages:?}");
    for (account, expected) in expected {
        let balance = accounts.fetch(&account).await.unwrap().state.balance;
        total += balance;
        if balance != expected {
            wrong.push(format!("account {account} has {balance}, and its transfers lead to {expected}"));
        }
    }
    let beginning = Money::from_hundredths(BEGINNING * i64::try_from(ACCOUNTS).unwrap());
    if total != beginning {
        wrong.push(format!("there were {beginning}, and now there are {total}"));
    }
    let commands = messages_of(store, component::COMMANDS).await.len();
    let requests: usize = transfers
        .values()
        .map(|(transfer, events)| match transfer.stage {
            Stage::Cancelled => 1,
            Stage::Refunded if !events.contains(&"TimedOut".to_owned()) => 3,
            _ => 2,
        })
        .sum();
    let own = 2 * (ACCOUNTS + 1);
    if commands != own + requests {
        wrong.push(format!("{} commands were sent to accounts for {requests} requests", commands - own));
    }
    let waiting = store.timers().unwrap().list(TimerQuery::new()).await.unwrap();
    if !waiting.is_empty() {
        wrong.push(format!("timers wait: {waiting:?}"));
    }
    let received = messages_of(store, transfer::COMMANDS).await;
    let time_outs: Vec<_> = received.iter().filter(|message| message.message_type == "TimeOut").collect();
    let streams: BTreeSet<_> = time_outs.iter().map(|message| &message.stream).collect();
    if streams.len() < time_outs.len() {
        wrong.push(format!("{} time-outs fired for {} transfers", time_outs.len(), streams.len()));
    }
    println!("{} time-outs", time_outs.len());
    for message in messages_of(store, "fundsTransfer").await {
        let event: Event = message.decode_variant().unwrap().unwrap();
        if matches!(event, Event::RefundRefused { .. }) {
            wrong.push(format!("{event:?}"));
        }
    }
    wrong
}

async fn sqlite(bug: bool) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    run(&format!("sqlite:{}", folder.path().join("store.db").display()), bug).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_on_postgres() {
    let database = TestDatabase::create().await;
    assert_eq!(run(database.url(), false).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_on_sqlite() {
    assert_eq!(sqlite(false).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_with_what_is_remembered_some_transfers_do_not_end() {
    assert_ne!(sqlite(true).await, Vec::<String>::new());
}
