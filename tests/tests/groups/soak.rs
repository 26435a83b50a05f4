//! Elastic groups of several processes that are stopped, killed and halted at random, with letters and delays.
#![allow(missing_docs, clippy::unwrap_used, clippy::too_many_lines)]
#![cfg(unix)]

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use message_store::consumer::{Consumer, DeadLetters, ElasticGroup, GroupStatus, LetterQuery, OnFailure, WaitsFor};
use message_store::handling::{CommandHandler, Context, Fault, Handler};
use message_store::{Message, MessageStore, Outcome, Source, connect};
use message_store_tests::accounts::{Account, balance, messages_of, send_deposits};
use message_store_tests::elastic::out_of_order;
use message_store_tests::expire::AgeingStore;
use message_store_tests::random::{Random, setting};
use tokio::process::{Child, Command};
use tokio::time::sleep;

const LEASE: Duration = Duration::from_secs(1);
const ACCOUNTS: usize = 30;

/// Some messages fail, and some are delayed.
struct Flaky {
    decide: CommandHandler<Account>,
    mended: Option<std::path::PathBuf>,
}

fn number(message: &Message) -> u64 {
    let id = message.id.to_string();
    u64::from_str_radix(&id[id.len() - 6..], 16).unwrap()
}

#[async_trait]
impl Handler for Flaky {
    fn name(&self) -> &'static str {
        "Account"
    }
    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }
    async fn handle(&self, message: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        let is_mended = self.mended.as_ref().is_some_and(|path| path.exists());
        if !is_mended && number(message).is_multiple_of(10) && rand().is_multiple_of(2) {
            return Err(Fault::again_after(Duration::from_millis(300), "not yet").into());
        }
        if !is_mended && number(message) % 23 == 1 && !rand().is_multiple_of(3) {
            return Err("it fails".into());
        }
        if number(message).is_multiple_of(7) {
            sleep(Duration::from_millis(rand() % 60)).await;
        }
        Ok(self.decide.carry_out(message).await?)
    }
}

/// A message that waits behind another, or for its time, is not retried by hand: that would change the order.
fn operators() -> LetterQuery {
    LetterQuery::default().waiting_for(WaitsFor::Operator)
}

fn rand() -> u64 {
    u64::from(uuid::Uuid::new_v4().as_bytes()[0])
}

/// The member process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process of the other tests"]
async fn member_process() {
    let Ok(url) = std::env::var("MESSAGE_STORE_SOAK_OF") else { return };
    let store: Arc<dyn MessageStore> = connect(&url).await.unwrap();
    let mended = std::env::var("MESSAGE_STORE_SOAK_MENDED").ok().map(Into::into);
    let handler = Flaky { decide: CommandHandler::new(&store), mended };
    let consumer =
        Consumer::new("account:command", handler).identifier("g").on_failure(OnFailure::Hold).max_attempts(2);
    let consumer = consumer.concurrency(8).elastic_group(ElasticGroup::new().lease(LEASE));
    let stop = async {
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap().recv().await;
    };
    let result = consumer.run_until(&store, stop).await;
    if let Err(error) = result {
        eprintln!("MEMBER ENDED: {error}");
        std::process::exit(3);
    }
}

fn spawn(url: &str, mended: &std::path::Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["soak::member_process", "--exact", "--ignored", "--nocapture"])
        .env("MESSAGE_STORE_SOAK_OF", url)
        .env("MESSAGE_STORE_SOAK_MENDED", mended);
    command.stdout(Stdio::null()).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

