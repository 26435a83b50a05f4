//! Elastic groups of several processes: one stands still and goes on, or is killed. The processes are this test's own
//! binary, started again.
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use message_store::consumer::{
    Consumer, ConsumerHandle, DeadLetters, ElasticGroup, GroupStatus, OnFailure, PlantedBug, Process,
};
use message_store::handling::{Context, Handler};
use message_store::{Message, MessageStore, Outcome, Source, connect};
use message_store_tests::accounts::{balance, messages_of, send_deposits};
use message_store_tests::elastic::{LEASE, status, until};
use message_store_tests::expire::AgeingStore;
use message_store_tests::marked::Marked;
use message_store_tests::other_process::OtherProcess;
use tokio::time::sleep;

type Store = Arc<dyn MessageStore>;

const URL: &str = "MESSAGE_STORE_MEMBER_OF";
const GATE: &str = "MESSAGE_STORE_MEMBER_GATE";
const BUG: &str = "MESSAGE_STORE_MEMBER_BUG";

/// Says that a message has begun, waits until a file exists, and fails.
struct FailsLater(PathBuf);

#[async_trait]
impl Handler for FailsLater {
    fn name(&self) -> &'static str {
        "Account"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        println!("begun");
        while !self.0.exists() {
            sleep(Duration::from_millis(5)).await;
        }
        Err("it fails after a pause".into())
    }
}

fn group() -> ElasticGroup {
    ElasticGroup::new().lease(LEASE)
}

/// The other process. Without its settings, this test does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_in_another_process() {
    let (Ok(url), Ok(gate)) = (std::env::var(URL), std::env::var(GATE)) else { return };
    let store = connect(&url).await.unwrap();
    let consumer = Consumer::new("account:command", FailsLater(gate.clone().into())).identifier("g");
    let consumer = consumer.elastic_group(group()).on_failure(OnFailure::Park).max_attempts(1);
    let consumer = if std::env::var(BUG).is_ok() { consumer.plant(PlantedBug::FencesLeftOut) } else { consumer };
    let running = consumer.start(&store).await.unwrap();
    while !PathBuf::from(&gate).exists() {
        sleep(Duration::from_millis(5)).await;
    }
    sleep(LEASE).await;
    let _ = running.stop().await;
    println!("ended");
}

fn start(url: &str, gate: &Path, bug: bool) -> OtherProcess {
    let mut variables = vec![(URL, url.as_ref()), (GATE, gate.as_os_str())];
    variables.extend(bug.then_some((BUG, "1".as_ref())));
    OtherProcess::start("processes::member_in_another_process", &variables)
}

async fn join(store: &Store, handler: &Marked, group: ElasticGroup) -> ConsumerHandle {
    let consumer = Consumer::new("account:command", handler.clone()).identifier("g").on_failure(OnFailure::Park);
    consumer.elastic_group(group).concurrency(8).in_process(&Process::default()).start(store).await.unwrap()
}

