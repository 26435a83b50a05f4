//! Rows of other tools, in forms that this library never writes.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::{MessageId, Read, connect};
use message_store_tests::accounts::balance;
use message_store_tests::expire::AgeingStore;
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

/// The writers of messages are the same, whether one message is read or many are looked up.
async fn writers_agree(place: &AgeingStore) {
    let store = connect(&place.url()).await.unwrap();
    let texts = [
        r#"{"messageStore":{"handler":"account"}}"#,
        r#"{"messageStore":{"handler":"account"},"messageStore":{"handler":"other"}}"#,
        r#"{"messageStore":{"handler":"other","handler":"account"}}"#,
        r#"{"messageStore":{"handler":"account"},"messageStore":null}"#,
        r#"{"messageStore":{"handler":"account","sequence":"first"}}"#,
        r#"{"messageStore":[{"handler":"account"}]}"#,
        r#"{"messageStore.handler":"account"}"#,
        r#"{"messageStore":{"handler":5}}"#,
        r#""account""#,
    ];
    let mut ids = Vec::new();
    for (position, text) in texts.iter().enumerate() {
        let id = MessageId::new();
        let hex = id.as_uuid().simple();
        place
            .execute(
                &format!(
                    "INSERT INTO message_store.messages (id, stream_name, position, type, metadata) \
                     VALUES ('{hex}', 'account-1', {position}, 'T', '{text}')"
                ),
                &format!(
                    "INSERT INTO messages (id, stream_name, category, position, type, time, metadata) \
                     VALUES (x'{hex}', 'account-1', 'account', {position}, 'T', 0, '{text}')"
                ),
            )
            .await;
        ids.push(id);
    }
    let mut many = store.written_by("account", &ids).await.unwrap();
    many.sort_by_key(|written| written.position);
    let mut single = Vec::new();
    for id in &ids {
        let message = store.message(*id).await.unwrap().unwrap();
        if message.decode_metadata().handler.as_deref() == Some("account") {
            single.push(message.reference());
        }
    }
    assert_eq!(many, single);
    assert!(many.len() >= 3, "{many:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writers_of_foreign_messages_agree_on_postgres() {
    writers_agree(&AgeingStore::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writers_of_foreign_messages_agree_on_sqlite() {
    writers_agree(&AgeingStore::sqlite()).await;
}
