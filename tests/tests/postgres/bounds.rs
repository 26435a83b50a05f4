//! The bounds that writers publish for readers of all messages, the positions that `append_messages` assigns, and the
//! times that it writes.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::postgres::PostgresStore;
use message_store::{
    ExpectedVersion, GlobalPosition, Json, Message, MessageStore as _, MessageStoreExt as _, NewMessage, Read,
    StreamName,
};
use message_store_tests::bounds::instead_of_bounds;
use message_store_tests::message_db::{connect, write_message};
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::Client;

async fn positions(client: &Client, condition: &str) -> Vec<i64> {
    let sql = format!("SELECT global_position FROM message_store.messages WHERE {condition} ORDER BY 1");
    client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

const WRITE: &str = "SELECT message_store.write_message(gen_random_uuid()::varchar, 'slow-1', 'T', '{}')";

/// The actions of a transaction that stays open while another one with higher positions commits.
fn transactions() -> Vec<String> {
    [
        "WRITE",
        "SAVEPOINT a; WRITE",
        "SAVEPOINT a; WRITE; ROLLBACK TO SAVEPOINT a; WRITE",
        "WRITE; SAVEPOINT a; WRITE; ROLLBACK TO SAVEPOINT a; WRITE",
        "SAVEPOINT a; WRITE; RELEASE SAVEPOINT a; SAVEPOINT b; WRITE; ROLLBACK TO SAVEPOINT b; WRITE",
        "SAVEPOINT a; SAVEPOINT b; WRITE; RELEASE SAVEPOINT b; ROLLBACK TO SAVEPOINT a; OTHERS; WRITE",
        "SAVEPOINT a; WRITE; ROLLBACK TO SAVEPOINT a; OTHERS; WRITE; SAVEPOINT a; WRITE; ROLLBACK TO SAVEPOINT a; WRITE",
        "DO $$ BEGIN PERFORM message_store.write_message('no uuid', 'slow-1', 'T', '{}'); EXCEPTION WHEN OTHERS THEN NULL; END $$; WRITE",
        "SAVEPOINT a; WRITE; ROLLBACK TO SAVEPOINT a; RESET ALL; WRITE",
    ]
    .map(|script| script.replace("WRITE", WRITE))
    .to_vec()
}

/// The number of messages that a reader of all messages never saw. It read while such a transaction was open, and after
/// it.
async fn skipped_beside(preparation: &str, script: &str) -> usize {
    let database = TestDatabase::create().await;
    database.execute(preparation).await;
    let (slow, quick) = (connect(database.url(), None).await, connect(database.url(), None).await);
    let store = PostgresStore::open(database.url()).await.unwrap();
    slow.batch_execute("BEGIN").await.unwrap();
    for statement in script.split("; ").collect::<Vec<_>>().join(";").split("OTHERS;") {
        slow.batch_execute(statement).await.unwrap();
        write_message(&quick, "quick-1", "{}").await.unwrap();
    }
    let first = store.read_all(Read::default()).await.unwrap();
    slow.batch_execute("COMMIT").await.unwrap();
    let next = first.messages.last().map_or(GlobalPosition::ZERO, |last| last.global_position.next());
    let second = store.read_all(Read::from(next)).await.unwrap();
    let seen = first.messages.iter().chain(&second.messages).map(|message: &Message| message.global_position.get());
    let seen: Vec<i64> = seen.collect();
    let all = positions(&quick, "true").await;
    all.iter().filter(|position| !seen.contains(position)).count()
}

#[tokio::test]
async fn a_reader_of_all_messages_skips_nothing_beside_transactions_with_savepoints() {
    for script in transactions() {
        assert_eq!(skipped_beside("", &script).await, 0, "{script}");
    }
}

/// The published bound is noted in a sequence. ROLLBACK TO SAVEPOINT reverts the lock, but not the sequence.
#[tokio::test]
async fn twin_a_note_that_outlives_the_savepoint_lets_the_reader_skip() {
    let bounds = instead_of_bounds(
        "IF (SELECT last_value FROM message_store.noted) = pg_current_xact_id()::text::bigint THEN RETURN; END IF;
         PERFORM setval('message_store.noted', pg_current_xact_id()::text::bigint);
         PERFORM pg_advisory_xact_lock_shared((6175389::bigint << 40) | message_store.next_global_position());",
    );
    let sabotage = format!("CREATE SEQUENCE message_store.noted; {bounds}");
    let mut skipped = Vec::new();
    for script in transactions() {
        skipped.push(skipped_beside(&sabotage, &script).await > 0);
    }
    assert!(!skipped[0] && !skipped[1], "without a rollback it does no harm");
    assert!(skipped[2], "{skipped:?}");
}

/// The lowest position that an open transaction has drawn, and the horizon at that time.
async fn drawn_and_horizon(preparation: &str, setting: &str) -> (i64, i64) {
    let database = TestDatabase::create().await;
    database.execute(preparation).await;
    let (client, other) = (connect(database.url(), None).await, connect(database.url(), None).await);
    for _ in 0..3 {
        write_message(&other, "account-1", "{}").await.unwrap();
    }
    client.batch_execute(setting).await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute(&setting.replace("SET ", "SET LOCAL ")).await.unwrap();
    client.batch_execute(WRITE).await.unwrap();
    client.batch_execute(WRITE).await.unwrap();
    let drawn = positions(&client, "stream_name = 'slow-1'").await[0];
    let horizon = other.query_one("SELECT message_store.horizon()", &[]).await.unwrap().get(0);
    (drawn, horizon)
}

#[tokio::test]
async fn a_bound_is_never_above_what_is_drawn_whatever_its_setting_says() {
    for forged in ["''", "'0'", "'-5'", "'2'", "'4'", "'5'", "'999999'", "'9223372036854775807'"] {
        let (drawn, horizon) = drawn_and_horizon("", &format!("SET message_store.lower_bound = {forged}")).await;
        assert!(horizon <= drawn, "{forged}: {horizon} is above {drawn}");
    }
}

#[tokio::test]
async fn twin_a_setting_that_is_believed_puts_the_bound_above_what_is_drawn() {
    let sabotage = instead_of_bounds(
        "IF coalesce(current_setting('message_store.lower_bound', true), '') = '' THEN
           PERFORM pg_advisory_xact_lock_shared((6175389::bigint << 40) | message_store.next_global_position());
         END IF;",
    );
    let (drawn, horizon) = drawn_and_horizon(&sabotage, "SET message_store.lower_bound = '999999'").await;
    assert!(horizon > drawn);
}

/// Locks of other programs in the same database. The last is in the form that this library used before.
const FOREIGN: [&str; 7] = [
    "SELECT pg_advisory_lock_shared(1, 1)",
    "SELECT pg_advisory_lock_shared(0, 0)",
    "SELECT pg_advisory_lock_shared(-1, 1)",
    "SELECT pg_advisory_lock((6175389::bigint << 40) | 1)",
    "SELECT pg_advisory_lock_shared(6175389 << 8, 1)",
    "SELECT pg_advisory_lock_shared(((6175389::bigint - 1) << 40) | 1)",
    "SELECT pg_advisory_lock_shared(x'35500000'::int, 1)",
];

async fn read_beside_a_foreign_lock(preparation: &str, lock: &str) -> usize {
    let database = TestDatabase::create().await;
    database.execute(preparation).await;
    let (client, foreign) = (connect(database.url(), None).await, connect(database.url(), None).await);
    write_message(&client, "account-1", "{}").await.unwrap();
    write_message(&client, "account-1", "{}").await.unwrap();
    foreign.batch_execute(lock).await.unwrap();
    let store = PostgresStore::open(database.url()).await.unwrap();
    store.read_all(Read::default()).await.unwrap().messages.len()
}

#[tokio::test]
async fn a_lock_of_another_program_is_not_taken_for_a_bound() {
    for lock in FOREIGN {
        assert_eq!(read_beside_a_foreign_lock("", lock).await, 2, "{lock}");
    }
}

#[tokio::test]
async fn twin_with_any_lock_taken_for_a_bound_a_reader_stands_still() {
    let sabotage = "CREATE OR REPLACE FUNCTION message_store.horizon() RETURNS bigint LANGUAGE sql AS $$
        -- message-store functions 1000
        SELECT least(message_store.next_global_position(),
          (SELECT min(objid::bigint) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))) $$";
    assert_eq!(read_beside_a_foreign_lock(sabotage, FOREIGN[6]).await, 0);
}

