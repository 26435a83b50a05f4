//! What only PostgreSQL has: Message DB's clients, rights, and transactions that end half way.

use message_store::postgres::{check, migrate};
use message_store::{Append, Category, GlobalPosition, Json, NewMessage, StreamName, connect};
use message_store_tests::message_db::connect as client;
use message_store_tests::postgres::TestDatabase;
use uuid::Uuid;

use super::archive;

/// A store with a stream of ten messages, of which nine are archived.
async fn archived(database: &TestDatabase) {
    let store = connect(database.url()).await.unwrap();
    let messages = (0..10).map(|_| NewMessage::new("T", Json::NULL));
    store.append(Append::to(StreamName::new("account-1").unwrap()).messages(messages).into()).await.unwrap();
    assert_eq!(archive(&store, "account").await, 9);
}

#[tokio::test]
async fn message_dbs_clients_read_archived_messages_and_cannot_write_them_again() {
    let database = TestDatabase::create().await;
    archived(&database).await;
    let client = client(database.url(), Some("message_store")).await;
    for (call, expected) in [
        ("get_stream_messages('account-1')", 10),
        ("get_stream_messages('account-1', 3, 4)", 4),
        ("get_category_messages('account')", 10),
        ("get_last_stream_message('account-1', 'T')", 1),
        ("stream_summary", 1),
    ] {
        let row = client.query_one(&format!("SELECT count(*) FROM message_store.{call}"), &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), expected, "{call}");
    }
    let version: i64 = client.query_one("SELECT message_store.stream_version('account-1')", &[]).await.unwrap().get(0);
    assert_eq!(version, 9);
    let id: Uuid = client
        .query_one("SELECT id FROM message_store.messages ORDER BY global_position LIMIT 1", &[])
        .await
        .unwrap()
        .get(0);
    let write = format!("SELECT message_store.write_message('{id}', 'mail-1', 'T', '{{}}')");
    let refused = client.simple_query(&write).await.unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!((refused.code().code(), refused.constraint()), ("23505", Some("messages_id")));
}

#[tokio::test]
async fn archiving_is_for_operators() {
    let database = TestDatabase::create().await;
    archived(&database).await;
    let name = format!("operator_{}", Uuid::new_v4().simple());
    let begin = "SELECT message_store.begin_archive_run('account', 10)";
    let service = client(database.url(), Some("message_store")).await;
    for call in [begin, "SELECT message_store.archive_part(1, 10)", "DELETE FROM message_store.archived_messages"] {
        assert_eq!(service.simple_query(call).await.unwrap_err().code().unwrap().code(), "42501", "{call}");
    }
    service.simple_query("SELECT * FROM message_store.archive_runs").await.unwrap();
    database
        .execute(&format!(
            "CREATE ROLE {name} LOGIN; GRANT message_store TO {name}; \
             GRANT EXECUTE ON FUNCTION message_store.begin_archive_run, message_store.archive_part TO {name}"
        ))
        .await;
    migrate(database.url()).await.unwrap();
    client(database.url(), Some(&name)).await.simple_query(begin).await.unwrap();
    let report = check(database.url()).await.unwrap();
    assert!(report.findings.iter().all(|finding| finding.problem.is_none() || finding.what == "fsync"), "{report}");
    database.execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await;
}

#[tokio::test]
async fn check_finds_functions_of_operators_that_every_role_may_call() {
    let database = TestDatabase::create().await;
    database.execute("GRANT EXECUTE ON FUNCTION message_store.archive_part TO PUBLIC").await;
    let report = check(database.url()).await.unwrap().to_string();
    assert!(report.contains("function archive_part(bigint, integer): every role may call it"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_part_whose_connection_is_lost_moves_nothing_and_the_run_goes_on() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    let messages = (0..10).map(|_| NewMessage::new("T", Json::NULL));
    store.append(Append::to(StreamName::new("account-1").unwrap()).messages(messages).into()).await.unwrap();
    let archive = store.archive().unwrap();
    let category = Category::new("account").unwrap();
    let run = archive.begin(&category, GlobalPosition::new(10)).await.unwrap();
    let lost = client(database.url(), None).await;
    lost.batch_execute("BEGIN; SELECT message_store.archive_part(1, 5)").await.unwrap();
    // Its row is locked: another caller waits, and goes on from what was saved.
    let waiting = archive.move_part(&run, 3);
    let ((), moved) = tokio::join!(
        async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            drop(lost);
        },
        waiting
    );
    let moved = moved.unwrap();
    assert_eq!((moved.moved, moved.looked_through), (3, GlobalPosition::new(3)));
}
