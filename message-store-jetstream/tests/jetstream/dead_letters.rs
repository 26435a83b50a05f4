//! Messages that a consumer on this store cannot handle: set aside, retried and discarded.

use std::sync::Arc;

use message_store::consumer::{DeadLetters, LetterState, OnFailure, Retried};
use message_store::{MessageStore, Outcome};
use message_store_jetstream::JetstreamStore;
use message_store_tests::accounts::{balance, member, messages_of, send_deposits};
use message_store_tests::elastic::until;
use message_store_tests::marked::Marked;
use message_store_tests::nats::{Cluster, Server};

type Store = Arc<dyn MessageStore>;

fn letters(store: &Store) -> DeadLetters {
    DeadLetters::of(store, "account:command", None).unwrap()
}

/// Of three deposits, two are set aside. The first is retried, and the second discarded, by one of two operators.
async fn set_aside_retried_and_discarded(url: String) {
    let store: Store = Arc::new(JetstreamStore::open(&url).await.unwrap());
    let operator: Store = Arc::new(JetstreamStore::open(&url).await.unwrap());
    let deposits = send_deposits(&store, "account:command", "1", 3).await;
    let handler = Marked::new(&store, None);
    handler.fail(&deposits[0]);
    handler.fail(&deposits[1]);
    let mut consumer = handler.start(&store, OnFailure::Park).await;
    consumer.wait_for(deposits[2].global_position).await.unwrap();
    assert_eq!(balance(&store, "1").await, 1, "the last one goes on");
    let parked = letters(&operator).list().await.unwrap();
    assert_eq!(parked.iter().map(|letter| letter.message.id).collect::<Vec<_>>(), [deposits[0].id, deposits[1].id]);

    handler.mend();
    let (one, other) = (letters(&store), letters(&operator));
    let asked = tokio::join!(one.retry(&parked[0]), other.retry(&parked[0]));
    assert_ne!(asked.0.unwrap(), asked.1.unwrap(), "one of them decides");
    until("the letter is resolved", async || {
        letters(&operator).show(deposits[0].id).await.unwrap().is_some_and(|letter| !letter.is_open())
    })
    .await;
    assert!(letters(&operator).discard(&parked[1], "a bad message").await.unwrap());
    assert!(!letters(&store).retry(&parked[1]).await.unwrap());
    let _ = consumer.stop().await.unwrap();

    // A consumer that starts again leaves both as they are.
    let mut consumer = handler.start(&store, OnFailure::Park).await;
    let last = send_deposits(&store, "account:command", "1", 1).await.remove(0);
    consumer.wait_for(last.global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    assert_eq!(balance(&store, "1").await, 3);
    let state = async |number: usize| letters(&operator).show(deposits[number].id).await.unwrap().unwrap().state;
    assert_eq!(state(0).await, LetterState::Resolved("handled late".to_owned()));
    assert_eq!(state(1).await, LetterState::Discarded("a bad message".to_owned()));
    for message in messages_of(&store, "account:command").await {
        let outcome = member(&store, None).carry_out(&message).await.unwrap();
        let is_discarded = message.id == deposits[1].id;
        assert!(is_discarded || matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_on_one_server_are_retried_once_and_stay_discarded() {
    set_aside_retried_and_discarded(Server::shared().store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_on_three_servers_are_retried_once_and_stay_discarded() {
    set_aside_retried_and_discarded(Cluster::shared().store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_held_behind_a_letter_follow_it_in_order() {
    let store: Store = Arc::new(JetstreamStore::open(&Server::shared().store()).await.unwrap());
    let deposits = send_deposits(&store, "account:command", "1", 3).await;
    let other = send_deposits(&store, "account:command", "2", 1).await.remove(0);
    let handler = Marked::new(&store, None);
    handler.fail(&deposits[0]);
    let mut consumer = handler.start(&store, OnFailure::Hold).await;
    consumer.wait_for(other.global_position).await.unwrap();
    assert_eq!((balance(&store, "1").await, balance(&store, "2").await), (0, 1));
    handler.mend();
    handler.handled.lock().unwrap().clear();
    let first = letters(&store).show(deposits[0].id).await.unwrap().unwrap();
    assert!(letters(&store).retry(&first).await.unwrap());
    let retried = letters(&store).wait_for_retry(&first, std::time::Duration::from_hours(1)).await.unwrap();
    assert!(matches!(retried, Retried::Resolved { .. }), "{retried}");
    until("the others follow", async || balance(&store, "1").await == 3).await;
    let _ = consumer.stop().await.unwrap();
    let in_order: Vec<_> = deposits.iter().map(|message| message.id).collect();
    assert_eq!(*handler.handled.lock().unwrap(), in_order);
}