/// A process stands still while it handles a message. Another member handles the message, and ends. Then the first goes
/// on. Returns the number of letters, and of slots whose progress or owner has changed since the other ended.
async fn written_after_a_pause(place: &AgeingStore, bug: bool) -> (usize, usize) {
    let store = connect(&place.url()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let sent = send_deposits(&store, "account:command", "1", 1).await.remove(0);
    let mut other = start(&place.url(), &gate, bug);
    other.wait_for("begun");
    other.signal("-STOP");
    let handler = Marked::new(&store, None);
    let mut running = join(&store, &handler, group()).await;
    until("the slots are taken over", async || running.slots().len() == 64).await;
    running.wait_for(sent.global_position).await.unwrap();
    sleep(LEASE * 3).await;
    let _ = running.stop().await.unwrap();
    let before = status(&store).await;
    std::fs::write(&gate, "open").unwrap();
    other.signal("-CONT");
    other.wait_for("ended");
    let after = status(&store).await;
    let progress = |status: &GroupStatus| -> Vec<_> {
        status.slots.iter().map(|slot| (slot.number, slot.position, slot.saved_at)).collect()
    };
    let (before, after) = (progress(&before), progress(&after));
    // (The slots are free, so the member that goes on may claim them again, in another epoch.)
    let changed = before.iter().zip(&after).filter(|(before, after)| before.1 > after.1).count();
    let letters = DeadLetters::of(&store, "account:command", Some("g")).unwrap().list().await.unwrap().len();
    assert_eq!(balance(&store, "1").await, 1);
    (letters, changed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_writes_nothing_on_postgres() {
    assert_eq!(written_after_a_pause(&AgeingStore::postgres().await, false).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_writes_nothing_on_sqlite() {
    assert_eq!(written_after_a_pause(&AgeingStore::sqlite(), false).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_without_fences_a_process_that_stood_still_writes_a_letter() {
    // If the process first learns that it has lost the slot, it drops the message, and writes nothing.
    for _ in 0..20 {
        if written_after_a_pause(&AgeingStore::sqlite(), true).await.0 == 1 {
            return;
        }
    }
    panic!("the process wrote no letter in any run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slots_of_a_killed_process_are_taken_over() {
    let place = AgeingStore::postgres().await;
    let store = connect(&place.url()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sent = send_deposits(&store, "account:command", "1", 2).await;
    let mut other = start(&place.url(), &folder.path().join("gate"), false);
    other.wait_for("begun");
    other.signal("-KILL");
    let handler = Marked::new(&store, None);
    let mut running = join(&store, &handler, group()).await;
    until("the slots are taken over", async || running.slots().len() == 64).await;
    running.wait_for(sent[1].global_position).await.unwrap();
    assert_eq!(balance(&store, "1").await, 2);
    let _ = running.stop().await.unwrap();
}

/// Waits 10 ms for each message.
struct Slow;

#[async_trait]
impl Handler for Slow {
    fn name(&self) -> &'static str {
        "Slow"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        sleep(Duration::from_millis(10)).await;
        Ok(Outcome::Handled { events: 0, late: false })
    }
}

/// Figures of elastic groups with their defaults, in seconds. They are measured, not asserted:
/// `cargo test --test groups processes -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a measurement"]
async fn figures() {
    for (name, place) in [("PostgreSQL", AgeingStore::postgres().await), ("SQLite", AgeingStore::sqlite())] {
        let store = connect(&place.url()).await.unwrap();
        let handler = Marked::new(&store, None);
        let start = |name: &'static str| {
            let (handler, store) = (handler.clone(), Arc::clone(&store));
            async move { join(&store, &handler, ElasticGroup::new().member(name)).await }
        };
        let first = start("first").await;
        until("the first owns all", async || first.slots().len() == 64).await;
        let begun = Instant::now();
        let second = start("second").await;
        until("they share", async || first.slots().len() == 32 && second.slots().len() == 32).await;
        println!("{name}: a member gets its share after {:.2} s", begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let _ = first.stop().await.unwrap();
        until("one owns all", async || second.slots().len() == 64).await;
        println!("{name}: the share of a member that stops is taken over after {:.2} s", begun.elapsed().as_secs_f64());
        let third = start("third").await;
        until("they share", async || third.slots().len() == 32 && second.slots().len() == 32).await;
        let begun = Instant::now();
        drop(second);
        until("one owns all", async || third.slots().len() == 64).await;
        println!(
            "{name}: the share of a member that crashed is taken over after {:.2} s",
            begun.elapsed().as_secs_f64()
        );
        let _ = third.stop().await.unwrap();

        for is_new_first in [true, false] {
            let mut members = Vec::new();
            for name in ["a", "b", "c"] {
                members.push(start(name).await);
            }
            let divided = async |members: &[ConsumerHandle]| {
                until("the slots are divided", async || {
                    let counts: Vec<_> = members.iter().map(|member| member.slots().len()).collect();
                    counts.iter().sum::<usize>() == 64 && counts.iter().all(|count| *count >= 64 / members.len())
                })
                .await;
            };
            divided(&members).await;
            let before: Vec<i64> = status(&store).await.slots.iter().map(|slot| slot.epoch).collect();
            for name in ["x", "y", "z"] {
                if is_new_first {
                    members.push(start(name).await);
                    divided(&members).await;
                    let _ = members.remove(0).stop().await.unwrap();
                } else {
                    let _ = members.remove(0).stop().await.unwrap();
                    divided(&members).await;
                    members.push(start(name).await);
                }
                divided(&members).await;
            }
            let after = status(&store).await.slots;
            let moves: Vec<i64> = after.iter().zip(before).map(|(slot, before)| slot.epoch - before).collect();
            let (all, most) = (moves.iter().sum::<i64>(), moves.iter().max().unwrap());
            println!(
                "{name}: rolling replacement of 3, new first {is_new_first}: {all} moves of 64 slots, at most {most}"
            );
            for member in members {
                let _ = member.stop().await.unwrap();
            }
        }
    }
    for count in [1_usize, 2, 4] {
        let place = AgeingStore::postgres().await;
        let store = connect(&place.url()).await.unwrap();
        for round in 0..4 {
            let sending = (0..200).map(|account| {
                let store = Arc::clone(&store);
                tokio::spawn(
                    async move { send_deposits(&store, "account:command", &format!("{round}{account}"), 5).await },
                )
            });
            for sent in sending.collect::<Vec<_>>() {
                sent.await.unwrap();
            }
        }
        let sent = messages_of(&store, "account:command").await;
        let last = sent.last().unwrap().global_position;
        let mut members = Vec::new();
        for _ in 0..count {
            let own = connect(&place.url()).await.unwrap();
            let consumer = Consumer::new("account:command", Slow).identifier("g").elastic_group(ElasticGroup::new());
            members.push(consumer.concurrency(8).in_process(&Process::default()).start(&own).await.unwrap());
        }
        let begun = Instant::now();
        until("all are handled", async || status(&store).await.slots.iter().all(|slot| slot.position >= last)).await;
        let rate = f64::from(u32::try_from(sent.len()).unwrap()) / begun.elapsed().as_secs_f64();
        println!("{count} members, 8 at a time, 10 ms each: {rate:.0} messages/s");
        for member in members {
            let _ = member.stop().await.unwrap();
        }
    }
}
