//! Members of elastic groups for tests, with a short lease, each as in a process of its own.
#![allow(missing_docs, clippy::unwrap_used)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::{
    Consumer, ConsumerHandle, DeadLetters, ElasticGroup, GroupStatus, LetterState, OnFailure, Process,
};
use message_store::handling::Handler;
use message_store::testing::FaultyStore;
use message_store::{GlobalPosition, Message, MessageStore, StreamName};
use tokio::time::sleep;

use crate::accounts::messages_of;
use crate::marked::Marked;

type Store = Arc<dyn MessageStore>;

/// Short, so that a test soon sees its end. A member renews its lease four times in it.
pub const LEASE: Duration = Duration::from_millis(800);
/// The number of slots.
const SLOTS: u64 = 64;

/// Starts a member.
pub async fn join(store: &Store, handler: &Marked, on_failure: OnFailure) -> ConsumerHandle {
    join_with(store, handler, on_failure, |consumer| consumer).await
}

/// Starts a member with further settings.
pub async fn join_with(
    store: &Store,
    handler: &Marked,
    on_failure: OnFailure,
    settings: impl FnOnce(Consumer<Marked>) -> Consumer<Marked>,
) -> ConsumerHandle {
    settings(member(handler.clone(), on_failure)).start(store).await.unwrap()
}

/// A member that is not started.
pub fn member<H: Handler>(handler: H, on_failure: OnFailure) -> Consumer<H> {
    let consumer = Consumer::new("account:command", handler).concurrency(8).on_failure(on_failure);
    let consumer = consumer.identifier("g").elastic_group(ElasticGroup::new().lease(LEASE));
    consumer.in_process(&Process::default())
}

/// The accounts, below `count`, whose events are not in the order of their commands, with the positions of the commands.
pub async fn out_of_order(store: &Store, count: usize) -> Vec<String> {
    let events = messages_of(store, "account").await;
    let mut found = Vec::new();
    for account in 0..count {
        let stream = format!("account-{account}");
        let own = events.iter().filter(|event| event.stream.as_str() == stream);
        let causes: Vec<_> = own.map(|event| event.decode_metadata().causation_message_global_position).collect();
        if !causes.is_sorted() {
            let places: Vec<_> = causes.windows(2).filter(|pair| pair[0] > pair[1]).collect();
            found.push(format!("account {account} is out of order: {places:?}"));
        }
    }
    found
}

/// The owner of the first message's letter crashes during a redelivery, and the next member resumes it. The append that
/// resolves the letter is refused once. Returns the next member.
pub async fn resumed_with_a_refused_append(store: &Store, sent: &[Message], on_failure: OnFailure) -> ConsumerHandle {
    let handler = Marked::new(store, None);
    let last = sent[sent.len() - 1].global_position;
    handler.fail(&sent[0]);
    let mut first = join(store, &handler, on_failure).await;
    until_divided(&[&first]).await;
    first.wait_for(last).await.unwrap();
    until_handled(store, last).await;
    handler.mend();
    handler.wait_in("1");
    retry(store, &sent[0]).await;
    handler.begun.notified().await;
    drop(first);
    let next = Marked::new(store, None);
    let permits = next.wait_in("1");
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    let second = join(&shared, &next, on_failure).await;
    next.begun.notified().await;
    faulty.refuse_appends_of("Resolved", 1);
    permits.add_permits(99);
    second
}

pub async fn status(store: &Store) -> GroupStatus {
    GroupStatus::of(store, "account:command", Some("g")).await.unwrap().unwrap()
}

/// Waits for a condition, up to two minutes. Returns whether it became true.
pub async fn becomes(mut is_true: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..6_000 {
        if is_true().await {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Waits until a condition is true.
///
/// # Panics
/// Panics if that takes minutes.
pub async fn until(what: &str, is_true: impl AsyncFnMut() -> bool) {
    assert!(becomes(is_true).await, "it is not true: {what}");
}

/// Waits until each member owns its share.
pub async fn until_divided(members: &[&ConsumerHandle]) {
    let least = 64 / members.len();
    until("the slots are divided", async || {
        let counts: Vec<usize> = members.iter().map(|member| member.slots().len()).collect();
        counts.iter().sum::<usize>() == 64 && counts.iter().all(|count| *count >= least)
    })
    .await;
}

/// Waits until the progress of all slots is saved up to this position.
pub async fn until_handled(store: &Store, position: GlobalPosition) {
    until("all slots are handled", async || status(store).await.slots.iter().all(|slot| slot.position >= position))
        .await;
}

pub fn letters(store: &Store) -> DeadLetters {
    DeadLetters::of(store, "account:command", Some("g")).unwrap()
}

/// The state of a message's letter. `None` if it has none.
pub async fn letter_state(store: &Store, message: &Message) -> Option<LetterState> {
    letters(store).show(message.id).await.ok().flatten().map(|letter| letter.state)
}

/// Requests another delivery of a message that has a letter.
pub async fn retry(store: &Store, message: &Message) {
    let letter = letters(store).show(message.id).await.unwrap().unwrap();
    assert!(letters(store).retry(&letter).await.unwrap());
}

/// Whether the message of a letter was handled.
pub async fn is_resolved(store: &Store, message: &Message) -> bool {
    matches!(letter_state(store, message).await, Some(LetterState::Resolved(_)))
}

/// An account whose slot is one of these.
pub fn account_in(slots: Range<u64>) -> &'static str {
    let slot = |account: &String| {
        let stream = StreamName::new(format!("account:command-{account}")).unwrap();
        stream.cardinal_hash().unwrap().unsigned_abs() % SLOTS
    };
    let account = (1_000..9_000).map(|number: u32| number.to_string()).find(|account| slots.contains(&slot(account)));
    Box::leak(account.unwrap().into_boxed_str())
}
