//! A standby is promoted again and again while eight writers send deposits, some of them repeatedly, and a consumer carries
//! them out. The store has one URL with both hosts, and is not opened again. Then nothing that was acknowledged may be missing
//! or be there twice, no position may be missing, and the balances must be right.
//!
//! `MESSAGE_STORE_PROMOTIONS` sets the number of promotions (default 2), `MESSAGE_STORE_PROMOTIONS_SEED` the seed. With
//! `--nocapture`, the test prints its figures.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use message_store::consumer::Consumer;
use message_store::postgres::{PostgresOptions, PostgresStore};
use message_store::{
    Append, AppendRequest, Error, GlobalPosition, MessageId, MessageStore, MessageStoreExt as _, NewMessage, Place,
    Position, Read, StreamName,
};
use message_store_tests::accounts::{Command, balance, member};
use message_store_tests::postgres::{Fault, Pair, Standby, programs_are_left_out};
use message_store_tests::random::{Random, setting};
use tokio::time::{sleep, timeout};

type Store = Arc<dyn MessageStore>;

const WRITERS: usize = 8;
/// Each account has one writer.
const ACCOUNTS: usize = 24;
/// The time within which the server must answer. A frozen primary is given up after it.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The time-out for events that must happen.
const COMES: Duration = Duration::from_mins(3);
/// In this order, again and again.
const FAULTS: [Fault; 4] = [Fault::Killed, Fault::Deposed, Fault::Immediate, Fault::Frozen];

/// What a writer has done.
#[derive(Default)]
struct Written {
    /// Each message that was acknowledged, with its place.
    acknowledged: Vec<(MessageId, StreamName, Place)>,
    /// What the accounts must have.
    balances: BTreeMap<String, u64>,
    /// The longest time from the first attempt of an append to its acknowledgement.
    longest: Duration,
}

/// What all writers share.
struct Load {
    store: Store,
    ends: AtomicBool,
    /// The messages that were acknowledged.
    acknowledged: AtomicU64,
    /// The answers that said that the commit is unknown.
    unknown: AtomicU64,
}

