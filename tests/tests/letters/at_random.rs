//! Random moves of commands and their letters between three stores, with consumers that fail, crash and change their
//! policies. In the end, no command is lost, none has two effects, and no discarded command is carried out.
//!
//! `LETTERS_SEED` is the first seed, and `LETTERS_RUNS` the number of runs of each test.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::{ConsumerHandle, DeadLetter, DeadLetters, LetterState, OnFailure};
use message_store::operations::Transfer;
use message_store::{Category, Message, MessageId, MessageStore};
use message_store_tests::accounts::{balance, messages_of, postgres, send_deposits, sqlite};
use message_store_tests::marked::Marked;
use message_store_tests::random::{Random, setting};

type Store = Arc<dyn MessageStore>;

const COMMANDS: &str = "account:command";
const LETTERS: &str = "account:command+deadLetter+g";
const ACCOUNTS: [&str; 2] = ["1", "2"];

/// Three stores, one of which is in use.
struct Run {
    random: Random,
    stores: [Store; 3],
    active: usize,
    /// Commands may be copied before their letters while a consumer runs on the target, and other commands are sent to
    /// the target meanwhile. Operators discard nothing then.
    wild: bool,
    bad: Vec<Message>,
    sent: HashMap<MessageId, &'static str>,
    discarded: HashSet<MessageId>,
    log: Vec<String>,
}

fn letters(store: &Store) -> DeadLetters {
    DeadLetters::of(store, COMMANDS, Some("g")).unwrap()
}

/// The open letters; none if no consumer has run.
async fn open(store: &Store) -> Vec<DeadLetter> {
    letters(store).list().await.unwrap_or_default()
}

async fn start(store: &Store, policy: OnFailure, failing: &[Message], size: u16) -> Vec<ConsumerHandle> {
    let handler = Marked::new(store, None);
    for message in failing {
        handler.fail(message);
    }
    handler.start_group(store, policy, size, None).await
}

async fn until_all_is_handled(store: &Store, group: &mut [ConsumerHandle]) {
    let Some(last) = messages_of(store, COMMANDS).await.pop() else { return };
    for consumer in group {
        consumer.wait_for(last.global_position).await.unwrap();
    }
}

async fn stop(group: Vec<ConsumerHandle>) {
    for consumer in group {
        let _ = consumer.stop().await.unwrap();
    }
}

async fn copy(from: &Store, to: &Store, categories: &[&str]) {
    for category in categories {
        let copied = Transfer::new(from, to).copy(&Category::new(*category).unwrap(), |_| ()).await;
        copied.unwrap_or_else(|error| panic!("copying {category}: {error}"));
    }
}

impl Run {
    fn new(seed: u64, stores: [Store; 3], wild: bool) -> Self {
        let log = vec![format!("seed {seed}, wild {wild}")];
        let (bad, sent, discarded) = (Vec::new(), HashMap::new(), HashSet::new());
        Self { random: Random(seed), stores, active: 0, wild, bad, sent, discarded, log }
    }

    fn store(&self) -> Store {
        Arc::clone(&self.stores[self.active])
    }

    async fn pause(&mut self) {
        let time = self.random.below(20);
        tokio::time::sleep(Duration::from_millis(time.try_into().unwrap())).await;
    }

    async fn send(&mut self, at: usize, account: &'static str) -> Message {
        let message = send_deposits(&self.stores[at], COMMANDS, account, 1).await.remove(0);
        self.log.push(format!("{} is sent to {at}, account {account}", message.id));
        self.sent.insert(message.id, account);
        message
    }

    async fn send_some(&mut self) {
        for _ in 0..=self.random.below(4) {
            let account = ACCOUNTS[self.random.below(2)];
            let at = if self.random.below(5) == 0 { self.random.below(3) } else { self.active };
            let message = self.send(at, account).await;
            if self.random.below(3) == 0 {
                self.log.push("  it is bad".into());
                self.bad.push(message);
            }
        }
    }

    async fn consume(&mut self) {
        let policy = [OnFailure::Hold, OnFailure::Park, OnFailure::Stop][self.random.below(3)];
        let size = if self.random.below(2) == 0 { 1 } else { 2 };
        let failing = if policy == OnFailure::Stop { &[][..] } else { &self.bad };
        let mut group = start(&self.store(), policy, failing, size).await;
        let crashes = self.random.below(3) == 0;
        self.log.push(format!("{size} run at {} under {policy:?}, crash: {crashes}", self.active));
        if crashes {
            self.pause().await;
            return;
        }
        until_all_is_handled(&self.store(), &mut group).await;
        stop(group).await;
    }

