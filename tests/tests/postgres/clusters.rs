//! Tests that need their own server: a standby, the server's default settings, a cluster without the role
//! `message_store`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::ops::Deref;
use std::process::{Command, Stdio};
use std::sync::Arc;

use message_store::postgres::{PostgresStore, check, migrate};
use message_store::{Category, Error, GlobalPosition, MessageStore as _, Read};
use message_store_tests::bounds::instead_of_bounds;
use message_store_tests::message_db::{connect, write_message};
use message_store_tests::postgres::{LocalServer, Purpose, programs_are_left_out, servers_are_left_out};
use message_store_tests::warnings::Warnings;
use tokio_postgres::Client;

/// A server that stops at the end of the test, even if the test panics.
struct Cluster(Option<LocalServer>);

impl Cluster {
    async fn start(purpose: Purpose) -> Self {
        Self(Some(LocalServer::start(purpose).await.unwrap()))
    }
}

impl Deref for Cluster {
    type Target = LocalServer;

    fn deref(&self) -> &LocalServer {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            let _ = server.stop();
        }
    }
}

/// Waits until the standby has replayed all writes of the primary.
async fn catch_up(primary: &Client, standby: &Client) {
    let written: String = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
    let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
    while !standby.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Reads all messages on a standby, while a lower position is not committed yet on the primary. Returns the positions
/// that it saw in the end.
async fn read_all_on_a_standby(preparation: &str) -> Result<Vec<i64>, Error> {
    let primary = Cluster::start(Purpose::Tests).await;
    drop(PostgresStore::open(primary.url()).await.unwrap());
    let (writer, slow) = (connect(primary.url(), None).await, connect(primary.url(), None).await);
    writer.batch_execute(preparation).await.unwrap();
    let standby = Cluster(Some(primary.standby(Purpose::Tests).await.unwrap()));
    let replica = connect(standby.url(), None).await;

    slow.batch_execute("BEGIN").await.unwrap();
    write_message(&slow, "slow-1", "{}").await.unwrap();
    write_message(&writer, "quick-1", "{}").await.unwrap();
    catch_up(&writer, &replica).await;
    let store = PostgresStore::open(standby.url()).await.unwrap();
    let quick = store.read_category(&Category::new("quick").unwrap(), Read::default()).await.unwrap();
    assert_eq!(quick.messages.len(), 1, "a category is read on a standby");

    let mut seen = Vec::new();
    let batch = store.read_all(Read::default()).await?;
    seen.extend(batch.messages.iter().map(|message| message.global_position.get()));
    slow.batch_execute("COMMIT").await.unwrap();
    catch_up(&writer, &replica).await;
    let from = batch.messages.last().map_or(GlobalPosition::ZERO, |last| last.global_position.next());
    let batch = store.read_all(Read::from(from)).await?;
    seen.extend(batch.messages.iter().map(|message| message.global_position.get()));
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_messages_are_not_read_on_a_standby_and_the_error_says_so() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let error = read_all_on_a_standby("").await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1") && error.to_string().contains("standby"), "{error}");
    assert!(error.to_string().contains("primary"), "it says what to do: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_without_the_refusal_a_reader_on_a_standby_passes_a_message_that_is_being_written() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let sabotage = "CREATE OR REPLACE FUNCTION message_store.horizon() RETURNS bigint LANGUAGE sql AS $$
        -- message-store functions 1000
        SELECT last_value + 1 FROM message_store.messages_global_position_seq $$";
    assert_eq!(read_all_on_a_standby(sabotage).await.unwrap(), [2], "1 is passed");
}

/// Writes twenty thousand messages in one transaction, with the server's default settings: more than it has locks.
async fn write_in_one_transaction(preparation: &str) -> Result<u64, tokio_postgres::Error> {
    let server = Cluster::start(Purpose::Defaults).await;
    drop(PostgresStore::open(server.url()).await.unwrap());
    let client = connect(server.url(), None).await;
    client.batch_execute(preparation).await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    let sql = "SELECT count(message_store.write_message(gen_random_uuid()::varchar, 'account-' || n % 100, 'A', '{}')) \
               FROM generate_series(1, 20000) AS n";
    let written: i64 = client.query_one(sql, &[]).await?.get(0);
    client.batch_execute("COMMIT").await?;
    Ok(written.unsigned_abs())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_thousand_writes_in_one_transaction_need_no_more_locks_than_one() {
    if servers_are_left_out() {
        return;
    }
    assert_eq!(write_in_one_transaction("").await.unwrap(), 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_with_a_bound_at_each_write_the_server_runs_out_of_locks() {
    if servers_are_left_out() {
        return;
    }
    let sabotage = instead_of_bounds(
        "PERFORM pg_advisory_xact_lock_shared((6175389::bigint << 40) | message_store.next_global_position());",
    );
    let error = write_in_one_transaction(&sabotage).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "53200", "{error}");
}

/// Runs one of the server's programs on a database of the server.
fn program(server: &LocalServer, name: &str, arguments: &[&str], input: Option<Vec<u8>>) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), input.unwrap_or_default()).unwrap();
    let output = Command::new(server.programs().join(name))
        .args(arguments)
        .stdin(Stdio::from(std::fs::File::open(file.path()).unwrap()))
        .output()
        .unwrap();
    output.stdout
}

fn problems(report: &message_store::postgres::Check) -> Vec<String> {
    let wrong = report.findings.iter().filter(|finding| finding.problem.is_some() && finding.what != "fsync");
    wrong.map(|finding| format!("{}: {}", finding.what, finding.problem.as_deref().unwrap_or_default())).collect()
}

/// A role belongs to a cluster, so this test has its own cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_role_that_cannot_be_created_is_reported_and_created_later() {
    if servers_are_left_out() {
        return;
    }
    let server = Cluster::start(Purpose::Tests).await;
    let admin = connect(server.url(), None).await;
    for sql in ["CREATE ROLE owner LOGIN", "CREATE DATABASE owned OWNER owner"] {
        admin.batch_execute(sql).await.unwrap();
    }
    let as_admin = server.url().rsplit_once('/').map(|(head, _)| format!("{head}/owned")).unwrap();
    let as_owner = as_admin.replace("postgres@", "owner@");

    let warnings = Warnings::default();
    let guard = warnings.collect();
    migrate(&as_owner).await.unwrap();
    drop(guard);
    assert!(warnings.so_far().iter().any(|warning| warning.contains("role message_store")), "{:?}", warnings.so_far());
    let report = check(&as_owner).await.unwrap();
    let [problem] = &problems(&report)[..] else { panic!("{report}") };
    assert!(problem.starts_with("role message_store: it is missing"), "{problem}");
    // The owner needs no other right for everything that a store does.
    connect(&as_owner, None).await.batch_execute("CREATE TABLE seen (model text, id text)").await.unwrap();
    let store: crate::everything::Store = Arc::new(PostgresStore::open(&as_owner).await.unwrap());
    crate::everything::use_all(&store).await;
    drop(store);

    migrate(&as_admin).await.unwrap();
    assert!(problems(&check(&as_owner).await.unwrap()).is_empty());
    let role = connect(&as_admin, Some("message_store")).await;
    write_message(&role, "account-1", "{}").await.unwrap();

    // All objects belong to the owner, although another user has created them.
    let sql = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'message_store'::regnamespace AND proowner <> 'owner'::regrole";
    assert_eq!(connect(&as_admin, None).await.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_store_restored_into_a_cluster_without_the_role_gets_it_and_its_rights_back() {
    if programs_are_left_out(&["pg_dump", "psql"]) {
        return;
    }
    let (from, to) = (Cluster::start(Purpose::Tests).await, Cluster::start(Purpose::Tests).await);
    drop(PostgresStore::open(from.url()).await.unwrap());
    write_message(&connect(from.url(), None).await, "account-1", "{}").await.unwrap();
    let dump = program(&from, "pg_dump", &["--dbname", from.url()], None);
    program(&to, "psql", &["--quiet", "--dbname", to.url()], Some(dump));

    let report = check(to.url()).await.unwrap();
    assert!(
        problems(&report).iter().any(|problem| problem.starts_with("role message_store: it is missing")),
        "{report}"
    );
    migrate(to.url()).await.unwrap();
    let report = check(to.url()).await.unwrap();
    assert!(problems(&report).is_empty(), "{report}");
    let role = connect(to.url(), Some("message_store")).await;
    assert_eq!(write_message(&role, "account-1", "{}").await.unwrap(), 1);
}
