//! Dead letters in unusual situations: messages that are copied after their letters, stores that fail for a moment, and
//! texts and names from other programs.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::{
    Consumer, ConsumerHandle, DeadLetters, LetterState, OnFailure, PlantedBug, Process, Retried,
};
use message_store::handling::{Context, Handler};
use message_store::testing::FaultyStore;
use message_store::{GroupMember, Message, MessageStore, Outcome, Source, connect};
use message_store_tests::accounts::{balance, member, put, send_deposits, sqlite};
use message_store_tests::expire::AgeingStore;
use message_store_tests::marked::{Marked, planted};
use message_store_tests::moving::copy;
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

const LETTERS: &str = "account:command+deadLetter+g";

fn letters(store: &Store) -> DeadLetters {
    DeadLetters::of(store, "account:command", Some("g")).unwrap()
}

async fn state(store: &Store, message: &Message) -> LetterState {
    letters(store).show(message.id).await.unwrap().unwrap().state
}

/// Sends deposits of account 1. The first fails and is set aside. Under `Hold`, the others wait behind it.
async fn set_aside(store: &Store, policy: OnFailure, count: usize) -> Vec<Message> {
    let sent = send_deposits(store, "account:command", "1", count).await;
    let handler = Marked::new(store, None);
    handler.fail(&sent[0]);
    let mut consumer = handler.start_group(store, policy, 1, None).await.remove(0);
    consumer.wait_for(sent[count - 1].global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    sent
}

async fn start(store: &Store, policy: OnFailure) -> ConsumerHandle {
    Marked::new(store, None).start_group(store, policy, 1, None).await.remove(0)
}

/// Waits until account 1 has this balance. The consumer runs meanwhile.
async fn until_balance(store: &Store, expected: u64) {
    for _ in 0..3000 {
        if balance(store, "1").await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the balance is {}, and not {expected}", balance(store, "1").await);
}

/// Copies letters, and then commands. A consumer runs on the new store and reads the letters before the commands are
/// copied. With `is_stopped_between`, it is stopped before the commands are copied, and started again after.
async fn moved(old: &Store, new: &Store, policy: OnFailure, is_stopped_between: bool) -> ConsumerHandle {
    let running = start(new, policy).await;
    copy(old, new, &["account", LETTERS]).await;
    // The time for the consumer to read the letters. (If it does not, the test passes without testing this case.)
    tokio::time::sleep(Duration::from_millis(400)).await;
    if is_stopped_between {
        let _ = running.stop().await.unwrap();
        copy(old, new, &["account:command"]).await;
        return start(new, policy).await;
    }
    copy(old, new, &["account:command"]).await;
    running
}

on_both_stores! {
    async fn a_retry_that_was_requested_before_the_move_is_carried_out_after_it(new) {
        for is_stopped_between in [false, true] {
            let (old, new) = (sqlite().await, if is_stopped_between { sqlite().await } else { Arc::clone(&new) });
            let sent = set_aside(&old, OnFailure::Park, 1).await;
            let letter = letters(&old).show(sent[0].id).await.unwrap().unwrap();
            assert!(letters(&old).retry(&letter).await.unwrap());
            let running = moved(&old, &new, OnFailure::Park, is_stopped_between).await;
            until_balance(&new, 1).await;
            let retried = letters(&new).wait_for_retry(&letter, Duration::from_mins(1)).await.unwrap();
            assert!(matches!(retried, Retried::Resolved { .. }), "{retried:?}");
            let _ = running.stop().await.unwrap();
            assert_eq!(balance(&new, "1").await, 1);
        }
    }

    async fn what_waits_behind_a_letter_that_was_closed_before_the_move_follows_after_it(new) {
        for is_stopped_between in [false, true] {
            let (old, new) = (sqlite().await, if is_stopped_between { sqlite().await } else { Arc::clone(&new) });
            let sent = set_aside(&old, OnFailure::Hold, 3).await;
            let letter = letters(&old).show(sent[0].id).await.unwrap().unwrap();
            assert!(letters(&old).discard(&letter, "bad").await.unwrap());
            let running = moved(&old, &new, OnFailure::Hold, is_stopped_between).await;
            until_balance(&new, 2).await;
            let _ = running.stop().await.unwrap();
            assert_eq!(balance(&new, "1").await, 2, "the discarded one stays so");
            assert!(matches!(state(&new, &sent[0]).await, LetterState::Discarded(_)));
        }
    }

    async fn what_waits_behind_an_open_letter_waits_after_the_move_too(new) {
        let old = sqlite().await;
        let sent = set_aside(&old, OnFailure::Hold, 3).await;
        let running = moved(&old, &new, OnFailure::Hold, false).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(balance(&new, "1").await, 0);
        let letter = letters(&new).show(sent[0].id).await.unwrap().unwrap();
        assert!(letters(&new).retry(&letter).await.unwrap());
        until_balance(&new, 3).await;
        let _ = running.stop().await.unwrap();
    }

    async fn a_copied_discard_is_known_though_look_ups_failed_when_it_came(new) {
        let old = sqlite().await;
        let bad = set_aside(&old, OnFailure::Park, 1).await.remove(0);
        let letter = letters(&old).show(bad.id).await.unwrap().unwrap();
        assert!(letters(&old).discard(&letter, "bad").await.unwrap());
        let faulty = FaultyStore::new(&new);
        let shared: Store = faulty.clone();
        let mut running = start(&shared, OnFailure::Park).await;
        faulty.fail_look_ups(true);
        copy(&old, &new, &[LETTERS]).await;
        put(&new, "account:command-2", "Deposit", r#"{"amount":1}"#, "null").await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        faulty.fail_look_ups(false);
        copy(&old, &new, &["account:command"]).await;
        running.wait_for(new.message(bad.id).await.unwrap().unwrap().global_position).await.unwrap();
        let _ = running.stop().await.unwrap();
        assert_eq!((balance(&new, "1").await, balance(&new, "2").await), (0, 1));
    }

    async fn an_end_that_cannot_be_recorded_is_no_crash(store) {
        assert!(matches!(retried_beside_faults(&store, None).await, LetterState::Resolved(_)));
    }

    async fn twin_an_end_that_cannot_be_recorded_and_counts_as_a_crash_is_blamed_on_the_message(store) {
        let state = retried_beside_faults(&store, Some(PlantedBug::UnrecordedIsCrash)).await;
        assert!(matches!(state, LetterState::Parked), "{state:?}");
    }

    async fn no_text_of_an_error_stops_a_consumer_that_parks(store) {
        let long: &'static str = Box::leak("x\u{e9}".repeat(1 << 20).into_boxed_str());
        for (number, text) in ["bad byte \0", long].into_iter().enumerate() {
            let stream = format!("account:command-{number}");
            let message = put(&store, &stream, "Deposit", r#"{"amount":1}"#, "null").await;
            let consumer = Consumer::new("account:command", Fails::new(text)).on_failure(OnFailure::Park);
            let mut consumer = consumer.in_process(&Process::default()).start(&store).await.unwrap();
            consumer.wait_for(message.global_position).await.unwrap();
            let _ = consumer.stop().await.unwrap();
            let letters = DeadLetters::of(&store, "account:command", None).unwrap();
            let letter = letters.show(message.id).await.unwrap().unwrap();
            assert!(text.starts_with(&letter.error[..7]), "{}", &letter.error[..20]);
            assert!(letter.error.len() < 20_000);
        }
    }
}

#[derive(Clone)]
struct Fails {
    text: &'static str,
    still: Arc<AtomicBool>,
    times: Arc<AtomicU32>,
}

impl Fails {
    fn new(text: &'static str) -> Self {
        Self { text, still: Arc::new(AtomicBool::new(true)), times: Arc::default() }
    }
}

#[async_trait]
impl Handler for Fails {
    fn name(&self) -> &'static str {
        "fails"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        if self.still.load(Ordering::SeqCst) {
            return Err(self.text.into());
        }
        self.times.fetch_add(1, Ordering::SeqCst);
        Ok(Outcome::Ignored)
    }
}

/// Retries a message, while four attempts to record its result fail. Returns the state of its letter.
async fn retried_beside_faults(store: &Store, bug: Option<PlantedBug>) -> LetterState {
    let message = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    let handler = Fails::new("planted");
    let consumer = Consumer::new("account:command", handler.clone()).identifier("g").on_failure(OnFailure::Park);
    let consumer = consumer.in_process(&Process::default());
    let consumer = match bug {
        Some(bug) => consumer.plant(bug),
        None => consumer,
    };
    let mut consumer = consumer.start(&shared).await.unwrap();
    consumer.wait_for(message.global_position).await.unwrap();
    handler.still.store(false, Ordering::SeqCst);
    faulty.refuse_appends_of("Resolved", 4);
    let letter = letters(store).show(message.id).await.unwrap().unwrap();
    assert!(letters(store).retry(&letter).await.unwrap());
    let _ = letters(store).wait_for_retry(&letter, Duration::from_mins(1)).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    state(store, &message).await
}

/// Another program writes a message to a stream whose name is longer than this library allows. The message is parked.
async fn a_long_name_is_parked(place: AgeingStore) {
    let store = connect(&place.url()).await.unwrap();
    let name = format!("account:command-{}", "x".repeat(300));
    let postgres = format!(
        "SELECT message_store.write_message(gen_random_uuid()::varchar, '{name}', 'Deposit', '{{\"amount\":1}}')"
    );
    let sqlite = format!(
        "INSERT INTO messages (position, time, stream_name, category, type, data, id) \
         VALUES (0, 0, '{name}', 'account:command', 'Deposit', '{{\"amount\":1}}', randomblob(16))"
    );
    place.execute(&postgres, &sqlite).await;
    let after = send_deposits(&store, "account:command", "1", 1).await.remove(0);
    for _ in 0..2 {
        let consumer = Consumer::new("account:command", member(&store, None)).on_failure(OnFailure::Park);
        let mut consumer = consumer.in_process(&Process::default()).start(&store).await.unwrap();
        consumer.wait_for(after.global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
    }
    let letters = DeadLetters::of(&store, "account:command", None).unwrap().list().await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.message.stream.as_str()).collect::<Vec<_>>(), [name]);
    assert_eq!(balance(&store, "1").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_in_a_stream_with_a_long_name_is_parked_on_postgres() {
    a_long_name_is_parked(AgeingStore::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_in_a_stream_with_a_long_name_is_parked_on_sqlite() {
    a_long_name_is_parked(AgeingStore::sqlite()).await;
}

/// A consumer reads a message in a batch. Then an operator discards the message in another process, without a wake-up.
/// Returns how often the message is carried out.
async fn handled_after_a_discard(policy: OnFailure, bug: Option<PlantedBug>) -> u64 {
    let file = AgeingStore::sqlite();
    let (here, elsewhere) = (connect(&file.url()).await.unwrap(), connect(&file.url()).await.unwrap());
    let busy = Marked::new(&here, None);
    let permits = busy.wait_in("1");
    let second = send_deposits(&here, "account:command", "1", 2).await.remove(1);
    let settings = |consumer: Consumer<Marked>| {
        let consumer = consumer.identifier("g").group(GroupMember::new(0, 1).unwrap());
        planted(consumer.poll_interval(Duration::from_millis(20)), bug)
    };
    let mut reader = busy.start_with(&here, policy, settings).await;
    busy.begun.notified().await;

    let failing = Marked::new(&elsewhere, None);
    failing.fail(&second);
    for mut other in failing.start_group(&elsewhere, OnFailure::Park, 2, None).await {
        other.wait_for(second.global_position).await.unwrap();
        let _ = other.stop().await.unwrap();
    }
    let letter = letters(&elsewhere).show(second.id).await.unwrap().unwrap();
    assert!(letters(&elsewhere).discard(&letter, "bad").await.unwrap());
    // Longer than the poll interval.
    tokio::time::sleep(Duration::from_millis(100)).await;
    permits.add_permits(9);
    reader.wait_for(second.global_position).await.unwrap();
    let _ = reader.stop().await.unwrap();
    busy.times_handled(&second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_discard_in_another_process_is_known_a_poll_interval_later_without_a_wake_up() {
    for policy in [OnFailure::Stop, OnFailure::Park, OnFailure::Hold] {
        assert_eq!(handled_after_a_discard(policy, None).await, 0, "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_when_letters_are_read_only_after_wake_ups_a_discarded_message_is_carried_out() {
    assert_eq!(handled_after_a_discard(OnFailure::Stop, Some(PlantedBug::OnlyWakeUps)).await, 1);
}
