//! Appends while another program's transaction keeps the lock of a category.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use message_store::intents::{Answer, Once};
use message_store::postgres::{PlantedBug, PostgresOptions};
use message_store::{Append, Error, Json, Key, MessageStore, NewMessage, StreamName, connect};
use message_store_tests::message_db::connect as client;
use message_store_tests::postgres::TestDatabase;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

fn append(stream: &str) -> Append {
    Append::to(StreamName::new(stream).unwrap()).message(NewMessage::new("T", Json::NULL))
}

/// A transaction that keeps the lock of the category `locked`.
async fn locked(database: &TestDatabase) -> Client {
    let client = client(database.url(), None).await;
    client.batch_execute("BEGIN; SELECT message_store.acquire_lock('locked-1')").await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_to_a_locked_and_a_free_category_waits_alone() {
    let database = TestDatabase::create().await;
    let store: Arc<dyn MessageStore> = connect(database.url()).await.unwrap();
    let slow = locked(&database).await;
    let both: Vec<_> = (0..4)
        .map(|number| {
            let (store, request) = (Arc::clone(&store), vec![append("free-1"), append(&format!("locked-{number}"))]);
            tokio::spawn(async move { store.append(request.into()).await })
        })
        .collect();
    for round in 0..20 {
        try_join_all((0..20).map(|number| store.append(append(&format!("free-{round}x{number}")).into())))
            .await
            .unwrap();
        try_join_all((0..20).map(|number| store.append(append(&format!("other{number}-{round}")).into())))
            .await
            .unwrap();
    }
    assert!(both.iter().all(|task| !task.is_finished()));
    slow.batch_execute("ROLLBACK").await.unwrap();
    for written in join_all(both).await {
        assert_eq!(written.unwrap().unwrap().written.len(), 2);
    }
    assert_eq!(store.version(&StreamName::new("free-1").unwrap()).await.unwrap().get(), 3);
}

/// Two processes write to one category each, without a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_to_two_busy_categories_does_not_starve() {
    let database = TestDatabase::create().await;
    let store: Arc<dyn MessageStore> = connect(database.url()).await.unwrap();
    let mut busy = Vec::new();
    for category in ["left", "right"] {
        let other = connect(database.url()).await.unwrap();
        busy.extend((0..40).map(|number| {
            let other = Arc::clone(&other);
            tokio::spawn(async move {
                loop {
                    other.append(append(&format!("{category}-{number}")).into()).await.unwrap();
                }
            })
        }));
    }
    for round in 0..20 {
        // Alone, and together with others.
        let both = |number: usize| vec![append(&format!("left-both{number}")), append(&format!("right-both{number}"))];
        try_join_all((0..=round % 3).map(|number| store.append(both(number).into()))).await.unwrap();
    }
    for task in busy {
        task.abort();
    }
}

const WRITE: &str = "SELECT positions, refusals, has_waited FROM message_store.append_messages( \
                       ARRAY['locked-1', 'free-1', 'free-2'], ARRAY[NULL, NULL, NULL]::bigint[], ARRAY[1, 2], NULL, \
                       ARRAY[NULL, NULL, NULL]::bigint[], NULL, ARRAY[gen_random_uuid(), gen_random_uuid(), gen_random_uuid()], \
                       ARRAY['T', 'T', 'T'], ARRAY[NULL, NULL, NULL]::jsonb[], ARRAY[NULL, NULL, NULL]::jsonb[], $1)";

