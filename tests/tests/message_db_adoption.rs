//! A database that Message DB has installed: used as it is, looked over, and adopted with its clients at work.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use message_store::consumer::Consumer;
use message_store::postgres::{Installation, PostgresStore, check, migrate};
use message_store::{Error, MessageStore, Read, StreamName, connect};
use message_store_tests::accounts::{balance, member, messages_of, send_deposits};
use message_store_tests::message_db::{self, message_db, write_message};
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::Client;

/// Everything that a client can see of the messages.
async fn dump(client: &Client) -> Vec<String> {
    let sql = "SELECT row_to_json(m)::text FROM message_store.messages m ORDER BY global_position";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_of_message_db_is_used_as_it_is_and_what_it_lacks_is_said() {
    let database = message_db().await;
    let client = message_db::connect(database.url(), Some("message_store")).await;
    assert_eq!(write_message(&client, "account-1", r#"{"amount": 1}"#).await.unwrap(), 0);

    // By the role that its clients have, which may create nothing.
    let store: Arc<dyn MessageStore> = connect(&as_role(database.url())).await.unwrap();
    let deposits = send_deposits(&store, "account:command", "1", 3).await;
    let mut consumer = Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
    consumer.wait_for(deposits[2].global_position).await.unwrap();
    assert_eq!(consumer.stop().await.unwrap().of("handled"), 3);
    assert_eq!(store.version(&StreamName::new("account-1").unwrap()).await.unwrap().get(), 3);
    assert_eq!(store.store_id(), connect(database.url()).await.unwrap().store_id(), "its identity does not change");

    assert!(matches!(store.read_all(Read::default()).await, Err(Error::Unsupported { .. })));
    assert!(matches!(store.rotate_store_id().await, Err(Error::Unsupported { .. })));

    let report = check(database.url()).await.unwrap();
    assert_eq!(report.installation, Installation::MessageDb);
    let said = report.to_string();
    for problem in ["migrate --adopt", "append_messages", "horizon()", "INSERT into the table"] {
        assert!(said.contains(problem), "{said} should name {problem}");
    }
    assert!(said.contains("ok       table messages"), "{said}");
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
        let _ = member(&store, None).handle(deposit).await.unwrap();
    }
    let before = dump(&old).await;

    let stop = Arc::new(AtomicBool::new(false));
    let writing: Vec<_> = (0..4)
        .map(|number| {
            let (url, stop) = (database.url().to_owned(), Arc::clone(&stop));
            tokio::spawn(async move {
                let client = message_db::connect(&url, Some("message_store")).await;
                let mut written = 0_usize;
                while !stop.load(Ordering::SeqCst) || written < 20 {
                    let position = write_message(&client, &format!("old-{number}"), "{}").await.unwrap();
                    assert_eq!(usize::try_from(position).unwrap(), written, "no gap and no position twice");
                    written += 1;
                }
                written
            })
        })
        .collect();
    let adopted = migrate(database.url(), true).await.unwrap();
    assert_eq!(adopted, Installation::MessageDb);
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::SeqCst);
    let mut foreign = 0;
    for writing in writing {
        foreign += writing.await.unwrap();
    }

    let after = dump(&old).await;
    assert_eq!(after[..before.len()], before, "ids, positions, contents and times stay");
    assert_eq!(after.len(), before.len() + foreign);
    assert!(migrate(database.url(), true).await.unwrap().is_current());

    // The same store, now whole: commands that were handled before are known, and one that was not is carried out.
    let whole = connect(database.url()).await.unwrap();
    assert_eq!(whole.store_id(), store.store_id());
    for deposit in &deposits {
        let _ = member(&whole, None).handle(deposit).await.unwrap();
    }
    assert_eq!(balance(&whole, "1").await, 3);
    assert_eq!(whole.read_all(Read::default()).await.unwrap().messages.len(), after.len() + 1);
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
        let error = migrate(database.url(), true).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error} should say {said}");
        assert_eq!(objects().await, before, "{change}: something was changed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_adoption_that_fails_half_way_leaves_everything_as_it_was() {
    let database = message_db().await;
    // A function that cannot be replaced, because its result is another.
    database.execute("DROP FUNCTION message_store.stream_version(varchar) CASCADE; CREATE FUNCTION message_store.stream_version(stream_name varchar) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'").await;
    let error = migrate(database.url(), true).await.unwrap_err();
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    let client = message_db::connect(database.url(), None).await;
    let sql = "SELECT to_regclass('message_store.schema_history') IS NULL AND to_regclass('message_store.store_identity') IS NULL";
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_being_asked_nothing_is_adopted() {
    let database = message_db().await;
    assert_eq!(migrate(database.url(), false).await.unwrap(), Installation::MessageDb);
    drop(PostgresStore::open(database.url()).await.unwrap());
    assert_eq!(check(database.url()).await.unwrap().installation, Installation::MessageDb);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_database_is_well_once_it_is_migrated() {
    let database = TestDatabase::create_empty().await;
    let empty = check(database.url()).await.unwrap();
    assert!(!empty.is_well() && empty.installation == Installation::Nothing, "{empty}");
    assert_eq!(migrate(database.url(), false).await.unwrap(), Installation::Nothing);
    let report = check(database.url()).await.unwrap();
    assert!(report.installation.is_current());
    let problems: Vec<_> = report.findings.iter().filter(|finding| finding.problem.is_some()).collect();
    // The test server runs with fsync off.
    assert!(problems.iter().all(|finding| finding.what == "fsync"), "{report}");

    let store = connect(&as_role(database.url())).await.unwrap();
    send_deposits(&store, "account:command", "1", 1).await;
    assert_eq!(messages_of(&store, "account:command").await.len(), 1, "the role needs no more rights than it has");
}

/// The contract, as far as Message DB's own functions carry it: all but reading everything, and rotation.
mod contract {
    use super::{connect, message_db};
    use message_store::testing::conformance::{appending, filtering, repeating, waking};
    use message_store_tests::subjects::Postgres;

    macro_rules! on_message_db {
        ($($module:ident: $($name:ident)*;)*) => { $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                let database = message_db().await;
                let store = connect(database.url()).await.unwrap();
                $module::$name(&Postgres::with(database, store)).await;
            }
        )*)* };
    }

    on_message_db! {
        appending:
            each_message_gets_its_position_and_its_global_position
            an_expected_version_that_holds_lets_the_append_through
            an_expected_version_that_does_not_hold_is_named_and_nothing_is_written
            appends_to_several_streams_are_written_together_or_not_at_all
            of_writers_that_expect_the_same_version_one_writes
            writers_of_one_stream_leave_no_gap
            opposite_orders_of_streams_do_not_deadlock
            what_cannot_be_stored_is_refused_and_nothing_is_written
            one_refused_append_does_not_fail_its_neighbours;
        repeating:
            the_same_append_again_returns_the_first_positions
            the_same_append_again_returns_the_first_positions_also_when_the_expected_version_is_stale
            the_same_data_written_differently_is_the_same
            the_same_id_with_other_content_is_a_conflict
            some_of_the_ids_are_a_conflict_and_nothing_is_written
            the_same_append_from_many_writers_at_once_is_written_once
            an_id_that_two_categories_race_for_is_given_once
            a_lost_answer_is_settled_by_the_same_append_again;
        filtering:
            a_filter_by_correlation_compares_categories
            members_of_a_group_share_all_entities_and_each_has_one_member;
        waking:
            a_reader_that_waits_is_woken
            a_message_written_before_the_wait_is_not_slept_through;
    }
}
