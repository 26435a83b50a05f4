//! A store behind `PgBouncer` in transaction mode. (The conformance suite runs there too.)
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use message_store::postgres::{PlantedBug, PostgresOptions, adopt, check, migrate};
use message_store::{Error, MessageStore, Position, Version, connect};
use message_store_tests::accounts::messages_of;
use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::message_db;
use message_store_tests::postgres::{
    LocalServer, Pooler, Purpose, TestDatabase, poolers_are_left_out, programs_are_left_out,
};
use message_store_tests::warnings::Warnings;
use tokio::time::timeout;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::everything::{Store, database, use_all};
use crate::failover::{address, deposits, fail_over, with_servers};

const LEFT_BEHIND: &str = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
     WHERE l.locktype = 'advisory' AND d.datname = current_database()";

async fn count(url: &str, sql: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_pooler_is_found_and_named_once() {
    if poolers_are_left_out() {
        return;
    }
    let database = TestDatabase::create().await;
    for ignores_options in [false, true] {
        let pooler = Pooler::start(database.url(), 4, ignores_options).await;
        let warnings = Warnings::default();
        let guard = warnings.collect();
        let _store = connect(&pooler.url(database.url()).unwrap()).await.unwrap();
        drop(guard);
        let named = warnings.so_far().iter().filter(|warning| warning.contains("a pooler is between")).count();
        assert_eq!(named, 1, "{:?}", warnings.so_far());
    }
    let warnings = Warnings::default();
    let _guard = warnings.collect();
    let _store = connect(database.url()).await.unwrap();
    assert!(!warnings.so_far().iter().any(|warning| warning.contains("pooler")), "{:?}", warnings.so_far());
}

/// Everything at once. Nothing waits for ever, nothing is lost
/// or doubled, and no lock stays behind, also if the sessions of the pooler have another isolation by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_works_behind_a_pooler() {
    if poolers_are_left_out() {
        return;
    }
    let database = database().await;
    let name = database.url().rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned();
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")).await;
    let pooler = Pooler::start(database.url(), 8, false).await;
    let store: Store = connect(&pooler.url(database.url()).unwrap()).await.unwrap();
    timeout(Duration::from_mins(2), use_all(&store)).await.expect("nothing waits for ever");
    let direct: Store = connect(database.url()).await.unwrap();
    assert_eq!(messages_of(&direct, "account:command").await.len(), 200);
    drop(store);
    assert_eq!(count(database.url(), LEFT_BEHIND).await, 0);
    assert_eq!(prepared_statements(&pooler.url(database.url()).unwrap()).await, 0);
}

/// The prepared statements in the sessions of a pooler, which hands them out in turn.
async fn prepared_statements(url: &str) -> usize {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut found = 0;
    for _ in 0..32 {
        let answers = client.simple_query("SELECT name FROM pg_prepared_statements").await.unwrap();
        found += answers.iter().filter(|answer| matches!(answer, SimpleQueryMessage::Row(_))).count();
    }
    found
}

