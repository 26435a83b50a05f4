//! Dead letters whose messages an operator has deleted.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::connect;
use message_store::consumer::{Consumer, DeadLetters, OnFailure};
use message_store_tests::accounts::{Command, member, send, send_deposits};
use message_store_tests::expire::AgeingStore;

/// A message is set aside and deleted. Then an operator retries it.
async fn a_retry_of_what_is_gone(ageing: AgeingStore) {
    let store = connect(&ageing.url()).await.unwrap();
    // Without an entity id, the intent cannot be reserved.
    let (deposit_id, time) = (String::new(), "noon".to_owned());
    let bad = send(&store, "account:command", "1", &Command::DepositOnce { deposit_id, amount: 1, time }).await;
    let consumer = || Consumer::new("account:command", member(&store, None)).on_failure(OnFailure::Park);
    let mut running = consumer().start(&store).await.unwrap();
    running.wait_for(bad.global_position).await.unwrap();
    let _ = running.stop().await.unwrap();
    let lose = "DELETE FROM messages WHERE stream_name = 'account:command-1'";
    ageing.execute(&lose.replace("messages", "message_store.messages"), lose).await;

    let letters = DeadLetters::of(&store, "account:command", None).unwrap();
    assert!(letters.retry(&letters.list().await.unwrap().remove(0)).await.unwrap());
    let mut running = consumer().start(&store).await.unwrap();
    while !letters.list().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let last = send_deposits(&store, "account:command", "2", 1).await.remove(0);
    running.wait_for(last.global_position).await.unwrap();
    let _ = running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres_the_letter_of_a_message_that_is_gone_is_discarded_and_stops_nothing() {
    a_retry_of_what_is_gone(AgeingStore::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite_the_letter_of_a_message_that_is_gone_is_discarded_and_stops_nothing() {
    a_retry_of_what_is_gone(AgeingStore::sqlite()).await;
}
