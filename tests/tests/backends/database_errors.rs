//! The texts of database errors, and their classification.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use message_store::postgres::{PlantedBug, PostgresOptions, PostgresStore};
use message_store::{Append, Category, Error, Json, MessageStore as _, NewMessage, Read, StreamName};
use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::postgres::TestDatabase;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_postgres::{Client, NoTls};

fn append(stream: &str) -> Vec<Append> {
    vec![Append::to(StreamName::new(stream).unwrap()).message(NewMessage::new("Deposited", Json::NULL))]
}

fn assert_reported_once(error: &Error, reason: &str) {
    assert_eq!(error.to_string().matches(reason).count(), 1, "{error}");
}

async fn connect(database: &TestDatabase) -> Client {
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn a_refused_connection_is_reported_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = PostgresStore::open(&format!("postgres://me@127.0.0.1:{port}/store")).await.unwrap_err();
    assert_reported_once(&error, "Connection refused");
    assert!(error.is_transient());
}

/// The test servers need no password, so this test uses a server that refuses every password.
#[tokio::test]
async fn a_wrong_password_is_reported_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 1024]).await;
            let fields = "SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"me\"\0\0";
            let length = i32::try_from(fields.len() + 4).unwrap();
            let answer = [&b"E"[..], &length.to_be_bytes(), fields.as_bytes()].concat();
            let _ = client.write_all(&answer).await;
        }
    });
    let error = PostgresStore::open(&format!("postgres://me:wrong@127.0.0.1:{port}/store")).await.unwrap_err();
    assert_reported_once(&error, "password authentication failed");
    assert!(!error.is_transient());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_missing_database_is_reported_once() {
    let database = TestDatabase::create_empty().await;
    let (server, _) = database.url().rsplit_once('/').unwrap();
    let error = PostgresStore::open(&format!("{server}/no_such_database")).await.unwrap_err();
    assert_reported_once(&error, r#"database "no_such_database" does not exist"#);
    assert!(!error.is_transient());
}

/// A read waits for a lock, and an administrator closes its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_that_the_server_ended_is_reported_once() {
    let database = TestDatabase::create().await;
    let store = Arc::new(PostgresStore::open(database.url()).await.unwrap());
    let foreign = connect(&database).await;
    foreign.batch_execute("BEGIN; LOCK TABLE message_store.messages IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let reading = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.read_category(&Category::new("account").unwrap(), Read::default()).await }
    });
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let administrator = connect(&database).await;
    while administrator.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = reading.await.unwrap().unwrap_err();
    assert_reported_once(&error, "terminating connection due to administrator command");
    assert!(error.is_transient());
}

/// Callers that share a batch and callers that are alone get the same error.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_that_find_no_server_say_why_once() {
    let database = TestDatabase::create().await;
    let config: tokio_postgres::Config = database.url().parse().unwrap();
    let proxy = CuttingProxy::start(format!("127.0.0.1:{}", config.get_ports()[0]), "no mark").await;
    let store = PostgresStore::open(&proxy.url(database.url())).await.unwrap();
    proxy.refuse();
    for error in join_all((0..40).map(|number| store.append(append(&format!("account-{number}")).into()))).await {
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Backend { transient: true, .. }), "{error:?}");
        assert_reported_once(&error, "connecting to postgres://");
        // The error depends on the moment at which the proxy closes the connection.
        let text = error.to_string();
        let said =
            ["connection closed", "reset by peer", "Broken pipe"].iter().filter(|reason| text.contains(**reason));
        assert_eq!(said.count(), 1, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn look_ups_that_share_a_query_say_why_once() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    database.execute("ALTER TABLE message_store.messages RENAME TO elsewhere").await;
    for error in join_all((0..20).map(|_| store.message(message_store::MessageId::new()))).await {
        let error = error.unwrap_err();
        assert_reported_once(&error, r#"relation "message_store.messages" does not exist"#);
        assert_reported_once(&error, "looking up messages");
        assert!(!error.is_transient());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_may_only_be_read_is_a_passing_fault() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::open(&format!("{}?options=-c%20default_transaction_read_only%3Don", database.url()))
        .await
        .unwrap();
    let error = store.append(append("account-1").into()).await.unwrap_err();
    assert!(matches!(error, Error::Backend { transient: true, .. }), "{error:?}");
    assert_reported_once(&error, "in a read-only transaction");
}

async fn error_with(setting: &str, sql: &str) -> Error {
    let database = TestDatabase::create().await;
    let store = PostgresStore::open(&format!("{}?options=-c%20{setting}%3D100", database.url())).await.unwrap();
    let foreign = connect(&database).await;
    foreign.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
    store.append(append("account-1").into()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_statement_time_out_has_its_own_error() {
    let error = error_with("statement_timeout", "SELECT message_store.acquire_lock('account-1')").await;
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_reported_once(&error, "canceling statement due to statement timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lock_time_out_has_its_own_error() {
    let error = error_with("lock_timeout", "SELECT message_store.acquire_lock('account-1')").await;
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_reported_once(&error, "canceling statement due to lock timeout");
}

const APPENDS: i64 = 32;

/// The number of statements that reach the server for 32 appends that all time out.
async fn attempts(bug: Option<PlantedBug>) -> i64 {
    let database = TestDatabase::create().await;
    let url = format!("{}?options=-c%20statement_timeout%3D100", database.url());
    let mut options = PostgresOptions::from_url(&url).unwrap();
    if let Some(bug) = bug {
        options = options.plant(bug);
    }
    let store = options.open().await.unwrap();
    database
        .execute(
            "CREATE SEQUENCE public.attempts; \
             CREATE FUNCTION public.never() RETURNS void LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM nextval('public.attempts'); PERFORM pg_sleep(3600); END $$; \
             CREATE OR REPLACE FUNCTION message_store.lock_category(stream_name varchar) RETURNS void \
             LANGUAGE sql AS 'SELECT public.never()'; \
             CREATE OR REPLACE FUNCTION message_store.lock_categories(stream_names text[]) RETURNS void \
             LANGUAGE sql AS 'SELECT public.never()'; \
             CREATE OR REPLACE FUNCTION message_store.lock_free_categories(stream_names text[], wait_for text) \
             RETURNS boolean[] LANGUAGE sql AS 'SELECT NULL::boolean[] FROM public.never()'",
        )
        .await;
    for error in join_all((0..APPENDS).map(|number| store.append(append(&format!("account-{number}")).into()))).await {
        assert!(matches!(error, Err(Error::TimedOut { .. })), "{error:?}");
    }
    connect(&database).await.query_one("SELECT last_value FROM public.attempts", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_that_took_too_long_is_not_halved() {
    let attempts = attempts(None).await;
    assert!(attempts < APPENDS / 2, "{attempts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_time_outs_are_halved_each_append_takes_too_long_by_itself() {
    let attempts = attempts(Some(PlantedBug::TimeOutsAreHalved)).await;
    assert!(attempts > APPENDS, "{attempts}");
}