#[tokio::test]
async fn bounds_are_read_right_past_thirty_two_and_forty_bits() {
    for start in [4_294_967_290_i64, 1_099_511_627_770, 5_000_000_000_000] {
        let database = TestDatabase::create().await;
        database.execute(&format!("SELECT setval('message_store.messages_global_position_seq', {start})")).await;
        let (slow, quick) = (connect(database.url(), None).await, connect(database.url(), None).await);
        slow.batch_execute("BEGIN").await.unwrap();
        slow.batch_execute(WRITE).await.unwrap();
        for _ in 0..20 {
            write_message(&quick, "quick-1", "{}").await.unwrap();
        }
        let horizon: i64 = quick.query_one("SELECT message_store.horizon()", &[]).await.unwrap().get(0);
        assert_eq!(horizon, start + 1);
        slow.batch_execute("COMMIT").await.unwrap();
        let horizon: i64 = quick.query_one("SELECT message_store.horizon()", &[]).await.unwrap().get(0);
        assert_eq!(horizon, start + 22);
    }
}

/// Arguments of `append_messages` before the sizes, and the number of messages.
const ODD: [(&str, usize); 16] = [
    ("'{a-1}', '{NULL}', '{1}', '{1}', '{NULL}', '{1}'", 1),
    ("'{a-1}', '{1000}', '{1}', '{1}', '{NULL}', '{2}'", 2),
    ("'{a-1}', '{-7}', '{1}', '{1}', '{NULL}', '{1}'", 1),
    ("'{a-1}', '{NULL}', '{1}', '{1}', '{NULL}', '{2}'", 1),
    ("'{a-1}', '{NULL}', '{1}', '{1}', '{NULL}', '{1}'", 2),
    ("'{a-1}', '{NULL}', '{1}', '{1}', '{NULL}', '{0}'", 1),
    ("'{a-1}', '{NULL}', '{2}', '{1,1}', '{NULL,NULL}', '{3,-1}'", 2),
    ("'{a-1}', '{NULL}', '{1}', '{1}', '{NULL}', '{NULL}'", 1),
    ("'{a-1}', '{NULL}', '{1}', '{2}', '{NULL}', '{1}'", 1),
    ("'{a-1}', '{NULL}', '{1}', '{NULL}', '{NULL}', '{1}'", 1),
    ("'{a-1,a-1}', '{NULL,NULL}', '{1,1}', '{1,2}', '{NULL,NULL}', '{1,1}'", 2),
    ("'{a-1}', '{NULL}', '{5}', '{1}', '{7}', '{1}'", 1),
    ("'{a-1}', '{NULL}', '{0}', '{1}', '{7}', '{1}'", 1),
    ("'{a-1}', '{NULL}', '{3,-1}', '{1,1}', '{7,7}', '{1,1}'", 2),
    ("'{a-1}', '{NULL}', '[4:4]={1}', '[4:4]={1}', '[4:4]={NULL}', '[4:4]={1}'", 1),
    ("'{a-1,b-1}', '{5,5}', '{1,1}', '{1,1}', '{NULL,NULL}', '{1,1}'", 2),
];

