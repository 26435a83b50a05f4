//! `message-store diagnose` names each trouble of a server that was planted, and none of a sound one.
#![allow(clippy::unwrap_used)]

mod shell;

use std::time::Duration;

use message_store::connect;
use message_store::postgres::migrate;
use message_store_tests::accounts::send_deposits;
use message_store_tests::message_db;
use message_store_tests::postgres::{LocalServer, Purpose, TestDatabase, servers_are_left_out};
use shell::Shell;

#[derive(Debug, PartialEq)]
struct Trouble {
    kind: String,
    what: String,
    mend: String,
}

/// The troubles, with the patience of so many seconds.
fn all(url: &str, patience: &str) -> Vec<Trouble> {
    let output = Shell(url.to_owned()).run(&["diagnose", "--patience", patience, "-o", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(output.status.code(), Some(if rows.is_empty() { 0 } else { 6 }), "{output:?}");
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| Trouble { kind: text(row, "trouble"), what: text(row, "what"), mend: text(row, "mend") })
        .collect()
}

fn look(url: &str) -> Vec<Trouble> {
    // The server of the tests does not wait for the disk.
    all(url, "0").into_iter().filter(|trouble| trouble.kind != "not-durable").collect()
}

fn assert_only(url: &str, kind: &str, what: &str, mend: &str) {
    let troubles = look(url);
    assert!(!troubles.is_empty() && troubles.iter().all(|trouble| trouble.kind == kind), "{troubles:?}");
    assert!(troubles.iter().any(|trouble| trouble.what.contains(what)), "{troubles:?}");
    assert!(troubles[0].mend.contains(mend), "{troubles:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_wrong_with_a_sound_server() {
    if servers_are_left_out() {
        return;
    }
    let server = LocalServer::start(Purpose::Measuring).await.unwrap();
    migrate(server.url()).await.unwrap();
    let store = connect(server.url()).await.unwrap();
    send_deposits(&store, "account:command", "1", 3).await;
    assert_eq!(all(server.url(), "60"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_wait_for_the_disk_is_named() {
    if servers_are_left_out() {
        return;
    }
    let server = LocalServer::start(Purpose::Defaults).await.unwrap();
    migrate(server.url()).await.unwrap();
    let troubles = all(server.url(), "0");
    assert_eq!(troubles.iter().map(|trouble| trouble.kind.as_str()).collect::<Vec<_>>(), ["not-durable"]);
    assert!(troubles[0].mend.contains("fsync = on"), "{troubles:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_to_upgrade_and_a_missing_right_are_named() {
    let database = TestDatabase::create().await;
    assert_eq!(look(database.url()), []);
    database.execute("REVOKE EXECUTE ON FUNCTION message_store.append_messages FROM message_store").await;
    assert_only(database.url(), "rights", "EXECUTE of append_messages", "message-store migrate");
    migrate(database.url()).await.unwrap();
    let newest = "DELETE FROM message_store.schema_history WHERE version = (SELECT max(version) FROM message_store.schema_history)";
    database.execute(newest).await;
    assert_only(database.url(), "schema-to-upgrade", "schema: the newest version", "message-store migrate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_keeps_others_waiting_is_named() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    // A reader is none, such as a dump.
    let reader = message_db::connect(database.url(), None).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM message_store.messages").await.unwrap();
    assert_eq!(look(database.url()), []);
    let writer = message_db::connect(database.url(), None).await;
    writer
        .batch_execute("SET application_name = 'billing'; BEGIN; SELECT message_store.write_message(gen_random_uuid()::varchar, 'account-1', 'T', '{}')")
        .await
        .unwrap();
    assert_only(database.url(), "foreign-transaction", "billing", "pg_terminate_backend");
    writer.batch_execute("COMMIT").await.unwrap();
    assert_eq!(look(database.url()), []);
    // A lock alone is none, until somebody waits for it.
    let locker = message_db::connect(database.url(), None).await;
    locker
        .batch_execute("SET application_name = 'locker'; BEGIN; SELECT pg_advisory_xact_lock(message_store.hash_64('account:command'))")
        .await
        .unwrap();
    assert_eq!(look(database.url()), []);
    let waiting = tokio::spawn(async move { send_deposits(&store, "account:command", "1", 1).await });
    while !look(database.url()).iter().any(|trouble| trouble.what.contains("locker")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    locker.batch_execute("ROLLBACK").await.unwrap();
    waiting.await.unwrap();
}
