//! A schema that another program has changed: `check` reports it, and `migrate` and opening the store repair it.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::postgres::{Check, PostgresStore, check, migrate};
use message_store::{Error, MessageStore as _, Read};
use message_store_tests::message_db::{self, connect, write_message};
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::Client;

/// The reported problems, without the one about fsync, which is off on the test server.
fn problems(report: &Check) -> Vec<String> {
    let wrong = report.findings.iter().filter(|finding| finding.problem.is_some() && finding.what != "fsync");
    wrong.map(|finding| format!("{}: {}", finding.what, finding.problem.as_deref().unwrap_or_default())).collect()
}

async fn found(database: &TestDatabase) -> Vec<String> {
    problems(&check(database.url()).await.unwrap())
}

#[tokio::test]
async fn a_new_store_has_exactly_the_functions_that_are_looked_for() {
    let database = TestDatabase::create().await;
    let sql = "SELECT 'function ' || p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'message_store'::regnamespace";
    let client = connect(database.url(), None).await;
    let there = client.query(sql, &[]).await.unwrap().len();
    let report = check(database.url()).await.unwrap();
    let looked_for = report.findings.iter().filter(|finding| finding.what.starts_with("function ")).count();
    assert_eq!((looked_for, problems(&report)), (there, vec![]));
}

#[tokio::test]
async fn each_change_is_found_by_name_and_repaired() {
    for (change, finding) in [
        ("DROP FUNCTION message_store.sweep", "function sweep(integer): it is missing"),
        (
            "CREATE OR REPLACE FUNCTION message_store.stream_version(stream_name varchar) RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint'",
            "function stream_version(varchar): it is not this library's",
        ),
        (
            "CREATE OR REPLACE FUNCTION message_store.is_category(stream_name varchar) RETURNS boolean LANGUAGE sql AS 'SELECT true -- message-store functions 0'",
            "function is_category(varchar): it is version 0",
        ),
        (
            "ALTER FUNCTION message_store.write_message SECURITY INVOKER",
            "with the rights of its caller, not of its owner",
        ),
        ("ALTER FUNCTION message_store.take_key RESET ALL", "it resolves names by its caller's search_path"),
        ("ALTER FUNCTION message_store.find_key OWNER TO pg_database_owner", "it belongs to pg_database_owner"),
        ("GRANT EXECUTE ON FUNCTION message_store.sweep TO PUBLIC", "function sweep(integer): every role may call it"),
        ("REVOKE USAGE ON SCHEMA message_store FROM message_store", "role message_store: it lacks USAGE of the schema"),
        (
            "REVOKE EXECUTE ON FUNCTION message_store.append_messages FROM message_store",
            "it lacks EXECUTE of append_messages",
        ),
        ("REVOKE SELECT ON message_store.messages FROM message_store", "it lacks SELECT on messages"),
        ("REVOKE UPDATE ON message_store.read_models FROM message_store", "it lacks UPDATE on read_models"),
        ("GRANT INSERT ON message_store.messages TO message_store", "message_store may INSERT into the table"),
        ("DROP VIEW message_store.type_summary", "view type_summary: it is missing"),
        (
            "CREATE FUNCTION message_store.get_last_stream_message(stream_name varchar) RETURNS SETOF message_store.message LANGUAGE sql AS 'SELECT NULL::message_store.message'",
            "message_store.get_last_stream_message(character varying) exists too",
        ),
    ] {
        let database = TestDatabase::create().await;
        database.execute(change).await;
        let before = found(&database).await;
        assert!(before.iter().any(|problem| problem.contains(finding)), "{change}: {before:?}");
        migrate(database.url()).await.unwrap();
        assert_eq!(found(&database).await, Vec::<String>::new(), "{change}");
    }
}

fn replaced_horizon(mark: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION message_store.horizon() RETURNS bigint LANGUAGE sql AS $$ SELECT 0::bigint {mark} $$"
    )
}

