//! Appends in a transaction of the author's, with every isolation, beside the archive.

use message_store::postgres::PostgresStore;
use message_store::*;
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::{Client, IsolationLevel, NoTls};

use super::{Store, archive};

async fn client(database: &TestDatabase) -> Client {
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn stream() -> StreamName {
    StreamName::new("customer-7").unwrap()
}

fn message() -> NewMessage {
    NewMessage::new("T", Json::NULL)
}

async fn positions(store: &Store) -> Vec<i64> {
    let messages = store.read_stream(&stream(), StreamRead::default()).await.unwrap();
    messages.iter().map(|message| message.position.get()).collect()
}

async fn beside_the_archive(isolation: IsolationLevel) {
    let database = TestDatabase::create().await;
    let own = PostgresStore::open(database.url()).await.unwrap();
    let store: Store = connect(database.url()).await.unwrap();
    let mut client = client(&database).await;
    store.append(Append::to(stream()).message(message()).into()).await.unwrap();
    let transaction = client.build_transaction().isolation_level(isolation).start().await.unwrap();
    // The author reads something of its own: the transaction's view begins.
    transaction.query("SELECT count(*) FROM pg_class", &[]).await.unwrap();
    // Meanwhile others write to the stream, and its old messages are archived.
    store.append(Append::to(stream()).messages([message(), message()]).into()).await.unwrap();
    assert_eq!(archive(&store, "customer").await, 2);
    let appended = own.append_within(&transaction, Append::to(stream()).message(message())).await;
    let expected: Vec<i64> = if appended.is_ok() {
        match transaction.commit().await {
            Ok(()) => vec![0, 1, 2, 3],
            Err(_) => vec![0, 1, 2],
        }
    } else {
        drop(transaction);
        vec![0, 1, 2]
    };
    let found = positions(&store).await;
    assert_eq!(found, expected, "{isolation:?}: {appended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeatable_read_beside_the_archive_writes_no_position_twice() {
    beside_the_archive(IsolationLevel::RepeatableRead).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_serializable_transaction_beside_the_archive_writes_no_position_twice() {
    beside_the_archive(IsolationLevel::Serializable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn control_read_committed_beside_the_archive() {
    beside_the_archive(IsolationLevel::ReadCommitted).await;
}

/// An id that was written and archived after the view began.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeatable_read_writes_no_id_twice() {
    let database = TestDatabase::create().await;
    let own = PostgresStore::open(database.url()).await.unwrap();
    let store: Store = connect(database.url()).await.unwrap();
    let mut client = client(&database).await;
    let same = message();
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.unwrap();
    transaction.query("SELECT count(*) FROM pg_class", &[]).await.unwrap();
    store.append(Append::to(stream()).message(same.clone()).into()).await.unwrap();
    store.append(Append::to(stream()).message(message()).into()).await.unwrap();
    assert_eq!(archive(&store, "customer").await, 1);
    let other = StreamName::new("customer-8").unwrap();
    let again = own.append_within(&transaction, Append::to(other.clone()).message(same.clone())).await;
    if again.is_ok() {
        let _ = transaction.commit().await;
    }
    let count: i64 = database_count(&database, &same).await;
    assert_eq!(count, 1, "{again:?}");
}

async fn database_count(database: &TestDatabase, message: &NewMessage) -> i64 {
    let client = client(database).await;
    let sql = "SELECT count(*) FROM message_store.messages WHERE id = $1";
    client.query_one(sql, &[&message.id.as_uuid()]).await.unwrap().get(0)
}

/// Its view is older than the lock of the category. A conflict could not be told from a write that it does not see.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_in_a_repeatable_read_is_refused() {
    let database = TestDatabase::create().await;
    let own = PostgresStore::open(database.url()).await.unwrap();
    let store: Store = connect(database.url()).await.unwrap();
    let mut client = client(&database).await;
    store.append(Append::to(stream()).message(message()).into()).await.unwrap();
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.unwrap();
    transaction.query("SELECT count(*) FROM pg_class", &[]).await.unwrap();
    store.append(Append::to(stream()).message(message()).into()).await.unwrap();
    let stale = Append::to(stream()).expecting(Version::at(Position::FIRST)).message(message());
    let refused = own.append_within(&transaction, stale).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }) && refused.to_string().contains("READ COMMITTED"), "{refused}");
}

/// Message DB's function, which says that it tells version conflicts under every isolation level.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn write_message_in_a_repeatable_read_beside_the_archive_writes_no_position_twice() {
    let database = TestDatabase::create().await;
    let store: Store = connect(database.url()).await.unwrap();
    let mut client = client(&database).await;
    store.append(Append::to(stream()).message(message()).into()).await.unwrap();
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.unwrap();
    transaction.query("SELECT count(*) FROM pg_class", &[]).await.unwrap();
    store.append(Append::to(stream()).messages([message(), message()]).into()).await.unwrap();
    assert_eq!(archive(&store, "customer").await, 2);
    let id = MessageId::new().to_string();
    let sql = "SELECT message_store.write_message($1::text, 'customer-7', 'T', '{}'::jsonb)";
    let written = transaction.query_one(sql, &[&id]).await;
    let is_committed = written.is_ok() && transaction.commit().await.is_ok();
    let expected: Vec<i64> = if is_committed { vec![0, 1, 2, 3] } else { vec![0, 1, 2] };
    assert_eq!(positions(&store).await, expected, "{written:?}");
}
