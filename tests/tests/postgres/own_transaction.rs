//! Appends in a transaction of the caller: a row of its own and the message are in one commit.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::postgres::PostgresStore;
use message_store::store::{Condition, QueryItem};
use message_store::{
    Append, AppendRequest, Category, Error, Json, MessageId, MessageStore, MessageStoreExt as _, NewMessage, Position,
    Read, StreamName, Version,
};
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::{Client, IsolationLevel, NoTls};

async fn open(database: &TestDatabase) -> (PostgresStore, Client) {
    let store = PostgresStore::open(database.url()).await.unwrap();
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CREATE TABLE IF NOT EXISTS customers (id INT, city TEXT)").await.unwrap();
    (store, client)
}

fn customer() -> StreamName {
    StreamName::new("customer-7").unwrap()
}

fn moved(id: MessageId) -> NewMessage {
    NewMessage::new("Moved", Json::parse(r#"{"to":"Oslo"}"#).unwrap()).with_id(id)
}

/// Inserts a row and appends a message. Returns whether the message was written before.
async fn both(store: &PostgresStore, client: &mut Client, append: Append, commit: bool) -> Result<bool, Error> {
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO customers VALUES (7, 'Oslo')", &[]).await.unwrap();
    let appended = store.append_within(&transaction, append).await?;
    if commit && !appended.already_written {
        transaction.commit().await.unwrap();
        store.wake_readers(&[customer()]);
    }
    Ok(appended.already_written)
}

async fn counts(store: &PostgresStore, client: &Client) -> (i64, usize) {
    let rows = client.query_one("SELECT count(*) FROM customers", &[]).await.unwrap().get(0);
    let read = store.read_category(&Category::new("customer").unwrap(), Read::default()).await.unwrap();
    (rows, read.messages.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_and_its_message_are_committed_together_or_not_at_all() {
    let database = TestDatabase::create().await;
    let (store, mut client) = open(&database).await;
    let append = || Append::to(customer()).message(moved(MessageId::new()));
    assert!(!both(&store, &mut client, append(), false).await.unwrap());
    assert_eq!(counts(&store, &client).await, (0, 0), "it was rolled back");
    assert!(!both(&store, &mut client, append(), true).await.unwrap());
    assert_eq!(counts(&store, &client).await, (1, 1));
    // The stream has no gap, and others write after it.
    let next = store.append_to(&customer(), Version::at(Position::FIRST), vec![moved(MessageId::new())]).await.unwrap();
    assert_eq!(next.written[0].position.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_that_is_carried_out_again_finds_its_message() {
    let database = TestDatabase::create().await;
    let (store, mut client) = open(&database).await;
    let id = MessageId::new();
    let append = || Append::to(customer()).expecting(Version::NO_STREAM).message(moved(id));
    assert!(!both(&store, &mut client, append(), true).await.unwrap());
    assert!(both(&store, &mut client, append(), true).await.unwrap(), "it was written before");
    assert_eq!(counts(&store, &client).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_append_leaves_the_transaction_as_it_was() {
    let database = TestDatabase::create().await;
    let (store, mut client) = open(&database).await;
    store.append_to(&customer(), Version::NO_STREAM, vec![moved(MessageId::new())]).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO customers VALUES (7, 'Oslo')", &[]).await.unwrap();
    let stale = Append::to(customer()).expecting(Version::NO_STREAM).message(moved(MessageId::new()));
    let refused = store.append_within(&transaction, stale).await;
    assert!(matches!(refused, Err(Error::WrongExpectedVersion { .. })), "{refused:?}");
    let now = Append::to(customer()).expecting(Version::at(Position::FIRST)).message(moved(MessageId::new()));
    store.append_within(&transaction, now).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(counts(&store, &client).await, (1, 2));
}

/// A reader never finds a message below one that it has passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn others_write_to_the_category_after_an_open_transaction() {
    let database = TestDatabase::create().await;
    let (store, mut client) = open(&database).await;
    let transaction = client.transaction().await.unwrap();
    let first = Append::to(customer()).message(moved(MessageId::new()));
    store.append_within(&transaction, first).await.unwrap();
    let other = PostgresStore::open(database.url()).await.unwrap();
    let stream = StreamName::new("customer-8").unwrap();
    let second =
        tokio::spawn(async move { other.append_to(&stream, Version::NO_STREAM, vec![moved(MessageId::new())]).await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let all = store.read_category(&Category::new("customer").unwrap(), Read::default()).await.unwrap();
    assert!(all.messages.is_empty() && !second.is_finished());
    transaction.commit().await.unwrap();
    second.await.unwrap().unwrap();
    let all = store.read_category(&Category::new("customer").unwrap(), Read::default()).await.unwrap();
    let streams: Vec<_> = all.messages.iter().map(|message| message.stream.as_str()).collect();
    assert_eq!(streams, ["customer-7", "customer-8"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_in_another_stores_database_is_refused() {
    let (database, another) = (TestDatabase::create().await, TestDatabase::create().await);
    let (store, _) = open(&database).await;
    let (other, mut client) = open(&another).await;
    other.rotate_store_id().await.unwrap();
    let refused = both(&store, &mut client, Append::to(customer()).message(moved(MessageId::new())), true).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    assert_eq!(counts(&other, &client).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_with_a_condition_is_part_of_the_callers_transaction() {
    let database = TestDatabase::create().await;
    let (store, mut client) = open(&database).await;
    let customers = || QueryItem::of(Category::new("customer").unwrap()).types(["Moved"]);
    let request = |condition: Condition| {
        AppendRequest::from(Append::to(customer()).message(moved(MessageId::new()))).unless(condition)
    };
    let transaction = client.transaction().await.unwrap();
    store.append_within(&transaction, request(customers().into())).await.unwrap();
    // It sees its own message, and goes on after a refusal.
    let refused = store.append_within(&transaction, request(customers().into())).await;
    assert!(matches!(refused, Err(Error::ConditionFailed { .. })), "{refused:?}");
    transaction.execute("INSERT INTO customers VALUES (7, 'Oslo')", &[]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(counts(&store, &client).await, (1, 1));
}

/// Its snapshot is older than the locks, so it would not see what others have written meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_with_a_condition_in_a_repeatable_read_is_refused() {
    let database = TestDatabase::create().await;
    let (store, mut client) = open(&database).await;
    let customers = QueryItem::of(Category::new("customer").unwrap());
    for isolation in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        let transaction = client.build_transaction().isolation_level(isolation).start().await.unwrap();
        let request = AppendRequest::from(Append::to(customer()).message(moved(MessageId::new())));
        let refused = store.append_within(&transaction, request.unless(customers.clone())).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
        assert!(refused.to_string().contains("READ COMMITTED"), "{refused}");
        transaction.rollback().await.unwrap();
        assert_eq!(counts(&store, &client).await, (0, 0));
    }
}
