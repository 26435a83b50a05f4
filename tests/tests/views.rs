//! Read models: each message is applied once, and no row goes back to an older version.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use message_store::postgres::{self, PostgresStore};
use message_store::sqlite::{self, SqliteStore};
use message_store::{
    Category, Error, ExpectedVersion, Json, Message, MessageStoreExt as _, NewMessage, Source, StreamName,
};
use message_store_tests::message_db;
use message_store_tests::postgres::TestDatabase;

/// A read model with the balance, the number of deposits and the version of each account.
#[derive(Default)]
struct Balances {
    fails: AtomicBool,
}

const UPSERT: &str = "INSERT INTO balances (account, balance, version) VALUES ($1, $2, $3) \
     ON CONFLICT (account) DO UPDATE SET balance = balances.balance + excluded.balance, version = excluded.version \
     WHERE balances.version < excluded.version";
const TABLE: &str =
    "CREATE TABLE balances (account TEXT PRIMARY KEY, balance BIGINT NOT NULL, version BIGINT NOT NULL)";

fn row(message: &Message) -> (String, i64, i64) {
    (message.stream.id().unwrap().to_owned(), message.decode_data().unwrap(), message.position.get())
}

impl Balances {
    fn fail_at_the_third(&self, message: &Message) -> Result<(), Source> {
        if self.fails.load(Ordering::SeqCst) && message.position.get() == 2 {
            Err("a planted failure".into())
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl postgres::View for Balances {
    fn name(&self) -> &'static str {
        "balances"
    }

    async fn apply(&self, transaction: &postgres::Transaction<'_>, message: &Message) -> Result<(), Source> {
        let (account, amount, version) = row(message);
        transaction.execute(UPSERT, &[&account, &amount, &version]).await?;
        self.fail_at_the_third(message)
    }
}

impl sqlite::View for Balances {
    fn name(&self) -> &'static str {
        "balances"
    }

    fn apply(&self, transaction: &sqlite::Transaction<'_>, message: &Message) -> Result<(), Source> {
        transaction.execute(UPSERT, row(message))?;
        self.fail_at_the_third(message)
    }
}

async fn deposit(store: &impl message_store::MessageStore, times: usize) {
    let stream = StreamName::new("account-1").unwrap();
    for _ in 0..times {
        let message = NewMessage::new("Deposited", Json::parse("10").unwrap());
        store.append_to(&stream, ExpectedVersion::Any, vec![message]).await.unwrap();
    }
}

fn account() -> Category {
    Category::new("account").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_view_on_postgres_sees_each_message_once_whatever_fails_and_whoever_updates_it() {
    let database = TestDatabase::create().await;
    database.execute(TABLE).await;
    let store = Arc::new(PostgresStore::open(database.url()).await.unwrap());
    let client = message_db::connect(database.url(), None).await;
    let balance = async || {
        let rows = client.query("SELECT balance, version FROM balances", &[]).await.unwrap();
        rows.first().map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1)))
    };
    let view = Arc::new(Balances::default());
    deposit(&*store, 5).await;
    view.fails.store(true, Ordering::SeqCst);
    let failed = store.update_view(&*view, &account()).await;
    assert!(matches!(failed, Err(Error::Handler { .. })), "{failed:?}");
    assert_eq!(balance().await, None, "nothing of the batch is there");

    view.fails.store(false, Ordering::SeqCst);
    let updating = (0..4).map(|_| {
        let (store, view) = (Arc::clone(&store), Arc::clone(&view));
        tokio::spawn(async move { store.update_view(&*view, &account()).await.unwrap() })
    });
    let mut applied = 0;
    for updating in updating.collect::<Vec<_>>() {
        applied += updating.await.unwrap();
    }
    assert_eq!((applied, balance().await), (5, Some((50, 4))));
    // When the read model is rebuilt from the beginning, the check of the version keeps the newer rows.
    client.batch_execute("DELETE FROM message_store.view_positions").await.unwrap();
    assert_eq!(store.update_view(&*view, &account()).await.unwrap(), 5);
    assert_eq!(balance().await, Some((50, 4)));
}

