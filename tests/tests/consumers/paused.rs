//! An operator pauses a consumer: it hands out no message, in whichever process it runs, and goes on later.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::{Consumer, ConsumerHandle, OnFailure, Pauses, PlantedBug as ConsumerBug};
use message_store::testing::FaultyStore;
use message_store::{Append, Error, Json, Message, MessageStore, Metadata, NewMessage, StreamName};
use message_store_tests::accounts::{balance, send_deposits};
use message_store_tests::elastic::join_with;
use message_store_tests::marked::{Marked, planted};
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

fn pauses(store: &Store, identifier: Option<&str>) -> Pauses {
    Pauses::of(store, "account:command", identifier).unwrap()
}

async fn until(consumer: &ConsumerHandle, is_paused: bool) {
    while consumer.status().pause().is_some() != is_paused {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for the store's clock to pass what a consumer that is not paused would need for a message.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// Returns the number of messages that a consumer that is paused before it starts handles.
async fn handled_while_paused(store: &Store, bug: Option<ConsumerBug>) -> usize {
    send_deposits(store, "account:command", "1", 3).await;
    assert!(pauses(store, None).pause("a test").await.unwrap());
    let handler = Marked::new(store, None);
    let consumer = handler.start_with(store, OnFailure::Park, |consumer| planted(consumer, bug)).await;
    if bug.is_some() {
        while handler.handled.lock().unwrap().len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    } else {
        assert_eq!(consumer.status().pause().unwrap().reason, "a test");
        a_while().await;
    }
    let _ = consumer.stop().await.unwrap();
    handler.handled.lock().unwrap().len()
}

async fn write(store: &Store, message: NewMessage) {
    let stream = StreamName::new("account:command+control").unwrap();
    store.append(Append::to(stream).message(message).into()).await.unwrap();
}

on_both_stores! {
    async fn a_consumer_that_is_paused_handles_nothing(store) {
        assert_eq!(handled_while_paused(&store, None).await, 0);
    }

    async fn twin_a_consumer_that_does_not_read_pauses_handles_all(store) {
        assert_eq!(handled_while_paused(&store, Some(ConsumerBug::PausesIgnored)).await, 3);
    }

    async fn messages_under_way_are_handled_and_others_wait_for_the_end_of_the_pause(store) {
        let first = send_deposits(&store, "account:command", "1", 2).await;
        let handler = Marked::new(&store, None);
        let permits = handler.wait_in("1");
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        handler.begun.notified().await;
        assert!(pauses(&store, None).pause("a test").await.unwrap());
        assert!(!pauses(&store, None).pause("again").await.unwrap());
        until(&consumer, true).await;
        let other = send_deposits(&store, "account:command", "2", 1).await.remove(0);
        permits.add_permits(99);
        consumer.wait_for(first[0].global_position).await.unwrap();
        a_while().await;
        assert_eq!(*handler.handled.lock().unwrap(), [first[0].id]);
        assert_eq!(consumer.handled_through(), first[0].global_position);
        assert!(pauses(&store, None).resume().await.unwrap());
        assert!(!pauses(&store, None).resume().await.unwrap());
        consumer.wait_for(other.global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        assert_eq!((balance(&store, "1").await, balance(&store, "2").await), (2, 1));
    }

    async fn letters_are_not_delivered_while_the_consumer_is_paused(store) {
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let handler = Marked::new(&store, None);
        handler.fail(&deposit);
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deposit.global_position).await.unwrap();
        pauses(&store, None).pause("a test").await.unwrap();
        until(&consumer, true).await;
        handler.mend();
        let letters = message_store::consumer::DeadLetters::of(&store, "account:command", None).unwrap();
        let letter = letters.show(deposit.id).await.unwrap().unwrap();
        assert!(letters.retry(&letter).await.unwrap());
        a_while().await;
        assert_eq!(balance(&store, "1").await, 0);
        pauses(&store, None).resume().await.unwrap();
        while balance(&store, "1").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let _ = consumer.stop().await.unwrap();
    }

    async fn the_members_of_a_group_pause_together_and_keep_their_slots(store) {
        let handler = Marked::new(&store, None);
        let first = join_with(&store, &handler, OnFailure::Park, |consumer| consumer).await;
        let other = Marked::new(&store, None);
        let second = join_with(&store, &other, OnFailure::Park, |consumer| consumer).await;
        while first.slots().is_empty() || second.slots().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pauses(&store, Some("g")).pause("a test").await.unwrap();
        until(&first, true).await;
        until(&second, true).await;
        let sent: Vec<Message> =
            futures_util::future::join_all(["1", "2", "3", "4"].map(|account| send_deposits(&store, "account:command", account, 1)))
                .await
                .concat();
        a_while().await;
        assert_eq!(handler.handled.lock().unwrap().len() + other.handled.lock().unwrap().len(), 0);
        assert!(!first.slots().is_empty() && !second.slots().is_empty());
        pauses(&store, Some("g")).resume().await.unwrap();
        while handler.handled.lock().unwrap().len() + other.handled.lock().unwrap().len() < sent.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for member in [first, second] {
            let _ = member.stop().await.unwrap();
        }
    }

    async fn a_pause_of_another_consumer_or_of_another_store_or_program_is_none(store) {
        pauses(&store, Some("other")).pause("a test").await.unwrap();
        write(&store, NewMessage::new("Paused", Json::parse("7").unwrap())).await;
        write(&store, NewMessage::new("Note", Json::NULL)).await;
        let origin = r#"{"messageStore":{"origin":{"storeId":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff","category":"account:command+control","globalPosition":7}}}"#;
        let copied = NewMessage::new("Paused", Json::parse(r#"{"reason":"elsewhere"}"#).unwrap());
        write(&store, copied.with_metadata_json(Json::parse(origin).unwrap())).await;
        assert_eq!(Metadata::from_json(&Json::parse(origin).unwrap()).unread(), [""; 0]);
        assert!(pauses(&store, None).current().await.unwrap().is_none());
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let mut consumer = Marked::new(&store, None).start(&store, OnFailure::Park).await;
        consumer.wait_for(deposit.global_position).await.unwrap();
        // What another program writes after a pause does not end it.
        pauses(&store, None).pause("a test").await.unwrap();
        write(&store, NewMessage::new("Note", Json::NULL)).await;
        assert_eq!(pauses(&store, None).current().await.unwrap().unwrap().reason, "a test");
        until(&consumer, true).await;
        let _ = consumer.stop().await.unwrap();
    }

    async fn of_two_operators_one_pauses(store) {
        let (first, second) = (pauses(&store, None), pauses(&store, None));
        let paused = tokio::join!(first.pause("one"), second.pause("two"));
        assert!(paused.0.unwrap() != paused.1.unwrap());
    }

    async fn a_pause_is_read_without_wake_ups_and_through_an_outage(store) {
        let faulty = FaultyStore::new(&store);
        faulty.lose_wake_ups();
        let shared: Store = faulty.clone();
        let consumer = Consumer::new("account:command", Marked::new(&shared, None)).start(&shared).await.unwrap();
        faulty.set_unavailable(true);
        pauses(&store, None).pause("a test").await.unwrap();
        a_while().await;
        assert!(consumer.status().pause().is_none());
        faulty.set_unavailable(false);
        until(&consumer, true).await;
        let _ = consumer.stop().await.unwrap();
        assert!(matches!(Pauses::of(&store, "a-1", None), Err(Error::Invalid { .. })));
    }
}
