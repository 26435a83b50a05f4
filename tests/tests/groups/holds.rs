//! Elastic groups: an entity stays held while its slot is released.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::MessageStore;
use message_store::consumer::{Consumer, ConsumerHandle, ElasticGroup, LetterState, OnFailure, Process};
use message_store_tests::accounts::{balance, send_deposits};
use message_store_tests::elastic::{account_in, letter_state, letters, until};
use message_store_tests::marked::Marked;
use message_store_tests::on_both_stores;
use tokio::time::sleep;

type Store = Arc<dyn MessageStore>;

async fn join(store: &Store, handler: &Marked, process: &Process) -> ConsumerHandle {
    let consumer = Consumer::new("account:command", handler.clone()).concurrency(8).on_failure(OnFailure::Hold);
    let consumer = consumer.identifier("g").elastic_group(ElasticGroup::new()).in_process(process).max_attempts(1);
    consumer.start(store).await.unwrap()
}

async fn other(store: &Store, handler: &Marked, process: &Process) -> ConsumerHandle {
    let consumer = Consumer::new("other", handler.clone()).on_failure(OnFailure::Park).in_process(process);
    consumer.start(store).await.unwrap()
}

on_both_stores! {
    async fn an_entity_stays_held_while_its_slot_is_released(store) {
        assert_eq!(handled_behind_a_held_message(&store, true).await, (0, 0), "the message behind was handled");
    }

    /// The same without another member.
    async fn control_an_entity_stays_held(store) {
        assert_eq!(handled_behind_a_held_message(&store, false).await, (0, 0), "the message behind was handled");
    }
}

async fn handled_behind_a_held_message(store: &Store, moves: bool) -> (u64, u64) {
    let account = account_in(0..8);
    let process = Process::default();
    // A consumer of another category crashed, so its message is a suspect.
    let deadly = send_deposits(store, "other", "x", 1).await.remove(0);
    let beside = Marked::new(store, None);
    beside.deadly.lock().unwrap().insert(deadly.id);
    let crashing = other(store, &beside, &Process::default()).await;
    beside.dying.notified().await;
    drop(crashing);

    let handler = Marked::new(store, None);
    let first = join(store, &handler, &process).await;
    until("it has all slots", async || first.slots().len() == 64).await;
    let permits = handler.wait_in(account);
    let sent = send_deposits(store, "account:command", account, 1).await.remove(0);
    handler.begun.notified().await;
    handler.fail(&sent);
    permits.add_permits(1);
    until("it is parked", async || letter_state(store, &sent).await.is_some()).await;
    // Its redelivery is under way.
    let letter = letters(store).show(sent.id).await.unwrap().unwrap();
    assert!(letters(store).retry(&letter).await.unwrap());
    handler.begun.notified().await;
    // The next message of the entity is handed out, and waits for the suspect's turn.
    let suspicious = other(store, &beside, &process).await;
    sleep(Duration::from_millis(100)).await;
    let next = send_deposits(store, "account:command", account, 1).await.remove(0);
    sleep(Duration::from_millis(150)).await;
    let mut second = None;
    if moves {
        let member = second.insert(join(store, &Marked::new(store, None), &Process::default()).await);
        until("slots are released", async || member.slots().len() >= 25).await;
    }
    // The redelivery fails: the entity stays held.
    permits.add_permits(99);
    until("it is parked again", async || letter_state(store, &sent).await == Some(LetterState::Parked)).await;
    sleep(Duration::from_secs(4)).await;
    let found = (handler.times_handled(&next), balance(store, account).await);
    println!("moves {moves}: {found:?}, the first message is {:?}", letter_state(store, &sent).await);
    drop((first, second, suspicious));
    found
}
