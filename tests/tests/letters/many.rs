//! Many letters are retried by a process that is killed at one step after the other. Nothing is lost, nothing is done
//! twice, and the process needs little memory.
//!
//! `MESSAGE_STORE_LETTERS` is the number of letters. The short form has a few hundred, and the long form 100,000.
#![allow(missing_docs, clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use message_store::consumer::{
    Consumer, ConsumerHandle, DeadLetters, LetterQuery, OnFailure, PlantedBug, Process, WaitsFor,
};
use message_store::handling::{CommandHandler, Context, Handler};
use message_store::testing::FaultyStore;
use message_store::{
    ExpectedVersion, GlobalPosition, Message, MessageStore, MessageStoreExt as _, NewMessage, Outcome, Source,
    StreamName, connect,
};
use message_store_tests::accounts::{Account, Command as Deposit, balance, member};
use message_store_tests::elastic::until;
use message_store_tests::memory::peak_of;
use message_store_tests::on_both_stores;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::setting;
use tokio::time::sleep;

type Store = Arc<dyn MessageStore>;

const COMMANDS: &str = "account:command";
const URL: &str = "MESSAGE_STORE_RETRIES_OF";
/// The letters of each account.
const PER_ACCOUNT: u64 = 50;
/// The memory that a process may need, in KiB.
const MEMORY: u64 = 100 << 10;

fn count(short: u64) -> u64 {
    setting("MESSAGE_STORE_LETTERS").unwrap_or(short)
}

fn accounts(count: u64) -> u64 {
    count.div_ceil(PER_ACCOUNT)
}

/// Handles deposits, or fails at each of them.
#[derive(Clone)]
struct Failing {
    decide: Arc<CommandHandler<Account>>,
    fails: Arc<AtomicBool>,
    process: Process,
}

#[async_trait]
impl Handler for Failing {
    fn name(&self) -> &'static str {
        "Account"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, message: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        if self.fails.load(Ordering::SeqCst) {
            return Err("a bad deployment".into());
        }
        Ok(self.decide.carry_out(message).await?)
    }
}

impl Failing {
    fn new(store: &Store) -> Self {
        let fails = Arc::new(AtomicBool::new(true));
        Self { decide: Arc::new(member(store, None)), fails, process: Process::default() }
    }

    async fn start(&self, store: &Store, checkpoints: Option<u64>, bug: Option<PlantedBug>) -> ConsumerHandle {
        let consumer = Consumer::new(COMMANDS, self.clone()).concurrency(32).on_failure(OnFailure::Park);
        let mut consumer = consumer.max_attempts(1).in_process(&self.process);
        if let Some(every) = checkpoints {
            consumer = consumer.checkpoint_letters_every(every);
        }
        if let Some(bug) = bug {
            consumer = consumer.plant(bug);
        }
        consumer.start(store).await.unwrap()
    }
}

fn letters(store: &Store) -> DeadLetters {
    DeadLetters::of(store, COMMANDS, None).unwrap()
}

/// Sends so many deposits, all of which fail and have a letter then.
async fn set_aside(store: &Store, handler: &Failing, count: u64, consumer: &mut ConsumerHandle) {
    let mut last = GlobalPosition::ZERO;
    for account in 0..accounts(count) {
        let deposits = PER_ACCOUNT.min(count - account * PER_ACCOUNT);
        let deposits = (0..deposits).map(|_| NewMessage::from_variant(&Deposit::Deposit { amount: 1 }).unwrap());
        let stream = StreamName::new(format!("{COMMANDS}-{account}")).unwrap();
        let sent = store.append_to(&stream, ExpectedVersion::Any, deposits.collect()).await.unwrap();
        last = sent.written.last().unwrap().global_position;
    }
    consumer.wait_for(last).await.unwrap();
    handler.fails.store(false, Ordering::SeqCst);
}

async fn deposited(store: &Store, count: u64) -> u64 {
    let mut sum = 0;
    for account in 0..accounts(count) {
        sum += balance(store, &account.to_string()).await;
    }
    sum
}

/// Retries all letters in processes that end after one step more each time. `steps` is the number of further steps of
/// each. Returns the number of processes, and of open letters and deposits in the end.
async fn retried_step_by_step(store: &Store, count: u64, bug: Option<PlantedBug>) -> (u32, usize, u64) {
    let handler = Failing::new(store);
    let mut consumer = handler.start(store, Some(50), bug).await;
    set_aside(store, &handler, count, &mut consumer).await;
    let query = LetterQuery::default();
    let further = u32::try_from(count / 100).unwrap().max(1);
    let mut processes = 0;
    loop {
        processes += 1;
        let process = FaultyStore::new(store);
        process.die_after((processes - 1) * further);
        let shared: Store = process.clone();
        let letters = letters(&shared);
        tokio::select! {
            requests = letters.retry_all(&query) => {
                requests.unwrap();
                break;
            }
            () = process.has_died() => {}
        }
    }
    let is_done = async || letters(store).list().await.unwrap().is_empty();
    until("no letter is open", is_done).await;
    let _ = consumer.stop().await.unwrap();
    // A reader that begins at the first message finds what a wrong checkpoint hides.
    let closed = letters(store).count(&LetterQuery::default().closed()).await.unwrap();
    (processes, usize::try_from(count - closed).unwrap(), deposited(store, count).await)
}

