//! What a handler sets is merged, never dropped; what cannot be merged is an error.

use std::time::Duration;

use message_store::handling::Context;
use message_store::store::{Due, TimerChange, TimerKey};
use message_store::testing::fire_timers;
use message_store::*;
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::on_both_stores;

use super::Store;

const CAUSE: &str = r#"{"correlationStreamName":"case-1","replyStreamName":"reply-1","properties":{"tenant":"north","n":1},
    "traceparent":"00-a","tracestate":"s=1","localProperties":{"l":1}}"#;

async fn write(store: &Store, metadata: &str) -> Result<Message> {
    let cause = put(store, "cause-1", "Cause", "{}", CAUSE).await;
    let message = NewMessage::new("Written", Json::NULL).with_metadata_json(Json::parse(metadata).unwrap());
    let _ = Context::new(store, "handler", &cause)
        .write("w", Append::to(StreamName::new("target-1").unwrap()).message(message))
        .await?;
    Ok(messages_of(store, "target").await.pop().unwrap())
}

async fn by_timer(store: &Store, metadata: &str) -> Result<Message> {
    let cause = put(store, "cause-1", "Cause", "{}", CAUSE).await;
    let message = NewMessage::new("Written", Json::NULL).with_metadata_json(Json::parse(metadata).unwrap());
    let key = TimerKey::new(StreamName::new("cause-1").unwrap(), "t");
    let set = TimerChange::set(key, Due::After(Duration::ZERO), StreamName::new("target-1").unwrap(), message);
    let event = Append::to(StreamName::new("own-1").unwrap()).message(NewMessage::new("E", Json::NULL));
    let _ = Context::new(store, "handler", &cause).write("w", AppendRequest::from(event).timer(set)).await?;
    assert_eq!(fire_timers(&**store).await, 1);
    Ok(messages_of(store, "target").await.pop().unwrap())
}

on_both_stores! {
    async fn a_mark_of_erasure_that_a_handler_sets_is_kept_or_refused(store) {
        let written = write(&store, r#"{"messageStore":{"erased":true}}"#).await;
        if let Ok(written) = written {
            assert!(written.metadata.text().contains("erased"), "dropped: {}", written.metadata.text());
        }
    }

    async fn every_field_that_a_handler_sets_is_there_beside_what_it_inherits(store) {
        let set = r#"{"replyStreamName":"mine-1","properties":{"tenant":null,"deep":{"a":[1,2.50]}},"localProperties":{"x":"y"},
            "own":{"messageStore":1},"schemaVersion":"3","messageStore":{"tags":["t:1","t:2"],"typeVersion":4}}"#;
        for by in [0, 1] {
            let written = if by == 0 { write(&store, set).await.unwrap() } else { by_timer(&store, set).await.unwrap() };
            let metadata = written.decode_metadata();
            let text = written.metadata.text();
            assert_eq!(metadata.correlation_stream_name.as_deref(), Some("case-1"));
            assert_eq!(metadata.reply_stream_name.as_deref(), Some("mine-1"));
            assert_eq!(metadata.schema_version.as_deref(), Some("3"));
            assert_eq!(metadata.traceparent.as_deref(), Some("00-a"));
            assert_eq!(metadata.tracestate.as_deref(), Some("s=1"));
            assert_eq!(metadata.tags.len(), 2);
            assert_eq!(metadata.type_version.map(std::num::NonZero::get), Some(4));
            assert!(metadata.other.contains_key("own") && metadata.local_properties.contains_key("x"), "{text}");
            assert!(!metadata.local_properties.contains_key("l"), "{text}");
            assert!(metadata.properties.contains_key("deep") && metadata.properties.contains_key("n"), "{text}");
            assert_ne!(metadata.properties.get("tenant").map(Json::text), Some(r#""north""#), "the author has set it to null: {text}");
            assert!(metadata.properties.contains_key("tenant"), "{text}");
        }
    }

    async fn what_is_no_metadata_is_refused_also_in_a_timer(store) {
        for wrong in ["[1]", "7", r#"{"properties":7}"#, r#"{"traceparent":{}}"#, r#"{"messageStore":[]}"#,
            r#"{"messageStore":{"tags":"a"}}"#, r#"{"messageStore":{"later":1}}"#, r#"{"messageStore":{"reserves":"X"}}"#,
            r#"{"messageStore":{"handler":"other"}}"#] {
            assert!(write(&store, wrong).await.is_err(), "{wrong}");
            assert!(by_timer(&store, wrong).await.is_err(), "by timer: {wrong}");
        }
        assert!(messages_of(&store, "target").await.is_empty());
    }
}