impl Load {
    /// Appends a message until it is acknowledged.
    async fn send(&self, stream: &StreamName, message: &NewMessage) -> Place {
        let request: AppendRequest = Append::to(stream.clone()).message(message.clone()).into();
        let deadline = Instant::now() + COMES;
        loop {
            match self.store.append(request.clone()).await {
                Ok(appended) => {
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    return appended.written[0];
                }
                Err(error) => {
                    assert!(error.is_transient() && Instant::now() < deadline, "{error}");
                    let is_unknown = matches!(error, Error::CommitUnknown { .. });
                    self.unknown.fetch_add(u64::from(is_unknown), Ordering::SeqCst);
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Sends deposits until the load ends: one in five twice as the same message, and one in five as another message of
    /// the same deposit.
    async fn write(self: Arc<Self>, writer: usize, seed: u64) -> Written {
        let (mut random, mut written) = (Random(seed.wrapping_add(writer as u64)), Written::default());
        let mut number = 0;
        while !self.ends.load(Ordering::SeqCst) {
            let account = (writer + WRITERS * random.below(ACCOUNTS / WRITERS)).to_string();
            let (deposit_id, amount) = (format!("{writer}-{number}"), 1 + random.below(100) as u64);
            let command = Command::DepositOnce { deposit_id, amount, time: "now".to_owned() };
            let stream = StreamName::new(format!("account:command-{account}")).unwrap();
            *written.balances.entry(account).or_default() += amount;
            let message = NewMessage::from_variant(&command).unwrap();
            let mut messages = vec![message.clone()];
            match random.below(5) {
                0 => messages.push(message),
                1 => messages.push(NewMessage::from_variant(&command).unwrap()),
                _ => {}
            }
            for message in messages {
                let begun = Instant::now();
                let place = self.send(&stream, &message).await;
                written.longest = written.longest.max(begun.elapsed());
                written.acknowledged.push((message.id, stream.clone(), place));
            }
            number += 1;
            sleep(Duration::from_millis(2)).await;
        }
        written
    }

    /// Waits until this many more messages are acknowledged.
    async fn until_more(&self, count: u64) {
        let goal = self.acknowledged.load(Ordering::SeqCst) + count;
        while self.acknowledged.load(Ordering::SeqCst) < goal {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn open(url: &str) -> Store {
    Arc::new(PostgresOptions::from_url(url).unwrap().answer_within(ANSWER_WITHIN).open().await.unwrap())
}

/// What is wrong with the messages of a store, compared with what was acknowledged.
async fn wrong_in(store: &Store, acknowledged: &[(MessageId, StreamName, Place)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut found, mut next) = (BTreeMap::new(), BTreeMap::new());
    let mut last = GlobalPosition::ZERO;
    let messages: Vec<_> = store.all_messages(Read::default()).try_collect().await.unwrap();
    for message in messages {
        let place = Place { position: message.position, global_position: message.global_position };
        if message.global_position <= last {
            wrong.push(format!("{:?} stands behind {last:?}", message.reference()));
        }
        last = message.global_position;
        let expected = next.entry(message.stream.clone()).or_insert(Position::FIRST);
        if message.position != *expected {
            wrong.push(format!("{:?}: the position {expected:?} is missing", message.reference()));
        }
        *expected = message.position.next();
        if found.insert(message.id, (message.stream.clone(), place)).is_some() {
            wrong.push(format!("{} is there twice", message.id));
        }
    }
    for (id, stream, place) in acknowledged {
        if found.get(id) != Some(&(stream.clone(), *place)) {
            wrong.push(format!("{id} was acknowledged at {place:?} of {stream}, and {:?} is there", found.get(id)));
        }
    }
    let ids: BTreeSet<_> = acknowledged.iter().map(|(id, _, _)| *id).collect();
    let commands = found.iter().filter(|(_, (stream, _))| stream.category().as_str() == "account:command");
    wrong.extend(commands.filter(|(id, _)| !ids.contains(id)).map(|(id, _)| format!("{id} was not acknowledged")));
    wrong
}

/// Promotes the standby this often under load. Returns what is wrong afterwards.
async fn wrong_after(kind: Standby, promotions: usize, parameters: &str) -> Vec<String> {
    let seed = setting("MESSAGE_STORE_PROMOTIONS_SEED").unwrap_or(7);
    let mut pair = Pair::start(kind).await.unwrap();
    let store = open(&format!("{}{parameters}", pair.url())).await;
    let mut consumer = Consumer::new("account:command", member(&store, None))
        .concurrency(4)
        .save_after(50, Duration::from_millis(100))
        .start(&store)
        .await
        .unwrap();
    let (ends, acknowledged, unknown) = Default::default();
    let load = Arc::new(Load { store: Arc::clone(&store), ends, acknowledged, unknown });
    let begun = Instant::now();
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(Arc::clone(&load).write(writer, seed))).collect();
    let history = store.history();
    for number in 0..promotions {
        load.until_more(200).await;
        if kind == Standby::Asynchronous {
            pair.hold_back().await.unwrap();
            load.until_more(50).await;
        }
        let (fault, before) = (FAULTS[number % FAULTS.len()], Instant::now());
        pair = pair.fail_over(fault).await.unwrap();
        timeout(COMES, load.until_more(50)).await.expect("the writers go on");
        println!("promotion {}: the primary was {fault:?}; written again after {:?}", number + 1, before.elapsed());
    }
    load.ends.store(true, Ordering::SeqCst);
    let (mut acknowledged, mut balances, mut longest) = (Vec::new(), BTreeMap::new(), Duration::ZERO);
    for writer in writers {
        let written = timeout(COMES, writer).await.expect("every writer ends").unwrap();
        acknowledged.extend(written.acknowledged);
        balances.extend(written.balances);
        longest = longest.max(written.longest);
    }
    println!(
        "{promotions} promotions in {:?}: {} appends acknowledged, {} unknown answers, longest pause of a writer {longest:?}",
        begun.elapsed(),
        acknowledged.len(),
        load.unknown.load(Ordering::SeqCst)
    );
    let end = acknowledged.iter().map(|(_, _, place)| place.global_position).max().unwrap();
    if kind == Standby::Synchronous {
        timeout(COMES, consumer.wait_for(end)).await.expect("everything is handled").unwrap();
    }
    let _ = consumer.stop().await;
    // The timelines of the servers are different, so the same handle has seen another history each time.
    let mut wrong = Vec::new();
    if store.history() == history {
        wrong.push("no other history was noticed".to_owned());
    }
    let judge: Store = Arc::new(PostgresStore::open(pair.primary.url()).await.unwrap());
    wrong.extend(wrong_in(&judge, &acknowledged).await);
    for (account, expected) in balances {
        let found = balance(&judge, &account).await;
        if found != expected {
            wrong.push(format!("account {account} has {found}, and must have {expected}"));
        }
    }
    pair.stop().unwrap();
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_was_acknowledged_is_lost_or_doubled_while_a_synchronous_standby_is_promoted_again_and_again() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let promotions = usize::try_from(setting("MESSAGE_STORE_PROMOTIONS").unwrap_or(2)).unwrap();
    let wrong = wrong_after(Standby::Synchronous, promotions, "").await;
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_holds_while_a_standby_serves_the_reads_of_categories() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let wrong = wrong_after(Standby::Synchronous, 1, "&category_reads=standby").await;
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

/// The control: the same check notices a loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_with_an_asynchronous_standby_that_is_behind_acknowledged_messages_are_lost() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let wrong = wrong_after(Standby::Asynchronous, 1, "").await;
    assert!(wrong.iter().any(|wrong| wrong.contains("was acknowledged at")), "{wrong:?}");
}
