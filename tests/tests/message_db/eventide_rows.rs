//! Rows that Eventide's account component has written, and this library's rows as that component reads them.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::consumer::Consumer;
use message_store::{Category, Filter, GlobalPosition, Outcome, OutcomeKind, Position, Read, StreamName, connect};
use message_store_tests::accounts::{balance, member, messages_of, send_deposits};
use message_store_tests::postgres::TestDatabase;

/// Commands to one account. An Eventide component has carried out the first two, and has recorded its position.
const ROWS: &str = r#"
INSERT INTO message_store.messages (global_position, id, stream_name, position, type, data, metadata) VALUES
(101, '8a3f6e0e-5c0d-4ac3-9d4f-6b1f5a3c9f01', 'account:command-123', 0, 'Deposit',
  '{"amount": 11, "time": "2000-01-01T11:11:11.000Z", "accountId": "123", "depositId": "d1"}',
  '{"properties": {}, "localProperties": {}, "replyStreamName": "someReply-1", "correlationStreamName": "fundsTransfer-9"}'),
(102, '8a3f6e0e-5c0d-4ac3-9d4f-6b1f5a3c9f02', 'account:command-123', 1, 'Deposit',
  '{"amount": 1, "time": "2000-01-01T11:11:12.000Z", "accountId": "123", "depositId": "d2"}', NULL),
(103, '8a3f6e0e-5c0d-4ac3-9d4f-6b1f5a3c9f03', 'account-123', 0, 'Deposited',
  '{"amount": 11, "sequence": 101, "accountId": "123", "depositId": "d1", "processedTime": "2000-01-01T22:22:22.000Z"}',
  '{"correlationStreamName": "fundsTransfer-9", "causationMessagePosition": 0, "causationMessageStreamName": "account:command-123", "causationMessageGlobalPosition": 101, "schemaVersion": null}'),
(104, '8a3f6e0e-5c0d-4ac3-9d4f-6b1f5a3c9f04', 'account-123', 1, 'Deposited',
  '{"amount": 1, "sequence": 102, "accountId": "123", "depositId": "d2", "processedTime": "2000-01-01T22:22:22.000Z"}',
  '{"causationMessagePosition": 1, "causationMessageStreamName": "account:command-123", "causationMessageGlobalPosition": 102}'),
(105, '8a3f6e0e-5c0d-4ac3-9d4f-6b1f5a3c9f05', 'account:command+position', 0, 'Recorded', '{"position": 101}', NULL);
SELECT setval('message_store.messages_global_position_seq', 105);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_component_takes_over_from_eventide_where_it_was_and_repeats_nothing() {
    let database = TestDatabase::create().await;
    database.execute(ROWS).await;
    let store = connect(database.url()).await.unwrap();
    assert_eq!(balance(&store, "123").await, 12);

    let account = member(&store, None).entities().fetch("123").await.unwrap();
    let [mark] = account.sequences.marks() else { panic!("{:?}", account.sequences) };
    assert_eq!(
        (mark.sequence.origin.store_id, mark.sequence.origin.category.as_str()),
        (store.store_id(), "account:command")
    );
    assert_eq!(mark.sequence.global_position, GlobalPosition::new(102));

    let new = send_deposits(&store, "account:command", "123", 1).await.remove(0);
    let mut consumer = Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
    assert_eq!(consumer.startup_report().handled_through, GlobalPosition::new(101));
    consumer.wait_for(new.global_position).await.unwrap();
    let counts = consumer.stop().await.unwrap();
    assert_eq!(
        (counts.of(OutcomeKind::AlreadyProcessed), counts.of(OutcomeKind::Handled)),
        (1, 1),
        "102 was carried out by Eventide"
    );
    assert_eq!(balance(&store, "123").await, 13);

    // The same from the beginning.
    let first = messages_of(&store, "account:command").await.remove(0);
    assert!(matches!(member(&store, None).carry_out(&first).await.unwrap(), Outcome::AlreadyProcessed { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_events_name_their_cause_as_eventide_does_and_carry_on_what_it_carries_on() {
    let database = TestDatabase::create().await;
    database.execute(ROWS).await;
    database.execute("DELETE FROM message_store.messages WHERE global_position > 102").await;
    let store = connect(database.url()).await.unwrap();
    let command = messages_of(&store, "account:command").await.remove(0);
    let _ = member(&store, None).carry_out(&command).await.unwrap();

    let stream = StreamName::new("account-123").unwrap();
    let event = store.last_message(&stream, None).await.unwrap().unwrap();
    assert_eq!((event.message_type.as_str(), event.position), ("Deposited", Position::FIRST));
    let metadata: serde_json::Value = event.metadata.decode().unwrap();
    for (key, value) in [
        ("causationMessageStreamName", serde_json::json!("account:command-123")),
        ("causationMessagePosition", serde_json::json!(0)),
        ("causationMessageGlobalPosition", serde_json::json!(101)),
        ("correlationStreamName", serde_json::json!("fundsTransfer-9")),
        ("replyStreamName", serde_json::json!("someReply-1")),
    ] {
        assert_eq!(metadata[key], value, "{key}");
    }
    let transfer = Filter::default().correlation(Category::new("fundsTransfer").unwrap());
    let account = Category::new("account").unwrap();
    let heard = store.read_category(&account, Read::default().filter(transfer)).await.unwrap().messages;
    assert_eq!(heard.iter().map(|message| message.id).collect::<Vec<_>>(), [event.id], "a process manager hears it");
}