#[tokio::test]
async fn an_append_that_waits_for_no_category_leaves_out_those_that_are_locked() {
    let database = TestDatabase::create().await;
    let writer = client(database.url(), Some("message_store")).await;
    let slow = locked(&database).await;
    let row = writer.query_one(WRITE, &[&""]).await.unwrap();
    assert_eq!(row.get::<_, Vec<Option<i64>>>(0), [None, Some(0), Some(0)]);
    assert_eq!(row.get::<_, Vec<Option<String>>>(1), [Some(r#"{"locked" : "locked-1"}"#.to_owned()), None]);
    slow.batch_execute("ROLLBACK").await.unwrap();
    let row = writer.query_one(WRITE, &[&""]).await.unwrap();
    assert_eq!(row.get::<_, Vec<Option<i64>>>(0), [Some(0), Some(1), Some(1)]);
    assert_eq!(row.get::<_, Option<Vec<Option<String>>>>(1), None);
}

#[tokio::test]
async fn an_append_that_waits_for_one_category_keeps_no_other_locked_meanwhile() {
    let database = TestDatabase::create().await;
    let (writer, other) = (client(database.url(), None).await, client(database.url(), None).await);
    let slow = locked(&database).await;
    let writing = tokio::spawn(async move { writer.query_one(WRITE, &[&"locked"]).await.unwrap() });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while slow.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    // This would wait for ever.
    other.batch_execute("SELECT message_store.acquire_lock('free-1')").await.unwrap();
    slow.batch_execute("ROLLBACK").await.unwrap();
    let row = writing.await.unwrap();
    assert_eq!(row.get::<_, Vec<Option<i64>>>(0), [Some(0); 3]);
    assert!(row.get::<_, bool>(2));
}

async fn once(store: &Arc<dyn MessageStore>, key: usize, appends: Vec<Append>) -> Answer<u32> {
    let once = Once::new(store, "tests").unwrap();
    let key = Key::new(key.to_string()).unwrap();
    once.run(&key, &Json::NULL, async || Ok::<_, Error>((appends.clone(), 7))).await.unwrap()
}

/// More calls of `Once` than the store has connections, which wait for a locked category.
fn waiting_calls(store: &Arc<dyn MessageStore>) -> Vec<JoinHandle<Answer<u32>>> {
    let call = |number| {
        let (store, append) = (Arc::clone(store), append(&format!("locked-{number}")));
        tokio::spawn(async move { once(&store, number, vec![append]).await })
    };
    (0..40).map(call).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_once_waits_without_a_limit_reads_wait_too() {
    let database = TestDatabase::create().await;
    let options = PostgresOptions::from_url(database.url()).unwrap().plant(PlantedBug::OnceWaitsWithoutLimit);
    let store: Arc<dyn MessageStore> = Arc::new(options.open().await.unwrap());
    let slow = locked(&database).await;
    let waiting = waiting_calls(&store);
    let stream = StreamName::new("free-1").unwrap();
    // Reads go through until the calls have all connections.
    let reads = async {
        loop {
            tokio::time::timeout(Duration::from_secs(2), store.version(&stream)).await?.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended: Result<(), tokio::time::error::Elapsed> = reads.await;
    assert!(ended.is_err());
    slow.batch_execute("ROLLBACK").await.unwrap();
    for done in join_all(waiting).await {
        assert!(matches!(done.unwrap(), Answer::Done(7)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_of_once_that_wait_for_a_locked_category_stop_no_others() {
    let database = TestDatabase::create().await;
    let store: Arc<dyn MessageStore> = connect(database.url()).await.unwrap();
    let slow = locked(&database).await;
    let waiting = waiting_calls(&store);
    for number in 0_u16..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = once(&store, 100 + usize::from(number), vec![append("free-1")]).await;
        assert_eq!(store.version(&StreamName::new("free-1").unwrap()).await.unwrap().get(), i64::from(number));
    }
    assert!(waiting.iter().all(|task| !task.is_finished()));
    slow.batch_execute("ROLLBACK").await.unwrap();
    for done in join_all(waiting).await {
        assert!(matches!(done.unwrap(), Answer::Done(7)));
    }
}

/// The name of a category that is locked before `locked` by an append to both.
async fn earlier_category(client: &Client) -> String {
    let sql = "SELECT name FROM (SELECT 'free' || n AS name FROM generate_series(1, 1000) AS n) AS names \
               WHERE message_store.hash_64(name::varchar) < message_store.hash_64('locked') LIMIT 1";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn once_with_two_categories_keeps_none_locked_while_it_waits_for_the_other() {
    let database = TestDatabase::create().await;
    let (store, other) = (connect(database.url()).await.unwrap(), connect(database.url()).await.unwrap());
    let slow = locked(&database).await;
    let free = earlier_category(&slow).await;
    let waiting = {
        let (store, both) = (Arc::clone(&store), vec![append(&format!("{free}-1")), append("locked-1")]);
        tokio::spawn(async move { once(&store, 1, both).await })
    };
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        other.append(append(&format!("{free}-2")).into()).await.unwrap();
    }
    assert!(!waiting.is_finished());
    slow.batch_execute("ROLLBACK").await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Answer::Done(7)));
}

/// The connection of an append that waits is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_that_is_sent_again_keeps_no_category_locked_while_it_waits() {
    let database = TestDatabase::create().await;
    let (store, other) = (connect(database.url()).await.unwrap(), connect(database.url()).await.unwrap());
    let slow = locked(&database).await;
    let free = earlier_category(&slow).await;
    let both = vec![append(&format!("{free}-1")), append("locked-1")];
    let waiting = {
        let (store, both) = (Arc::clone(&store), both.clone());
        tokio::spawn(async move { store.append(both.into()).await })
    };
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks \
               WHERE NOT granted AND locktype = 'advisory' AND \
                 database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        slow.query_one(end, &[]).await.unwrap();
        other.append(append(&format!("{free}-2")).into()).await.unwrap();
    }
    slow.batch_execute("ROLLBACK").await.unwrap();
    let waited = waiting.await.unwrap();
    assert!(matches!(waited, Ok(_) | Err(Error::CommitUnknown { .. })), "{waited:?}");
    store.append(both.into()).await.unwrap();
}
