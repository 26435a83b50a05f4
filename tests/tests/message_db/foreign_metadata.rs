//! Metadata that another program wrote to a SQLite file, and that no store would take: it is carried, and copied to
//! every store.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::{MessageStore, Outcome, connect};
use message_store_tests::accounts::{balance, member, messages_of, postgres, put, send_deposits, sqlite};
use message_store_tests::expire::AgeingStore;
use message_store_tests::moving::copy;

const UNSTORABLE: [&str; 16] = [
    r#"{"x":"\u0000"}"#,
    r#"{"x\u0000":1}"#,
    r#"{"x":"\ud800"}"#,
    r#"{"\ud800":1}"#,
    r#"{"x":1e200000}"#,
    r#"{"a":1,"a":2}"#,
    r#"{"messageStore":{"x":"\u0000","displaced":{"y":1}}}"#,
    r#"{"messageStore":{"x\u0000":1}}"#,
    r#"{"messageStore":{"origin":"\u0000"}}"#,
    r#"{"messageStore":{"handler":"a\u0000"}}"#,
    r#"{"properties":{"p":"\u0000"}}"#,
    r#"{"properties":{"p\u0000":1e200000}}"#,
    r#"{"localProperties":{"p":"\u0000"}}"#,
    r#"{"correlationStreamName":"a\u0000b","replyStreamName":"\ud800"}"#,
    r#"{"traceparent":"\u0000","schemaVersion":"\u0000"}"#,
    r#"{"x":"\u0000","y":"kept","messageStore":{"later":1}}"#,
];

/// A SQLite store with a deposit, and with an event of another program. Both have this metadata.
async fn store_with(metadata: &str) -> (AgeingStore, Arc<dyn MessageStore>) {
    let place = AgeingStore::sqlite();
    let store = connect(&place.url()).await.unwrap();
    send_deposits(&store, "account:command", "1", 1).await;
    put(&store, "account-1", "Deposited", r#"{"amount":100}"#, "null").await;
    place.execute("", &format!("UPDATE messages SET metadata = '{metadata}'")).await;
    (place, store)
}

async fn is_carried_and_copied_to(target: impl AsyncFn() -> Arc<dyn MessageStore>) {
    for metadata in UNSTORABLE {
        println!("{metadata}");
        let (_place, store) = store_with(metadata).await;
        let target = target().await;
        copy(&store, &target, &["account", "account:command"]).await;
        // What was carried out in the old store is known in the new one.
        let (old, new) = (messages_of(&store, "account:command").await, messages_of(&target, "account:command").await);
        let outcome = member(&store, None).carry_out(&old[0]).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
        copy(&store, &target, &["account", "account:command"]).await;
        let outcome = member(&target, None).carry_out(&new[0]).await.unwrap();
        assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
        assert_eq!(balance(&target, "1").await, 101);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn metadata_that_no_store_takes_is_carried_and_copied_to_postgres() {
    is_carried_and_copied_to(postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn metadata_that_no_store_takes_is_carried_and_copied_to_sqlite() {
    is_carried_and_copied_to(sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_fields_that_can_be_stored_keep_their_meaning_beside_one_that_cannot() {
    let (_place, store) =
        store_with(r#"{"x":"\u0000","y":"kept","correlationStreamName":"a-1","replyStreamName":"\u0000"}"#).await;
    let target = sqlite().await;
    copy(&store, &target, &["account"]).await;
    let copied = messages_of(&target, "account").await.remove(0);
    let metadata = copied.decode_metadata();
    assert_eq!(metadata.other["y"].text(), "\"kept\"");
    assert_eq!((metadata.correlation_stream_name.as_deref(), metadata.reply_stream_name), (Some("a-1"), None));
    assert_eq!(metadata.origin.unwrap().origin.store_id, store.store_id());
    let read: serde_json::Value = copied.metadata.decode().unwrap();
    let displaced = read["messageStore"]["displaced"].as_str().unwrap();
    assert_eq!(displaced, r#"{"replyStreamName":"\u0000","x":"\u0000"}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stamp_of_a_handler_whose_name_cannot_be_stored_counts_for_no_other_handler() {
    let (place, store) = store_with("null").await;
    let command = messages_of(&store, "account:command").await.remove(0);
    let sequence = serde_json::to_string(&command.sequence(store.store_id())).unwrap();
    let stamp = format!(r#"{{"messageStore":{{"sequence":{sequence},"handler":"a\u0000"}}}}"#);
    place.execute("", &format!("UPDATE messages SET metadata = '{stamp}' WHERE stream_name = 'account-1'")).await;
    let target = sqlite().await;
    copy(&store, &target, &["account", "account:command"]).await;
    for store in [store, target] {
        let command = messages_of(&store, "account:command").await.remove(0);
        let outcome = member(&store, None).carry_out(&command).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
    }
}