/// The transaction and the place of the row that contains a position.
async fn version_of_the_position(client: &tokio_postgres::Client) -> Vec<String> {
    let rows = client.query("SELECT xmin::text || ctid::text FROM message_store.view_positions", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_update_of_a_view_on_postgres_that_finds_nothing_new_writes_nothing() {
    let database = TestDatabase::create().await;
    database.execute(TABLE).await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    let client = message_db::connect(database.url(), None).await;
    let view = Balances::default();
    assert_eq!(store.update_view(&view, &account()).await.unwrap(), 0);
    assert!(version_of_the_position(&client).await.is_empty());
    deposit(&store, 2).await;
    assert_eq!(store.update_view(&view, &account()).await.unwrap(), 2);
    let before = version_of_the_position(&client).await;
    assert_eq!(store.update_view(&view, &account()).await.unwrap(), 0);
    assert_eq!(version_of_the_position(&client).await, before);
}

/// The earlier first statement of an update, which also writes an unchanged row.
#[tokio::test]
async fn twin_an_upsert_of_the_position_that_stands_writes_it_again() {
    let database = TestDatabase::create().await;
    let client = message_db::connect(database.url(), None).await;
    let upsert = "INSERT INTO message_store.view_positions AS p (view, global_position) VALUES ('balances', 0) \
                  ON CONFLICT (view) DO UPDATE SET global_position = p.global_position";
    client.batch_execute(upsert).await.unwrap();
    let before = version_of_the_position(&client).await;
    client.batch_execute(upsert).await.unwrap();
    assert_ne!(version_of_the_position(&client).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_view_on_sqlite_sees_each_message_once_whatever_fails_and_whoever_updates_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = Arc::new(SqliteStore::open(&path).await.unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(TABLE).unwrap();
    let balance = || {
        let sql = "SELECT balance, version FROM balances";
        connection.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).ok()
    };
    let view = Arc::new(Balances::default());
    deposit(&*store, 5).await;
    view.fails.store(true, Ordering::SeqCst);
    let failed = store.update_view(Arc::clone(&view), &account()).await;
    assert!(matches!(failed, Err(Error::Handler { .. })), "{failed:?}");
    assert_eq!(balance(), None, "nothing of the batch is there");

    view.fails.store(false, Ordering::SeqCst);
    let updating = (0..4).map(|_| {
        let (store, view) = (Arc::clone(&store), Arc::clone(&view));
        tokio::spawn(async move { store.update_view(view, &account()).await.unwrap() })
    });
    let mut applied = 0;
    for updating in updating.collect::<Vec<_>>() {
        applied += updating.await.unwrap();
    }
    assert_eq!((applied, balance()), (5, Some((50, 4))));
    connection.execute_batch("DELETE FROM view_positions").unwrap();
    assert_eq!(store.update_view(view, &account()).await.unwrap(), 5);
    assert_eq!(balance(), Some((50, 4)));

    let memory = SqliteStore::open(":memory:").await.unwrap();
    assert_eq!(memory.update_view(Arc::new(Balances::default()), &account()).await.unwrap(), 0);
}

/// A view that writes on its own connection, instead of in the given transaction.
struct Beside(Balances, std::sync::Mutex<rusqlite::Connection>);

impl sqlite::View for Beside {
    fn name(&self) -> &'static str {
        "balances"
    }

    fn apply(&self, _transaction: &sqlite::Transaction<'_>, message: &Message) -> Result<(), Source> {
        self.1.lock().unwrap().execute("UPDATE balances SET balance = balance + ?1", [row(message).1])?;
        self.0.fail_at_the_third(message)
    }
}

#[tokio::test]
async fn twin_when_a_view_writes_beside_its_transaction_a_batch_that_fails_is_counted_twice() {
    let store = SqliteStore::open(":memory:").await.unwrap();
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE balances (balance BIGINT); INSERT INTO balances VALUES (0)").unwrap();
    deposit(&store, 5).await;
    let view = Arc::new(Beside(Balances::default(), connection.into()));
    view.0.fails.store(true, Ordering::SeqCst);
    store.update_view(Arc::clone(&view), &account()).await.unwrap_err();
    view.0.fails.store(false, Ordering::SeqCst);
    assert_eq!(store.update_view(Arc::clone(&view), &account()).await.unwrap(), 5);
    let sum =
        |connection: &rusqlite::Connection| connection.query_row("SELECT balance FROM balances", [], |row| row.get(0));
    let balance: i64 = sum(&view.1.lock().unwrap()).unwrap();
    assert_eq!(balance, 80, "not 50");
}
