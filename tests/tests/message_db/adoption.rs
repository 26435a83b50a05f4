//! A database with Message DB's schema: used unchanged, checked, and adopted while its clients write.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use message_store::consumer::Consumer;
use message_store::postgres::{Installation, PostgresStore, adopt, check, migrate};
use message_store::testing::conformance::broken_rules;
use message_store::{Error, Message, MessageStore, MessageStoreExt as _, OutcomeKind, Read, StreamName, connect};
use message_store_tests::accounts::{balance, member, messages_of, send_deposits};
use message_store_tests::message_db::{self, VERSIONS, message_db, message_db_of, write_message};
use message_store_tests::postgres::TestDatabase;
use message_store_tests::subjects::Postgres;
use message_store_tests::warnings::Warnings;
use tokio_postgres::Client;

/// Every column of all messages, as a client reads them.
async fn dump(client: &Client) -> Vec<String> {
    let sql = "SELECT row_to_json(m)::text FROM message_store.messages m ORDER BY global_position";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_of_message_db_is_used_unchanged_and_missing_features_are_reported() {
    let database = message_db().await;
    let client = message_db::connect(database.url(), Some("message_store")).await;
    assert_eq!(write_message(&client, "account-1", r#"{"amount": 1}"#).await.unwrap(), 0);

    // With the role of its clients, which may create no objects.
    let store: Arc<dyn MessageStore> = connect(&as_role(database.url())).await.unwrap();
    let deposits = send_deposits(&store, "account:command", "1", 3).await;
    let mut consumer = Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
    consumer.wait_for(deposits[2].global_position).await.unwrap();
    assert_eq!(consumer.stop().await.unwrap().of(OutcomeKind::Handled), 3);
    assert_eq!(store.version(&StreamName::new("account-1").unwrap()).await.unwrap().get(), 3);
    assert_eq!(store.store_id(), connect(database.url()).await.unwrap().store_id(), "its identity does not change");

    assert!(matches!(store.read_all(Read::default()).await, Err(Error::Unsupported { .. })));
    assert!(matches!(store.rotate_store_id().await, Err(Error::Unsupported { .. })));

    let report = check(database.url()).await.unwrap();
    assert_eq!(report.installation, Installation::MessageDb);
    let said = report.to_string();
    for problem in ["message-store migrate --adopt", "append_messages", "horizon()", "INSERT into the table"] {
        assert!(said.contains(problem), "{said} should name {problem}");
    }
    assert!(said.contains("ok       table messages"), "{said}");
}

/// Clients of Message DB that write without pauses, each to its own stream.
struct Writers {
    stop: Arc<AtomicBool>,
    written: [Arc<AtomicUsize>; 4],
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    /// Starts the clients, and waits until each has written.
    async fn start(url: &str) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), <[Arc<AtomicUsize>; 4]>::default());
        let task = |(number, count): (usize, &Arc<AtomicUsize>)| {
            let (url, stop, count) = (url.to_owned(), Arc::clone(&stop), Arc::clone(count));
            tokio::spawn(async move {
                let client = message_db::connect(&url, Some("message_store")).await;
                while !stop.load(Ordering::SeqCst) {
                    let position = write_message(&client, &format!("old-{number}"), "{}").await.unwrap();
                    let before = count.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(usize::try_from(position).unwrap(), before, "no gap and no position twice");
                }
            })
        };
        let tasks = written.iter().enumerate().map(task).collect();
        let writers = Self { stop, written, tasks };
        writers.write_more(1).await;
        writers
    }

    /// Waits until each client has written this many more messages.
    async fn write_more(&self, messages: usize) {
        for written in &self.written {
            let before = written.load(Ordering::SeqCst);
            while written.load(Ordering::SeqCst) < before + messages {
                assert!(!self.tasks.iter().any(tokio::task::JoinHandle::is_finished), "a writer failed");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Stops the clients. Returns the number of messages that they have written.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.written.iter().map(|written| written.load(Ordering::SeqCst)).sum()
    }
}

/// Adopts the database while clients write, and while a transaction is open that has run `holding`. Asserts that the
/// clients can write before that transaction ends.
async fn adopt_beside(holding: &str) {
    let database = message_db().await;
    let holder = message_db::connect(database.url(), None).await;
    holder.batch_execute(&format!("SET search_path = message_store, public; BEGIN; {holding}")).await.unwrap();
    let writers = Writers::start(database.url()).await;
    let adopting = tokio::spawn({
        let url = database.url().to_owned();
        async move { adopt(&url).await }
    });
    // Long enough for the adoption to meet the lock: each of these messages takes at least a round trip and a commit.
    writers.write_more(300).await;
    assert!(!adopting.is_finished(), "it waits for the open transaction to end, for its last step at least");
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(adopting.await.unwrap().unwrap(), Installation::MessageDb);
    writers.write_more(20).await;
    writers.stop().await;
    let report = check(database.url()).await.unwrap();
    assert!(report.findings.iter().all(|finding| finding.problem.is_none() || finding.what == "fsync"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_adoption_beside_an_open_write_stalls_no_writer() {
    adopt_beside("SELECT message_store.write_message(gen_random_uuid()::varchar, 'open-1', 'T', '{}')").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_adoption_beside_a_report_on_a_view_stalls_no_writer() {
    adopt_beside("SELECT * FROM message_store.stream_summary").await;
}

/// An uncommitted transaction has changed one of the functions. The adoption cannot replace it, rolls back, and tries
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_adoption_beside_a_change_of_a_function_tries_again() {
    adopt_beside("ALTER FUNCTION message_store.hash_64 COST 200").await;
}

/// An earlier form of the adoption: it creates an existing index again, and waits for the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_a_lock_on_the_table_that_is_waited_for_stalls_every_writer() {
    let database = message_db().await;
    let (holder, adopting) =
        (message_db::connect(database.url(), None).await, message_db::connect(database.url(), None).await);
    holder
        .batch_execute("SET search_path = message_store, public; BEGIN; SELECT write_message(gen_random_uuid()::varchar, 'open-1', 'T', '{}')")
        .await
        .unwrap();
    let waiting = tokio::spawn(async move {
        adopting.batch_execute("CREATE UNIQUE INDEX IF NOT EXISTS messages_id ON message_store.messages (id)").await
    });
    let watching = message_db::connect(database.url(), None).await;
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'message_store.messages'::regclass";
    while watching.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let writer = message_db::connect(database.url(), Some("message_store")).await;
    writer.batch_execute("SET lock_timeout = '20ms'").await.unwrap();
    let stalled = write_message(&writer, "account-1", "{}").await.unwrap_err();
    assert_eq!(stalled.code().unwrap().code(), "55P03", "{stalled}");
    holder.batch_execute("COMMIT").await.unwrap();
    waiting.await.unwrap().unwrap();
}

/// Another transaction has changed a function. The adoption logs which transaction, and tries again.
#[tokio::test]
async fn an_adoption_names_the_transaction_that_is_in_its_way() {
    let database = message_db().await;
    let holder = message_db::connect(database.url(), None).await;
    holder
        .batch_execute("SET application_name = 'a long report'; BEGIN; ALTER FUNCTION message_store.hash_64 COST 200")
        .await
        .unwrap();
    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let warnings = Warnings::default();
    let guard = warnings.collect();
    let release = async {
        while warnings.so_far().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (adopted, ()) = tokio::join!(adopt(database.url()), release);
    drop(guard);
    adopted.unwrap();
    let said = warnings.so_far().concat();
    for part in [format!("process {pid}"), "a long report".to_owned(), "since 2".to_owned()] {
        assert!(said.contains(&part), "{said} should say {part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_release_since_1_1_6_is_adopted_and_its_clients_go_on() {
    for version in VERSIONS {
        let database = message_db_of(version).await;
        let client = message_db::connect(database.url(), Some("message_store")).await;
        write_message(&client, "account-1", r#"{"amount": 1}"#).await.unwrap();
        let before = dump(&client).await;
        adopt(database.url()).await.unwrap();
        assert_eq!(dump(&client).await, before, "{version}");
        assert_eq!(write_message(&client, "account-1", "{}").await.unwrap(), 1, "{version}");
        for (call, expected) in [
            ("SELECT count(*) FROM get_stream_messages('account-1', 0, -1)", 2),
            ("SELECT count(*) FROM get_category_messages('account')", 2),
            ("SELECT position FROM get_last_stream_message('account-1')", 1),
            ("SELECT count(*) FROM get_last_stream_message('account-1', 'Another')", 0),
            ("SELECT stream_version('account-1')", 1),
        ] {
            let row = client.query_one(call, &[]).await.unwrap_or_else(|error| panic!("{version}: {call}: {error:?}"));
            assert_eq!(row.get::<_, i64>(0), expected, "{version}: {call}");
        }
        let report = check(database.url()).await.unwrap();
        let wrong = report.findings.iter().filter(|finding| finding.problem.is_some() && finding.what != "fsync");
        assert_eq!(wrong.count(), 0, "{version}: {report}");
    }
}

/// The old function with one argument remains beside the new one.
#[tokio::test]
async fn twin_an_old_function_that_stays_makes_calls_ambiguous_and_is_found() {
    let database = message_db_of("1.2.6").await;
    let client = message_db::connect(database.url(), None).await;
    let sql = "SELECT pg_get_functiondef('message_store.get_last_stream_message(varchar)'::regprocedure)";
    let old: String = client.query_one(sql, &[]).await.unwrap().get(0);
    adopt(database.url()).await.unwrap();
    client.batch_execute(&old).await.unwrap();
    let error =
        client.query("SELECT * FROM message_store.get_last_stream_message('account-1')", &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42725", "{error}");
    let report = check(database.url()).await.unwrap().to_string();
    assert!(report.contains("get_last_stream_message(character varying) exists too"), "{report}");
}

fn as_role(url: &str) -> String {
    format!("{url}?options=-c%20role%3Dmessage_store")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn adoption_keeps_every_row_and_old_clients_write_before_during_and_after_it() {
    let database = message_db().await;
    let old = message_db::connect(database.url(), Some("message_store")).await;
    let store = connect(database.url()).await.unwrap();
    let deposits = send_deposits(&store, "account:command", "1", 3).await;
    for deposit in &deposits[..2] {
        let _ = member(&store, None).carry_out(deposit).await.unwrap();
    }
    let before = dump(&old).await;

    let writers = Writers::start(database.url()).await;
    let adopted = adopt(database.url()).await.unwrap();
    assert_eq!(adopted, Installation::MessageDb);
    writers.write_more(20).await;
    let foreign = writers.stop().await;

    let after = dump(&old).await;
    assert_eq!(after[..before.len()], before, "ids, positions, contents and times stay");
    assert_eq!(after.len(), before.len() + foreign);
    assert!(adopt(database.url()).await.unwrap().is_current());

    // The same store, now with this library's schema: commands that were handled before are recognised, and the other
    // one is carried out.
    let whole = connect(database.url()).await.unwrap();
    assert_eq!(whole.store_id(), store.store_id());
    for deposit in &deposits {
        let _ = member(&whole, None).carry_out(deposit).await.unwrap();
    }
    assert_eq!(balance(&whole, "1").await, 3);
    let all: Vec<Message> = whole.all_messages(Read::default()).try_collect().await.unwrap();
    assert_eq!(all.len(), after.len() + 1);
    let direct = old
        .execute("INSERT INTO message_store.messages (stream_name, position, type) VALUES ('old-1', 999, 'T')", &[])
        .await
        .unwrap_err();
    assert_eq!(direct.code().unwrap().code(), "42501", "the role writes through functions alone");
    assert!(check(database.url()).await.unwrap().to_string().contains("ok       role message_store"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_that_is_not_message_dbs_is_refused_unchanged_and_its_differences_are_named() {
    for (change, said) in [
        ("ALTER TABLE message_store.messages DROP COLUMN metadata CASCADE", "column metadata is missing"),
        ("ALTER TABLE message_store.messages ADD COLUMN tenant text", "column tenant is not Message DB's"),
        ("ALTER TABLE message_store.messages ALTER COLUMN data TYPE text", "column data is text, not jsonb"),
        (
            "ALTER TABLE message_store.messages ALTER COLUMN type DROP NOT NULL",
            "column type is text, not text not null",
        ),
        ("DROP INDEX message_store.messages_stream", "no unique index on (stream_name, position)"),
    ] {
        let database = message_db().await;
        database.execute(change).await;
        let client = message_db::connect(database.url(), None).await;
        let objects = async || {
            let sql = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'message_store'";
            client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
        };
        let before = objects().await;
        let error = adopt(database.url()).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error} should say {said}");
        assert_eq!(objects().await, before, "{change}: something was changed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_adoption_that_fails_half_way_leaves_everything_as_it_was() {
    let database = message_db().await;
    // A function that cannot be replaced, because its result type is different.
    database.execute("DROP FUNCTION message_store.stream_version(varchar) CASCADE; CREATE FUNCTION message_store.stream_version(stream_name varchar) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'").await;
    let error = adopt(database.url()).await.unwrap_err();
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    let client = message_db::connect(database.url(), None).await;
    let sql = "SELECT to_regclass('message_store.schema_history') IS NULL AND to_regclass('message_store.store_identity') IS NULL";
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_adopted_without_a_request() {
    let database = message_db().await;
    assert_eq!(migrate(database.url()).await.unwrap(), Installation::MessageDb);
    drop(PostgresStore::open(database.url()).await.unwrap());
    assert_eq!(check(database.url()).await.unwrap().installation, Installation::MessageDb);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_database_is_complete_after_its_migration() {
    let database = TestDatabase::create_empty().await;
    let empty = check(database.url()).await.unwrap();
    assert!(!empty.is_well() && empty.installation == Installation::Nothing, "{empty}");
    assert_eq!(migrate(database.url()).await.unwrap(), Installation::Nothing);
    let report = check(database.url()).await.unwrap();
    assert!(report.installation.is_current());
    let problems: Vec<_> = report.findings.iter().filter(|finding| finding.problem.is_some()).collect();
    // The test server runs with fsync off.
    assert!(problems.iter().all(|finding| finding.what == "fsync"), "{report}");

    let store = connect(&as_role(database.url())).await.unwrap();
    send_deposits(&store, "account:command", "1", 1).await;
    assert_eq!(messages_of(&store, "account:command").await.len(), 1, "the role needs no more rights than it has");
}

/// The contract, as far as Message DB's own functions carry it: not where all messages are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn message_dbs_own_functions_keep_all_rules_but_those_that_read_all_messages() {
    let subject = || async {
        let database = message_db().await;
        let store = connect(database.url()).await.unwrap();
        Postgres::with(database, store)
    };
    let broken = broken_rules(Duration::from_mins(1), subject).await;
    let expected = [
        "every_way_of_reading_finds_the_same_message",
        "all_messages_are_read_in_global_order",
        "all_messages_are_read_from_a_global_position_on",
        "a_read_of_all_messages_ends_at_its_limit",
        "a_read_has_looked_through_all_up_to_its_last_message",
        "a_reader_that_has_caught_up_finds_nothing_and_stays_where_it_is",
        "a_reader_that_has_caught_up_finds_what_is_written_next",
        "a_batch_ends_where_its_bytes_do",
        "a_batch_holds_no_more_messages_than_the_limit",
        "a_stream_of_all_messages_goes_on_over_batches",
        "the_messages_of_a_correlation_are_read_in_order_whatever_their_category",
        "a_filter_by_type_lets_messages_of_the_type_through",
        "a_filter_by_types_lets_messages_of_each_type_through",
        "a_filtered_read_has_looked_through_what_was_filtered_out",
        "a_filtered_read_that_its_limit_ends_has_looked_no_further_than_its_last_message",
        "readers_skip_nothing_while_slow_writers_commit_and_roll_back",
        "a_gap_left_by_a_rollback_stalls_no_reader",
    ];
    assert_eq!(broken, expected);
}
