//! Live subscriptions: nothing missed, nothing doubled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use message_store::postgres::PostgresStore;
use message_store::store::Subscription;
use message_store::*;
use message_store_tests::on_both_stores;
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::NoTls;

use super::{Store, archive};

fn message(number: usize) -> NewMessage {
    NewMessage::new("T", Json::encode(&number).unwrap())
}

async fn write_some(store: &Store, category: &str, count: usize) {
    for number in 0..count {
        let stream = StreamName::new(format!("{category}-{}", number % 3)).unwrap();
        store.append(Append::to(stream).message(message(number)).into()).await.unwrap();
    }
}

/// Reads until so many messages have come, and drops each wait after a short time, as a `select!` does.
async fn impatient(subscription: Subscription, count: usize) -> Vec<GlobalPosition> {
    let mut messages = Box::pin(subscription.messages());
    let mut found = Vec::new();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    while found.len() < count && tokio::time::Instant::now() < deadline {
        if let Ok(next) = tokio::time::timeout(Duration::from_micros(300), messages.next()).await {
            found.push(next.unwrap().unwrap().global_position);
        }
    }
    // Nothing comes twice afterwards.
    if let Ok(next) = tokio::time::timeout(Duration::from_millis(300), messages.next()).await {
        found.push(next.unwrap().unwrap().global_position);
    }
    found
}

on_both_stores! {
    async fn a_subscription_after_the_last_position_of_all_waits(store) {
        write_some(&store, "live", 3).await;
        let category = Category::new("live").unwrap();
        for subscription in [Subscription::to(&store, &category), Subscription::to_all(&store)] {
            let mut messages = Box::pin(subscription.after(GlobalPosition::new(i64::MAX)).messages());
            let next = tokio::time::timeout(Duration::from_millis(300), messages.next()).await;
            assert!(next.is_err(), "{next:?}");
        }
    }

    async fn a_reader_that_drops_its_waits_misses_nothing_while_messages_are_written_and_archived(store) {
        let category = Category::new("live").unwrap();
        write_some(&store, "live", 20).await;
        let one = tokio::spawn(impatient(Subscription::to(&store, &category), 120));
        let all = tokio::spawn(impatient(Subscription::to_all(&store), 220));
        let writers = ["live", "other"].map(|category| {
            let store = store.clone();
            tokio::spawn(async move { write_some(&store, category, 100).await })
        });
        for _ in 0..10 {
            archive(&store, "live").await;
        }
        for writer in writers {
            writer.await.unwrap();
        }
        archive(&store, "live").await;
        let expected: Vec<GlobalPosition> =
            store.category_messages(&category, Read::default()).map_ok(|message| message.global_position).try_collect().await.unwrap();
        assert_eq!(one.await.unwrap(), expected);
        let expected: Vec<GlobalPosition> =
            store.all_messages(Read::default()).map_ok(|message| message.global_position).try_collect().await.unwrap();
        assert_eq!(all.await.unwrap(), expected);
    }
}

/// Writers in transactions of their own, some of which are rolled back to savepoints or as a whole; and others without.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_of_all_messages_misses_nothing_beside_transactions_that_are_rolled_back() {
    let database = TestDatabase::create().await;
    let store: Store = connect(database.url()).await.unwrap();
    let own = Arc::new(PostgresStore::open(database.url()).await.unwrap());
    let mut writers = Vec::new();
    for writer in 0..4usize {
        let (own, url) = (own.clone(), database.url().to_owned());
        writers.push(tokio::spawn(async move {
            let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let append =
                |number: usize| Append::to(StreamName::new(format!("w{writer}-1")).unwrap()).message(message(number));
            let mut written = 0;
            for round in 0..25usize {
                let mut transaction = client.transaction().await.unwrap();
                if round % 2 == 0 {
                    transaction
                        .batch_execute("CREATE TEMPORARY TABLE IF NOT EXISTS t (x int); INSERT INTO t VALUES (1)")
                        .await
                        .unwrap();
                }
                {
                    let savepoint = transaction.transaction().await.unwrap();
                    own.append_within(&savepoint, append(round)).await.unwrap();
                    if round % 3 == 0 {
                        savepoint.rollback().await.unwrap();
                    } else {
                        savepoint.commit().await.unwrap();
                        written += 1;
                    }
                }
                own.append_within(&transaction, append(round)).await.unwrap();
                written += 1;
                tokio::time::sleep(Duration::from_millis((round * 7 % 11) as u64)).await;
                if round % 5 == 4 {
                    written -= 1 + usize::from(round % 3 != 0);
                    transaction.rollback().await.unwrap();
                } else {
                    transaction.commit().await.unwrap();
                }
            }
            written
        }));
    }
    let plain = tokio::spawn({
        let store = store.clone();
        async move { write_some(&store, "plain", 300).await }
    });
    let mut messages = Box::pin(Subscription::to_all(&store).poll_interval(Duration::from_millis(1)).messages());
    let reader = tokio::spawn(async move {
        let mut found = Vec::new();
        while let Ok(Some(next)) = tokio::time::timeout(Duration::from_secs(3), messages.next()).await {
            found.push(next.unwrap().global_position);
        }
        found
    });
    let mut written = 300;
    for writer in writers {
        written += writer.await.unwrap();
    }
    plain.await.unwrap();
    let found = reader.await.unwrap();
    let expected: Vec<GlobalPosition> =
        store.all_messages(Read::default()).map_ok(|message| message.global_position).try_collect().await.unwrap();
    assert_eq!(expected.len(), written);
    assert_eq!(found, expected);
}
