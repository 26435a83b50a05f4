//! Indexes that are built while writers work: missing ones are found and built, and interrupted builds are mended.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use futures_util::future::join_all;
use message_store::postgres::{check, migrate};
use message_store::{Append, Json, NewMessage, StreamName, connect};
use message_store_tests::message_db::connect as client;
use message_store_tests::postgres::TestDatabase;

const DROP: &str = "DROP INDEX message_store.messages_tags";
/// What an interrupted build leaves.
const INTERRUPT: &str =
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'message_store.messages_tags'::regclass";

async fn problem(database: &TestDatabase) -> Option<String> {
    let found = check(database.url()).await.unwrap().findings;
    found.into_iter().find(|finding| finding.what == "index messages_tags").unwrap().problem
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_missing_or_half_built_is_found_and_built() {
    for (fault, found) in [(DROP, "it is missing"), (INTERRUPT, "its build was interrupted")] {
        let database = TestDatabase::create().await;
        assert_eq!(problem(&database).await, None);
        database.execute(fault).await;
        let problem_text = problem(&database).await.unwrap();
        assert!(problem_text.contains(found) && problem_text.contains("`migrate`"), "{problem_text}");
        // A store works without it.
        let store = connect(database.url()).await.unwrap();
        store.append(append().into()).await.unwrap();
        migrate(database.url()).await.unwrap();
        assert_eq!(problem(&database).await, None, "{fault}");
    }
}

fn append() -> Append {
    Append::to(StreamName::new("account-1").unwrap()).message(NewMessage::new("T", Json::NULL))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_migrate_at_once_build_an_index_once() {
    let database = TestDatabase::create().await;
    database.execute(DROP).await;
    let migrating = (0..6).map(|_| {
        let url = database.url().to_owned();
        tokio::spawn(async move { migrate(&url).await.map(drop) })
    });
    for migrated in join_all(migrating).await {
        migrated.unwrap().unwrap();
    }
    assert_eq!(problem(&database).await, None);
}

/// Whether an append gets through while an index is being built, which waits for an open transaction that has written.
async fn writes_while_building(build: impl Future<Output = ()> + Send + 'static, database: &TestDatabase) -> bool {
    let mut open = client(database.url(), None).await;
    let transaction = open.transaction().await.unwrap();
    let write = "SELECT message_store.write_message(gen_random_uuid()::varchar, 'slow-1', 'T', '{}')";
    transaction.execute(write, &[]).await.unwrap();
    let building = tokio::spawn(build);
    let observer = client(database.url(), None).await;
    // The build has begun when it waits for the transaction.
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE '%create index%' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()";
    while observer.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let store = connect(database.url()).await.unwrap();
    let writing = tokio::spawn(async move { store.append(append().into()).await });
    let is_written = tokio::time::timeout(Duration::from_secs(3), writing).await.is_ok();
    transaction.commit().await.unwrap();
    building.await.unwrap();
    is_written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_go_on_while_an_index_is_built() {
    let database = TestDatabase::create().await;
    database.execute(DROP).await;
    let url = database.url().to_owned();
    assert!(
        writes_while_building(
            async move {
                let _ = migrate(&url).await.unwrap();
            },
            &database
        )
        .await
    );
    assert_eq!(problem(&database).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_writers_wait_for_an_index_that_is_built_in_a_transaction() {
    let database = TestDatabase::create().await;
    let builder = client(database.url(), None).await;
    let build = async move {
        builder.batch_execute("CREATE INDEX other ON message_store.messages (type)").await.unwrap();
    };
    assert!(!writes_while_building(build, &database).await);
}