on_both_stores! {
    async fn letters_whose_retry_ends_at_each_step_are_all_delivered_once(store) {
        let count = setting("MESSAGE_STORE_LETTERS").unwrap_or(100).min(3_000);
        let (processes, open, deposited) = retried_step_by_step(&store, count, None).await;
        assert_eq!((open, deposited), (0, count), "after {processes} processes");
        assert!(processes > 50, "{processes} processes");
    }

    async fn twin_when_checkpoints_list_no_letters_some_are_never_delivered(store) {
        let (_, open, deposited) = retried_step_by_step(&store, 300, Some(PlantedBug::CheckpointsListNothing)).await;
        assert!(open > 0 && deposited < 300, "{open} are open, {deposited} are deposited");
    }
}

/// The process that is killed: `retry --all`. Without its setting, this test does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_all_in_another_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = connect(&url).await.unwrap();
    let query = LetterQuery::default().waiting_for(WaitsFor::Operator);
    let requests = letters(&store).retry_all(&query).await.unwrap();
    println!("{requests} requests, {} KiB", peak_of(std::process::id()).unwrap_or_default());
}

fn retry_in_another_process(url: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "many::retries_all_in_another_process", "--nocapture"]).env(URL, url);
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// Retries all letters in processes that are killed, and starts the consumer again after some of them as after a crash.
async fn retried_by_killed_processes(url: &str) {
    let (store, count) = (connect(url).await.unwrap(), count(500));
    let handler = Failing::new(&store);
    let mut consumer = handler.start(&store, None, None).await;
    let begun = Instant::now();
    set_aside(&store, &handler, count, &mut consumer).await;
    println!(
        "{count} letters were written in {:?}; the consumer's process needs {:?} KiB",
        begun.elapsed(),
        peak_of(std::process::id())
    );
    let begun = Instant::now();
    let (mut killed, mut peak) = (0, 0);
    loop {
        let mut process = retry_in_another_process(url);
        let lives = Duration::from_millis(20 + killed * count / 10);
        let end = Instant::now() + lives;
        let mut ended = None;
        while ended.is_none() && Instant::now() < end {
            peak = peak_of(process.id()).unwrap_or_default().max(peak);
            sleep(Duration::from_millis(2)).await;
            ended = process.try_wait().unwrap();
        }
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        killed += 1;
        if killed % 4 == 0 {
            drop(consumer);
            consumer = handler.start(&store, None, None).await;
        }
    }
    println!("{killed} processes were killed, and one ended, in {:?}; they needed at most {peak} KiB", begun.elapsed());
    let is_done = async || {
        // A message that was under way in a consumer that was dropped may have been blamed, and is retried.
        let failed = LetterQuery::default().waiting_for(WaitsFor::Operator);
        letters(&store).retry_all(&failed).await.unwrap();
        letters(&store).list().await.unwrap().is_empty()
    };
    while !is_done().await {
        sleep(Duration::from_millis(100)).await;
    }
    println!(
        "all were delivered after {:?}; the consumer's process needs {:?} KiB",
        begun.elapsed(),
        peak_of(std::process::id())
    );
    let _ = consumer.stop().await.unwrap();
    assert_eq!(deposited(&store, count).await, count);
    assert!(killed > 0 && peak < MEMORY, "{killed} were killed, {peak} KiB");
    let counter = FaultyStore::new(&store);
    let shared: Store = counter.clone();
    let begun = Instant::now();
    assert!(letters(&shared).list().await.unwrap().is_empty());
    let (listed, of_list) = (begun.elapsed(), counter.messages_read());
    let begun = Instant::now();
    let consumer = handler.start(&shared, None, None).await;
    let of_start = counter.messages_read() - of_list;
    println!("a list reads {of_list} messages in {listed:?}, and a start {of_start} in {:?}", begun.elapsed());
    let _ = consumer.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_retry_letters_on_postgres() {
    retried_by_killed_processes(TestDatabase::create().await.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_retry_letters_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    connect(&url).await.unwrap();
    retried_by_killed_processes(&url).await;
}