    async fn decide(&mut self) {
        let store = self.store();
        let mut parked = open(&store).await;
        parked.retain(|letter| letter.state == LetterState::Parked);
        if parked.is_empty() {
            return;
        }
        let letter = &parked[self.random.below(parked.len())];
        let id = letter.message.id;
        if self.wild || self.random.below(3) > 0 {
            let is_asked = letters(&store).retry(letter).await.unwrap();
            self.log.push(format!("{id} is retried at {}: {is_asked}", self.active));
        } else if letters(&store).discard(letter, "bad").await.unwrap() {
            self.log.push(format!("{id} is discarded at {}", self.active));
            let message = store.message(id).await.unwrap().unwrap();
            let events = messages_of(&store, "account").await;
            // A command that was carried out before the discard has its effect.
            if !events.iter().any(|event| event.decode_metadata().follows(&message, store.store_id())) {
                self.discarded.insert(id);
            }
        }
    }

    async fn relocate(&mut self) {
        let (from, to) = (self.active, self.random.below(3));
        if from == to {
            return;
        }
        let (source, target) = (self.store(), Arc::clone(&self.stores[to]));
        let mut order = [LETTERS, COMMANDS];
        if self.random.below(2) == 0 {
            order.reverse();
        }
        let runs = self.random.below(2) == 0 && (self.wild || order[0] == LETTERS);
        let policy = [OnFailure::Hold, OnFailure::Park][self.random.below(2)];
        self.log.push(format!("from {from} to {to}: {order:?}, a consumer runs there: {runs} {policy:?}"));
        copy(&source, &target, &["account"]).await;
        let group = if runs { start(&target, policy, &self.bad, 1).await } else { Vec::new() };
        for category in order {
            if self.wild && self.random.below(2) == 0 {
                self.send(to, "1").await;
                self.pause().await;
            }
            copy(&source, &target, &[category]).await;
            self.pause().await;
        }
        stop(group).await;
        self.active = to;
    }

    async fn step(&mut self) {
        match self.random.below(8) {
            0 | 1 => self.send_some().await,
            2 | 3 => self.consume().await,
            4 => self.decide().await,
            5 => drop(self.bad.drain(..self.bad.len() / 2)),
            _ => self.relocate().await,
        }
    }

    /// Copies all commands to one store, and retries the commands that failed. Commands that waited behind them must
    /// follow without a retry. (If the target was written to before the letters were copied, a command may wait behind
    /// no letter. So later rounds retry these too.)
    async fn end(&mut self) {
        let store = self.store();
        for from in (0..3).filter(|from| *from != self.active) {
            copy(&self.stores[from], &store, &[COMMANDS]).await;
        }
        let mut group = start(&store, OnFailure::Hold, &[], 1).await;
        until_all_is_handled(&store, &mut group).await;
        for round in 0.. {
            let open = open(&store).await;
            if open.is_empty() {
                break;
            }
            for letter in &open {
                if letter.state == LetterState::Parked && (letter.attempts > 0 || (self.wild && round > 20)) {
                    let _ = letters(&store).retry(letter).await.unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        until_all_is_handled(&store, &mut group).await;
        stop(group).await;
        for account in ACCOUNTS {
            let is_due = |(id, of): &(&MessageId, &&str)| **of == account && !self.discarded.contains(id);
            let expected = self.sent.iter().filter(is_due).count() as u64;
            assert_eq!(balance(&store, account).await, expected, "account {account}");
        }
    }
}

/// # Panics
/// If a command is lost, has two effects or is never handled. Prints the steps of the run.
async fn run(seed: u64, stores: [Store; 3], wild: bool) {
    let mut run = Run::new(seed, stores, wild);
    let all = async {
        for _ in 0..14 {
            run.step().await;
        }
        run.end().await;
    };
    let result = std::panic::AssertUnwindSafe(tokio::time::timeout(Duration::from_mins(1), all));
    match futures_util::FutureExt::catch_unwind(result).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => panic!("stuck: {:#?} {:#?}", run.log, open(&run.store()).await),
        Err(panic) => {
            eprintln!("{:#?}", run.log);
            std::panic::resume_unwind(panic);
        }
    }
}

async fn runs(wild: bool, first: u64) {
    let first = setting("LETTERS_SEED").unwrap_or(first);
    let count = setting("LETTERS_RUNS").unwrap_or(12);
    let mut runs = tokio::task::JoinSet::new();
    for seed in first..first + count {
        runs.spawn(async move { run(seed, [sqlite().await, sqlite().await, sqlite().await], wild).await });
        if runs.len() == 6 {
            runs.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = runs.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_moves_lose_and_double_nothing_and_carry_out_nothing_that_was_discarded() {
    runs(false, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_moves_to_stores_that_are_written_to_lose_and_double_nothing() {
    runs(true, 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_moves_from_and_to_postgres_lose_and_double_nothing() {
    run(2000, [postgres().await, sqlite().await, postgres().await], false).await;
    run(3000, [postgres().await, sqlite().await, postgres().await], true).await;
}
