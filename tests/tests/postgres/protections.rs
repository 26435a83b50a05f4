//! The protections of the PostgreSQL store, and twins that show that the tests fail without them.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::postgres::PostgresStore;
use message_store::testing::conformance::order::count_skipped;
use message_store::{Error, ExpectedVersion, Json, MessageStore as _, MessageStoreExt as _, NewMessage, StreamName};
use message_store_tests::bounds::instead_of_bounds;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::subjects::Postgres;

/// The number of rounds. A skip depends on timing, and happens in one of them. (The replaced functions have the mark of
/// a later version, so opening the store does not restore them.)
const ROUNDS: usize = 20;

async fn is_skip_noticed(sabotage: &str) -> bool {
    for _ in 0..ROUNDS {
        let database = TestDatabase::create().await;
        database.execute(sabotage).await;
        if count_skipped(&Postgres::of(database).await).await > 0 {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_without_the_category_lock_a_reader_skips_messages() {
    let no_lock = "CREATE OR REPLACE FUNCTION message_store.lock_categories(stream_names text[]) RETURNS void \
                   LANGUAGE sql AS $$ /* -- message-store functions 1000 */ SELECT $$; \
                   CREATE OR REPLACE FUNCTION message_store.lock_free_categories(stream_names text[], wait_for text) \
                   RETURNS boolean[] LANGUAGE sql AS $$ /* -- message-store functions 1000 */ SELECT NULL::boolean[] $$";
    assert!(is_skip_noticed(no_lock).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_without_the_published_bounds_a_reader_of_all_messages_skips_messages() {
    assert!(is_skip_noticed(&instead_of_bounds("NULL;")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_migrate_an_empty_database_at_once_all_succeed() {
    let database = TestDatabase::create_empty().await;
    let opening: Vec<_> = (0..6)
        .map(|_| {
            let url = database.url().to_owned();
            tokio::spawn(async move { PostgresStore::open(&url).await.unwrap().store_id() })
        })
        .collect();
    let mut identities = Vec::new();
    for opening in opening {
        identities.push(opening.await.unwrap());
    }
    identities.dedup();
    assert_eq!(identities.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_not_there_is_a_typed_error_without_the_password() {
    let error = PostgresStore::open("postgres://me:secret@127.0.0.1:1/nothing").await.unwrap_err();
    assert!(matches!(error, Error::Backend { transient: true, .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1/nothing"), "{error}");
    assert!(!format!("{error:?} {error}").contains("secret"));
    let error = message_store::connect("mysql://here").await.unwrap_err();
    assert!(error.to_string().contains("sqlite:"), "{error}");
}

/// No caller keeps a connection while it waits for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pool_of_one_connection_serves_many_callers() {
    let database = TestDatabase::create().await;
    let options = message_store::postgres::PostgresOptions::from_url(database.url()).unwrap().reading_connections(1);
    let store = std::sync::Arc::new(options.open().await.unwrap());
    let callers: Vec<_> = (0..50)
        .map(|number| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                let stream = StreamName::new(format!("account-{number}")).unwrap();
                store
                    .append_to(&stream, ExpectedVersion::NoStream, vec![NewMessage::new("A", Json::NULL)])
                    .await
                    .unwrap();
                store.version(&stream).await.unwrap()
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().get(), 0);
    }
}