/// The sessions of the pooler have no time limit, so a transaction that writes brings its own.
#[tokio::test]
async fn an_append_behind_a_pooler_that_takes_too_long_was_not_written() {
    if poolers_are_left_out() {
        return;
    }
    let database = TestDatabase::create().await;
    let pooler = Pooler::start(database.url(), 4, false).await;
    let options = PostgresOptions::from_url(&pooler.url(database.url()).unwrap()).unwrap();
    let store = options.answer_within(Duration::from_secs(2)).open().await.unwrap();
    let (other, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    other.batch_execute("BEGIN; SELECT message_store.acquire_lock('account-1')").await.unwrap();
    let late = store.append(deposits(1, Version::NO_STREAM)).await.err().unwrap();
    assert!(matches!(late, Error::TimedOut { .. }), "{late:?}");
    other.batch_execute("ROLLBACK").await.unwrap();
    store.append(deposits(1, Version::NO_STREAM)).await.unwrap();
}

/// Two processes make the schema at once, and no lock stays behind in a session of the pooler.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_schema_is_made_and_adopted_behind_a_pooler() {
    if poolers_are_left_out() {
        return;
    }
    let database = TestDatabase::create_empty().await;
    let pooler = Pooler::start(database.url(), 4, false).await;
    let url = pooler.url(database.url()).unwrap();
    let (one, two) = tokio::join!(connect(&url), connect(&url));
    assert_eq!(one.unwrap().store_id(), two.unwrap().store_id());
    assert!(check(&url).await.unwrap().findings.iter().all(|item| item.problem.is_none() || item.what == "fsync"));
    assert!(migrate(&url).await.unwrap().is_current());
    assert_eq!(count(database.url(), LEFT_BEHIND).await, 0);

    let database = message_db::message_db().await;
    let url = pooler.url(database.url()).unwrap();
    adopt(&url).await.unwrap();
    assert!(migrate(&url).await.unwrap().is_current());
    assert_eq!(count(database.url(), LEFT_BEHIND).await, 0);
}

/// Wake-ups do not arrive through a pooler that the store was told is not there.
#[tokio::test]
async fn wake_ups_that_do_not_arrive_are_named() {
    if poolers_are_left_out() {
        return;
    }
    let database = TestDatabase::create().await;
    let pooler = Pooler::start(database.url(), 1, true).await;
    let url = pooler.url(database.url()).unwrap();
    for (url, arrive) in [(url, false), (database.url().to_owned(), true)] {
        let warnings = Warnings::default();
        let _guard = warnings.collect();
        let options = PostgresOptions::from_url(&url).unwrap().pooler(false);
        let store = options.answer_within(Duration::from_secs(2)).open().await.unwrap();
        let _wake_up = store.wake_up(None).await.unwrap();
        let named = async {
            while !warnings.so_far().iter().any(|warning| warning.contains("wake-ups of the server do not arrive")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let limit = if arrive { Duration::from_secs(4) } else { Duration::from_mins(1) };
        assert_eq!(timeout(limit, named).await.is_err(), arrive, "{:?}", warnings.so_far());
    }
}

/// The result of an append that was decided before a failover behind the pooler, whose connection to this process stays.
async fn append_decided_before_a_failover(bug: Option<PlantedBug>) -> Result<(), Error> {
    with_servers(async |servers| {
        let primary = LocalServer::start(Purpose::Tests).await.unwrap();
        let proxy = CuttingProxy::start(address(primary.url()), "no mark").await;
        let pooler = Pooler::start(&proxy.url(primary.url()), 4, false).await;
        let mut options = PostgresOptions::from_url(&pooler.url(primary.url()).unwrap()).unwrap();
        if let Some(bug) = bug {
            options = options.plant(bug);
        }
        let store = options.open().await.unwrap();
        store.append(deposits(3, Version::NO_STREAM)).await.unwrap();
        let before = fail_over(&store, primary, &proxy, servers).await;
        // Passing faults of the failover itself are waited out.
        let append = async {
            loop {
                let request = deposits(1, Version::at(Position::new(4))).in_history(before);
                match store.append(request).await {
                    Err(error @ Error::HistoryChanged { .. }) => return Err(error),
                    Err(error) if error.is_transient() || matches!(error, Error::CommitUnknown { .. }) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    result => return result.map(drop),
                }
            }
        };
        timeout(Duration::from_mins(2), append).await.expect("the failover ends")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_decided_before_a_failover_behind_the_pooler_is_not_written() {
    if poolers_are_left_out() || programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let refused = append_decided_before_a_failover(None).await;
    assert!(matches!(refused, Err(Error::HistoryChanged { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_the_server_is_not_asked_in_each_transaction_it_is_written() {
    if poolers_are_left_out() || programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    append_decided_before_a_failover(Some(PlantedBug::PoolersChangeServers)).await.unwrap();
}