fn signal(child: &Child, signal: &str) {
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// Returns after all messages are handled, each once and in order.
async fn soak(place: AgeingStore, seed: u64, changes: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mended = folder.path().join("mended");
    let url = place.url();
    let store: Arc<dyn MessageStore> = connect(&url).await.unwrap();
    let mut random = Random(seed);
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let sending = tokio::spawn({
        let (store, is_over) = (store.clone(), is_over.clone());
        async move {
            let mut rounds = 0_u64;
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                for account in 0..ACCOUNTS {
                    send_deposits(&store, "account:command", &account.to_string(), 1).await;
                }
                rounds += 1;
                sleep(Duration::from_millis(250)).await;
            }
            rounds
        }
    });
    let letters = DeadLetters::of(&store, "account:command", Some("g")).unwrap();
    let mut members: Vec<Child> = (0..3).map(|_| spawn(&url, &mended)).collect();
    let mut ended = Vec::new();
    sleep(Duration::from_secs(2)).await;
    for change in 0..changes {
        let number = random.below(members.len());
        match random.below(5) {
            0 => {
                members[number].start_kill().unwrap();
                let _ = members.remove(number).wait().await;
                members.push(spawn(&url, &mended));
            }
            1 | 2 => {
                signal(&members[number], "-STOP");
                sleep(Duration::from_millis(400 + random.below(3500) as u64)).await;
                signal(&members[number], "-CONT");
            }
            3 => {
                signal(&members[number], "-TERM");
                let status = members.remove(number).wait().await.unwrap();
                if !status.success() {
                    ended.push((change, format!("{status}")));
                }
                members.push(spawn(&url, &mended));
            }
            _ => {
                let _ = letters.retry_all(&operators()).await;
            }
        }
        if random.below(2) == 0 {
            let _ = letters.retry_all(&operators()).await;
        }
        sleep(Duration::from_millis(random.below(700) as u64)).await;
        for member in &mut members {
            if let Some(status) = member.try_wait().unwrap() {
                ended.push((change, format!("by itself: {status}")));
                *member = spawn(&url, &mended);
            }
        }
    }
    is_over.store(true, std::sync::atomic::Ordering::SeqCst);
    let rounds = sending.await.unwrap();
    std::fs::write(&mended, "").unwrap();
    let last = messages_of(&store, "account:command").await.last().unwrap().global_position;
    let begun = Instant::now();
    let mut left = Vec::new();
    while begun.elapsed() < Duration::from_mins(3) {
        let _ = letters.retry_all(&operators()).await;
        left = letters.list().await.unwrap();
        let status = GroupStatus::of(&store, "account:command", Some("g")).await.unwrap().unwrap();
        if left.is_empty() && status.slots.iter().all(|slot| slot.position >= last) {
            break;
        }
        sleep(Duration::from_millis(300)).await;
    }
    let status = GroupStatus::of(&store, "account:command", Some("g")).await.unwrap().unwrap();
    let behind = status.slots.iter().filter(|slot| slot.position < last).count();
    println!("seed {seed}: {changes} changes, {rounds} rounds, settled in {:?}, ended {ended:?}", begun.elapsed());
    let mut wrong = Vec::new();
    for account in 0..ACCOUNTS {
        let found = balance(&store, &account.to_string()).await;
        if found != rounds {
            wrong.push(format!("account {account}: {found} of {rounds}"));
        }
    }
    wrong.extend(out_of_order(&store, ACCOUNTS).await);
    for member in &members {
        signal(member, "-TERM");
    }
    for mut member in members {
        let status = member.wait().await.unwrap();
        if !status.success() {
            ended.push((changes, format!("at the end: {status}")));
        }
    }
    let open: Vec<String> = left.iter().map(|letter| format!("{letter}")).collect();
    assert!(
        wrong.is_empty() && open.is_empty() && behind == 0 && ended.is_empty(),
        "behind {behind}, ended {ended:?}, open {}: {open:#?}, wrong {wrong:#?}",
        open.len()
    );
}

/// The number of changes (8; for a long run, `MESSAGE_STORE_GROUP_CHANGES`), and the seed.
fn changes_and_seed() -> (usize, u64) {
    let changes = setting("MESSAGE_STORE_GROUP_CHANGES").unwrap_or(8);
    (usize::try_from(changes).unwrap(), setting("MESSAGE_STORE_GROUP_SEED").unwrap_or(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_stopped_killed_and_halted_lose_nothing_on_postgres() {
    let (changes, seed) = changes_and_seed();
    soak(AgeingStore::postgres().await, seed, changes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_stopped_killed_and_halted_lose_nothing_on_sqlite() {
    let (changes, seed) = changes_and_seed();
    soak(AgeingStore::sqlite(), seed, changes).await;
}
