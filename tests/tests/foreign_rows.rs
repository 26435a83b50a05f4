//! Rows of other tools, in forms that this library never writes.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::{Read, connect};
use message_store_tests::accounts::balance;
use message_store_tests::postgres::TestDatabase;

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_and_metadata_of_other_tools_stop_no_reader_and_no_entity() {
    let database = TestDatabase::create().await;
    database
        .execute(
            r#"INSERT INTO message_store.messages (stream_name, position, type, data, metadata) VALUES
               ('', 0, 'T', NULL, NULL),
               (repeat('x', 300) || '-1', 0, 'T', 'null', '"a text"'),
               ('account-1', 0, 'Deposited', '{"amount": 7}', '[1, 2]'),
               ('account-1', 1, 'Deposited', '{"amount": 7}', '{"causationMessageStreamName": "", "other": {"a": 1}}')"#,
        )
        .await;
    let store = connect(database.url()).await.unwrap();
    let all = store.read_all(Read::default()).await.unwrap().messages;
    assert_eq!(all.len(), 4);
    assert_eq!(all[1].stream.as_str().len(), 302);
    assert!(all[1].data.is_empty());
    assert!(all.iter().all(|message| message.sequence(store.store_id()).global_position == message.global_position));
    assert_eq!(balance(&store, "1").await, 14);
}
