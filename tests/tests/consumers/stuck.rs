//! Messages that hang, wait or take long keep no other from being handled.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::{Consumer, OnFailure, PlantedBug};
use message_store::{ExpectedVersion, Json, MessageStore, MessageStoreExt as _, NewMessage, StreamName};
use message_store_tests::accounts::{put, send_deposits};
use message_store_tests::elastic::{becomes, until};
use message_store_tests::on_both_stores;
use message_store_tests::work::{Does, Work};

type Store = Arc<dyn MessageStore>;

fn planted(consumer: Consumer<Work>, bug: Option<PlantedBug>) -> Consumer<Work> {
    match bug {
        Some(bug) => consumer.plant(bug),
        None => consumer,
    }
}

/// Two messages hang, and take all of the concurrency. Three others come after them. Returns whether the two are set
/// aside and the three handled.
async fn two_hang(store: &Store, bug: Option<PlantedBug>) -> bool {
    let work = Work::default();
    work.set("1", Does::Hangs);
    work.set("2", Does::Hangs);
    for account in ["1", "2", "3", "4", "5"] {
        send_deposits(store, "account:command", account, 1).await;
    }
    let consumer = work.consumer().concurrency(2).on_failure(OnFailure::Park).time_limit(Duration::from_millis(50));
    let consumer = planted(consumer, bug).start(store).await.unwrap();
    let is_done =
        async || work.handled() == 3 && Work::letters(store).list().await.is_ok_and(|letters| letters.len() == 2);
    if bug.is_none() {
        until("two are set aside, and three handled", is_done).await;
        let _ = consumer.stop().await.unwrap();
        return true;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    is_done().await
}

/// Many messages of one account wait behind one that waits. One message of another account comes after them. Returns
/// whether that is handled, and how many of the first account are handled in the end.
async fn others_behind_a_queue(store: &Store, bug: Option<PlantedBug>) -> (bool, usize) {
    let work = Work::default();
    work.set("1", Does::Waits);
    let stream = StreamName::new("account:command-1").unwrap();
    let deposit = || NewMessage::new("Deposit", Json::parse(r#"{"amount":1}"#).unwrap());
    store.append_to(&stream, ExpectedVersion::Any, (0..350).map(|_| deposit()).collect()).await.unwrap();
    let other = send_deposits(store, "account:command", "2", 1).await.remove(0);
    let consumer = work.consumer().concurrency(8).batch(50).on_failure(OnFailure::Park);
    let mut consumer = planted(consumer, bug).start(store).await.unwrap();
    let others = if bug.is_none() {
        becomes(async || work.handled_of("2") == 1).await
    } else {
        tokio::time::sleep(Duration::from_secs(4)).await;
        work.handled_of("2") == 1
    };
    work.mend();
    consumer.wait_for(other.global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    (others, work.handled_of("1"))
}

on_both_stores! {
    async fn messages_that_hang_are_set_aside_and_keep_no_other_waiting(store) {
        assert!(two_hang(&store, None).await);
    }

    async fn twin_when_each_time_out_is_the_stores_they_keep_all_waiting(store) {
        assert!(!two_hang(&store, Some(PlantedBug::EveryTimeOutPasses)).await);
    }

    async fn other_entities_go_on_however_many_messages_wait_behind_one(store) {
        assert_eq!(others_behind_a_queue(&store, None).await, (true, 350));
    }

    async fn twin_without_reading_further_they_wait_too(store) {
        assert_eq!(others_behind_a_queue(&store, Some(PlantedBug::NotReadFurther)).await, (false, 350));
    }

    async fn an_error_whose_text_panics_sets_its_message_aside(store) {
        let work = Work::default();
        work.set("1", Does::FailsOddly);
        let sent = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let mut consumer = work.consumer().on_failure(OnFailure::Park).max_attempts(2).start(&store).await.unwrap();
        consumer.wait_for(sent.global_position).await.unwrap();
        let letter = Work::letters(&store).show(sent.id).await.unwrap().unwrap();
        assert!(letter.error.contains("text cannot be made"), "{letter}");
        let _ = consumer.stop().await.unwrap();
    }

    /// An earlier process ended while the second message was alone under way. The first one is no suspect.
    async fn messages_before_a_suspect_are_handled_too(store) {
        let sent = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let suspect = send_deposits(&store, "account:command", "2", 1).await.remove(0);
        let crashed = format!(
            r#"{{"position":0,"handedOutThrough":{},"suspect":{{"messageId":"{}","attempts":1}}}}"#,
            suspect.global_position, suspect.id
        );
        put(&store, "account:command+position-w", "Recorded", &crashed, "{}").await;
        let work = Work::default();
        let mut consumer = work.consumer().on_failure(OnFailure::Park).start(&store).await.unwrap();
        tokio::time::timeout(Duration::from_mins(1), consumer.wait_for(suspect.global_position)).await.unwrap().unwrap();
        let _ = consumer.stop().await.unwrap();
        assert!(work.has_handled(&sent) && work.has_handled(&suspect));
    }

    /// The process is killed twice while many messages may be under way. Afterwards only those of the second time are handed
    /// out one at a time.
    async fn after_a_crash_messages_are_handled_together(store) {
        let work = Work::default();
        for account in 0..16 {
            work.set(&account.to_string(), Does::Takes(Duration::from_millis(100)));
            send_deposits(&store, "account:command", &account.to_string(), 10).await;
        }
        let settings = |consumer: Consumer<Work>| consumer.concurrency(16).on_failure(OnFailure::Park);
        for _ in 0..2 {
            let consumer = settings(work.consumer()).start(&store).await.unwrap();
            let before = work.handled();
            until("some are handled", async || work.handled() >= before + 20).await;
            drop(consumer);
        }
        let last = send_deposits(&store, "account:command", "99", 1).await.remove(0);
        work.most_under_way();
        let mut consumer = settings(work.consumer()).start(&store).await.unwrap();
        consumer.wait_for(last.global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        let together = work.most_under_way();
        assert!(together >= 8, "at most {together} were under way together");
    }
}