/// The first call in [`ODD`] after which a stream has a gap.
async fn first_that_leaves_a_gap(preparation: &str) -> Option<&'static str> {
    let database = TestDatabase::create().await;
    database.execute(preparation).await;
    let client = connect(database.url(), Some("message_store")).await;
    for (arguments, messages) in ODD {
        let ids = vec!["gen_random_uuid()"; messages].join(", ");
        let (types, nulls) = (vec!["T"; messages].join(","), vec!["null"; messages].join(","));
        let sql = format!(
            "SELECT message_store.append_messages({arguments}, ARRAY[{ids}], '{{{types}}}', '{{{nulls}}}'::jsonb[], '{{{nulls}}}'::jsonb[])"
        );
        // Some calls are refused, which is also correct.
        let _ = client.simple_query(&sql).await;
        let gaps = "SELECT count(*) FROM (SELECT stream_name FROM message_store.messages GROUP BY stream_name \
                    HAVING min(position) <> 0 OR max(position) <> count(*) - 1) AS streams";
        if client.query_one(gaps, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            return Some(arguments);
        }
    }
    let written = positions(&client, "true").await.len();
    assert!(written >= 5, "those that can be right are written: {written}");
    None
}

#[tokio::test]
async fn no_arguments_of_an_append_leave_a_gap_in_a_stream() {
    assert_eq!(first_that_leaves_a_gap("").await, None);
}