/// With the replaced function, the store could break its contract. Opening it changes no function that it did not make.
#[tokio::test]
async fn an_open_refuses_a_replaced_function_and_names_it_and_the_way() {
    let database = TestDatabase::create().await;
    database.execute(&replaced_horizon("")).await;
    let as_role = format!("{}?options=-c%20role%3Dmessage_store", database.url());
    for url in [database.url(), &as_role] {
        let error = PostgresStore::open(url).await.unwrap_err();
        assert!(matches!(error, Error::Schema { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("function horizon(): it is not this library's") && text.contains("message-store migrate"),
            "{text}"
        );
    }
    assert!(!found(&database).await.is_empty(), "the open has changed the schema");
    migrate(database.url()).await.unwrap();
    PostgresStore::open(database.url()).await.unwrap();
}

#[tokio::test]
async fn an_open_takes_a_function_of_a_later_version() {
    let database = TestDatabase::create().await;
    let client = connect(database.url(), None).await;
    write_message(&client, "account-1", "{}").await.unwrap();
    database.execute(&replaced_horizon("/* -- message-store functions 1000 */")).await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    assert_eq!(store.read_all(Read::default()).await.unwrap().messages.len(), 0, "the later one says 0");
}

#[tokio::test]
async fn an_open_refuses_an_older_schema_and_names_the_way_and_leaves_a_later_one() {
    let database = TestDatabase::create().await;
    database.execute("UPDATE message_store.schema_history SET version = version + 1000").await;
    PostgresStore::open(database.url()).await.unwrap();
    database.execute("DELETE FROM message_store.schema_history WHERE version > 1001").await;
    database.execute("UPDATE message_store.schema_history SET version = 1").await;
    let error = PostgresStore::open(database.url()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Schema { .. }), "{text}");
    assert!(text.contains("it is version 1, and this library needs version"), "{text}");
    assert!(text.contains("message-store migrate"), "{text}");
}

/// `pg_monitor` may not CREATE in the database.
#[tokio::test]
async fn an_open_that_may_not_make_the_schema_says_so_and_names_the_way() {
    let database = TestDatabase::create_empty().await;
    let as_role = format!("{}?options=-c%20role%3Dpg_monitor", database.url());
    let error = PostgresStore::open(&as_role).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Schema { .. }), "{text}");
    assert!(text.contains("it is missing, and this user may not create it") && text.contains("migrate"), "{text}");
}

#[tokio::test]
async fn functions_replaced_by_message_dbs_scripts_are_repaired() {
    let database = TestDatabase::create().await;
    let client = connect(database.url(), Some("message_store")).await;
    write_message(&client, "account-1", "{}").await.unwrap();
    message_db::install_over(database.url()).await;
    let before = found(&database).await;
    assert!(before.iter().any(|problem| problem.contains("write_message(")), "{before:?}");

    assert!(matches!(PostgresStore::open(database.url()).await, Err(Error::Schema { .. })));
    migrate(database.url()).await.unwrap();
    assert_eq!(found(&database).await, Vec::<String>::new());
    let store = PostgresStore::open(database.url()).await.unwrap();
    write_message(&client, "account-1", "{}").await.unwrap();
    assert_eq!(store.read_all(Read::default()).await.unwrap().messages.len(), 2);
}

/// The mark of a function is in its text, because a comment on the function would stay when another script replaces it.
#[tokio::test]
async fn twin_a_mark_in_a_comment_would_survive_the_replacement() {
    let database = TestDatabase::create().await;
    database.execute("COMMENT ON FUNCTION message_store.horizon() IS 'message-store functions 1'").await;
    database
        .execute("CREATE OR REPLACE FUNCTION message_store.horizon() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'")
        .await;
    let client = connect(database.url(), None).await;
    let sql = "SELECT obj_description('message_store.horizon()'::regprocedure)";
    assert_eq!(
        client.query_one(sql, &[]).await.unwrap().get::<_, &str>(0),
        "message-store functions 1",
        "the comment lies"
    );
    assert!(found(&database).await[0].contains("horizon(): it is not this library's"));
}

#[tokio::test]
async fn a_sequence_that_is_behind_the_table_or_draws_in_advance_is_found() {
    for (change, finding) in [
        ("SELECT setval('message_store.messages_global_position_seq', 1)", "it is at 1, and the table is at 3"),
        (
            "ALTER SEQUENCE message_store.messages_global_position_seq CACHE 20",
            "each session draws 20 positions in advance",
        ),
        ("ALTER SEQUENCE message_store.messages_global_position_seq INCREMENT 2", "it does not count up by one"),
    ] {
        let database = TestDatabase::create().await;
        let client = connect(database.url(), None).await;
        for _ in 0..3 {
            write_message(&client, "account-1", "{}").await.unwrap();
        }
        assert_eq!(found(&database).await, Vec::<String>::new());
        database.execute(change).await;
        let before = found(&database).await;
        assert!(before.iter().any(|problem| problem.contains(finding)), "{change}: {before:?}");
    }
}

/// If the schema is correct, opening the store takes no lock and changes nothing.
#[tokio::test]
async fn an_open_of_a_complete_store_writes_nothing() {
    let database = TestDatabase::create().await;
    let client = connect(database.url(), None).await;
    let newest = async |client: &Client| -> i64 {
        let sql = "SELECT max(xmin::text::bigint) FROM (SELECT xmin FROM pg_proc UNION ALL SELECT xmin FROM pg_class UNION ALL \
                   SELECT xmin FROM message_store.schema_history) AS rows";
        client.query_one(sql, &[]).await.unwrap().get(0)
    };
    let before = newest(&client).await;
    drop(PostgresStore::open(database.url()).await.unwrap());
    assert_eq!(newest(&client).await, before);
}
