//! Erasures while messages move to the archive.

use std::time::Duration;

use message_store::operations::Erasing;
use message_store::{Append, Category, GlobalPosition, Json, NewMessage, StreamName, StreamRead, connect};
use message_store_tests::message_db::connect as client;
use message_store_tests::postgres::TestDatabase;

/// The number of messages that keep their data although their stream was erased. They move in a transaction that began
/// before the erasure, and commits while the erasure waits for it.
async fn left(sabotage: &str) -> usize {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    database.execute(sabotage).await;
    let stream = StreamName::new("account-1").unwrap();
    let messages = (0..10).map(|number: u32| NewMessage::new("T", Json::encode(&number).unwrap()));
    store.append(Append::to(stream.clone()).messages(messages).into()).await.unwrap();
    let run =
        store.archive().unwrap().begin(&Category::new("account").unwrap(), GlobalPosition::new(10)).await.unwrap();
    let mover = client(database.url(), None).await;
    mover.batch_execute(&format!("BEGIN; SELECT message_store.archive_part({}, 100)", run.number)).await.unwrap();
    let erasing = Erasing::stream(&store, "account-1").unwrap();
    // An erasure that fails fails the test at once.
    let erased = async { erasing.run(|_| {}).await.unwrap() };
    let (_, ()) = tokio::join!(erased, async {
        // Until the erasure waits for the rows.
        let waits = "SELECT count(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'transactionid'";
        let observer = client(database.url(), None).await;
        while observer.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        mover.batch_execute("COMMIT").await.unwrap();
    });
    let found = store.read_stream(&stream, StreamRead::default()).await.unwrap();
    assert_eq!(found.len(), 10);
    found.iter().filter(|message| !message.is_erased()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_that_move_while_they_are_erased_are_erased() {
    assert_eq!(left("").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_an_erasure_in_one_statement_misses_messages_that_move() {
    let sabotage = "DO $$ DECLARE definition text; one text; BEGIN \
                      SELECT pg_get_functiondef('message_store.erase_part'::regproc) INTO definition; \
                      one := replace(definition, 'UPDATE ONLY message_store.messages', 'UPDATE message_store.messages'); \
                      one := replace(one, 'UPDATE message_store.archived_messages m', \
                        'UPDATE message_store.archived_messages m'); \
                      one := replace(one, 'WHERE m.id = r.id;\n  GET DIAGNOSTICS erased_in_archive', \
                        'WHERE m.id = r.id AND false;\n  GET DIAGNOSTICS erased_in_archive'); \
                      one := replace(one, '-- message-store functions', '-- message-store functions 1000 --'); \
                      ASSERT one LIKE '%AND false%'; EXECUTE one; END $$";
    assert_eq!(left(sabotage).await, 9);
}