#[tokio::test]
async fn twin_an_append_that_believes_the_callers_numbers_leaves_a_gap() {
    let sabotage = "CREATE OR REPLACE FUNCTION message_store.append_messages(
          stream_names text[], known_positions bigint[], append_parts int[], part_streams int[], part_expected_versions bigint[],
          part_sizes int[], ids uuid[], types text[], data jsonb[], metadata jsonb[], wait_for text DEFAULT NULL,
          OUT positions bigint[], OUT global_positions bigint[], OUT refusals text[], OUT written_before boolean[],
          OUT has_waited boolean
        ) LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        -- message-store functions 1000
        INSERT INTO message_store.messages (id, stream_name, position, type)
        SELECT ids[n], stream_names[1], coalesce(known_positions[1], (SELECT max(m.position) FROM message_store.messages m), -1) + n, types[n]
        FROM generate_series(1, cardinality(ids)) AS n;
        SELECT NULL::bigint[], NULL::bigint[], NULL::text[], NULL::boolean[], false $$";
    assert!(first_that_leaves_a_gap(sabotage).await.is_some());
}

/// Returns whether the time of a message that waited for its category is after the wait, by the database's clock. With
/// `is_message_dbs`, Message DB's function writes the message.
async fn is_time_after_the_wait(is_message_dbs: bool) -> bool {
    let database = TestDatabase::create().await;
    let (holder, other) = (connect(database.url(), None).await, connect(database.url(), None).await);
    let store = PostgresStore::open(database.url()).await.unwrap();
    holder.batch_execute("BEGIN; SELECT message_store.acquire_lock('account-1')").await.unwrap();
    let appending = tokio::spawn(async move {
        let stream = StreamName::new("account-1").unwrap();
        if is_message_dbs {
            write_message(&other, "account-1", "{}").await.unwrap();
        } else {
            let message = NewMessage::new("T", Json::NULL);
            store.append_to(&stream, ExpectedVersion::Any, vec![message]).await.unwrap();
        }
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while holder.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    holder
        .batch_execute("CREATE TEMPORARY TABLE ended AS SELECT clock_timestamp() AT TIME ZONE 'utc' AS at; COMMIT")
        .await
        .unwrap();
    appending.await.unwrap();
    let sql = "SELECT m.time >= ended.at FROM message_store.messages m, ended";
    holder.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_time_of_an_append_is_when_it_had_its_categories() {
    assert!(is_time_after_the_wait(false).await);
}

/// Message DB's `write_message` writes the time at which the transaction began.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_the_time_of_a_transactions_beginning_is_before_the_wait() {
    assert!(!is_time_after_the_wait(true).await);
}
