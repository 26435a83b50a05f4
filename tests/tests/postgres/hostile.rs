//! Objects and grants of other users that could replace those of the store.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::postgres::{PostgresStore, adopt, check, migrate};
use message_store::{Category, MessageStore as _, Read};
use message_store_tests::message_db::{connect, message_db, write_message};
use message_store_tests::postgres::TestDatabase;

/// With the server's default `search_path`, a role that may create objects in `public` could run code with a reader's
/// rights.
#[tokio::test]
async fn an_operator_in_public_does_not_take_the_place_of_the_one_that_get_stream_messages_means() {
    let database = TestDatabase::create().await;
    database
        .execute(
            "CREATE FUNCTION public.never(text, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT false'; \
             CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = varchar, FUNCTION = public.never)",
        )
        .await;
    let client = connect(database.url(), Some("message_store")).await;
    write_message(&client, "a-1", "{}").await.unwrap();
    let row = client.query_one("SELECT count(*) FROM message_store.get_stream_messages('a-1')", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1, "the stream reads as empty");
}

#[tokio::test]
async fn a_function_in_public_is_not_run_by_a_reader_of_a_category() {
    let database = TestDatabase::create().await;
    database
        .execute(
            "CREATE FUNCTION public.format(text, text, text) RETURNS text LANGUAGE plpgsql AS $$ \
             BEGIN RAISE EXCEPTION 'it runs as %', current_user; END $$",
        )
        .await;
    let client = connect(database.url(), Some("message_store")).await;
    let read = client.query("SELECT * FROM message_store.get_category_messages('a')", &[]).await;
    assert!(read.is_ok(), "{}", read.unwrap_err().as_db_error().unwrap().message());
}

/// The same for the store's own statements.
#[tokio::test]
async fn an_operator_in_public_does_not_make_the_store_skip_a_category() {
    let database = TestDatabase::create().await;
    let client = connect(database.url(), None).await;
    write_message(&client, "a-1", "{}").await.unwrap();
    database
        .execute(
            "CREATE FUNCTION public.never(varchar, text) RETURNS boolean LANGUAGE sql AS 'SELECT false'; \
             CREATE OPERATOR public.<= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.never)",
        )
        .await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    let batch = store.read_category(&Category::new("a").unwrap(), Read::default()).await.unwrap();
    assert_eq!(batch.messages.len(), 1, "the category reads as empty");
}

/// `stream_names` counts from 0: `unnest` says that stream 1 is `a-1`, the subscript says that it is `b-1`.
#[tokio::test]
async fn stream_names_that_count_from_another_number_leave_no_gap() {
    let database = TestDatabase::create().await;
    let client = connect(database.url(), Some("message_store")).await;
    for _ in 0..5 {
        write_message(&client, "a-1", "{}").await.unwrap();
    }
    // A refusal would also be correct.
    let _ = client
        .simple_query(
            "SELECT message_store.append_messages('[0:1]={a-1,b-1}', '{NULL,NULL}', '{1}', '{1}', '{NULL}', '{1}', \
             ARRAY[gen_random_uuid()], '{T}', '{null}', '{null}'::jsonb[])",
        )
        .await;
    let sql = "SELECT count(*) FROM message_store.messages WHERE stream_name = 'b-1' AND position > 0";
    let beyond: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(beyond, 0, "b-1 begins at position 5");
}

/// Without the grant, only the owner can read all messages.
#[tokio::test]
async fn a_dropped_grant_on_the_sequence_is_found_and_repaired() {
    let database = TestDatabase::create().await;
    database.execute("REVOKE SELECT ON SEQUENCE message_store.messages_global_position_seq FROM PUBLIC").await;
    let client = connect(database.url(), Some("message_store")).await;
    assert!(client.query("SELECT message_store.horizon()", &[]).await.is_err());
    let report = check(database.url()).await.unwrap().to_string();
    migrate(database.url()).await.unwrap();
    let after = client.query("SELECT message_store.horizon()", &[]).await;
    let noticed = report.lines().any(|line| line.contains("PROBLEM") && line.contains("sequence"));
    assert!(noticed && after.is_ok(), "noticed: {noticed}, put right: {}", after.is_ok());
}

/// The role is a member of `message_store`, and has its own grant on the sequence, as from `GRANT ALL ON ALL
/// SEQUENCES`.
#[tokio::test]
async fn after_an_adoption_no_role_may_set_the_sequence_back() {
    let database = message_db().await;
    let role = format!("app_{}", uuid::Uuid::new_v4().simple());
    let admin = connect(database.url(), None).await;
    admin
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT message_store TO {role}; \
             GRANT ALL ON ALL SEQUENCES IN SCHEMA message_store TO {role}"
        ))
        .await
        .unwrap();
    adopt(database.url()).await.unwrap();
    let client = connect(database.url(), Some(&role)).await;
    for _ in 0..3 {
        write_message(&client, "a-1", "{}").await.unwrap();
    }
    let set_back = client.query("SELECT setval('message_store.messages_global_position_seq', 100)", &[]).await;
    drop(client);
    admin.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    assert!(set_back.is_err());
}
