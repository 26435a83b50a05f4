//! Rules of erasure: the data goes, and everything by which a message is recognised stays.

use std::sync::Arc;

use super::given::{append, append_one, category, message, numbered, stream};
use super::{Rule, Subject};
use crate::operations::Erasing;
use crate::store::ErasureTarget;
use crate::{
    Append, Error, GlobalPosition, Json, Message, MessageStore, Metadata, NewMessage, Position, Read, StreamRead,
};

/// The store, unless it cannot erase.
fn erasing(subject: &dyn Subject) -> Option<Arc<dyn MessageStore>> {
    let store = subject.store();
    if store.erasure().is_none() {
        println!("not checked: the store cannot erase");
        return None;
    }
    Some(store)
}

async fn erase(store: &Arc<dyn MessageStore>, name: &str) -> u64 {
    Erasing::stream(store, name).unwrap().part(2).run(|_| {}).await.unwrap().erased
}

/// Moves all messages of the category `account` that may move to the archive, if there is one.
async fn archive(store: &dyn MessageStore) {
    let Some(archive) = store.archive() else { return };
    let mut run = archive.begin(&category("account"), store.given_out(None).await.unwrap()).await.unwrap();
    while run.ended_at.is_none() {
        run = archive.move_part(&run, 100).await.unwrap();
    }
}

/// A message with data, a cause, a handler and a property.
fn personal() -> NewMessage {
    let mut metadata = Metadata::default();
    metadata.causation_message_stream_name = Some("account:command-1".to_owned());
    metadata.causation_message_position = Some(Position::FIRST);
    metadata.causation_message_global_position = Some(GlobalPosition::FIRST);
    metadata.correlation_stream_name = Some("transfer-1".to_owned());
    metadata.handler = Some("account".to_owned());
    metadata.properties.insert("name".to_owned(), Json::parse("\"Ann\"").unwrap());
    NewMessage::new("Opened", Json::parse(r#"{"owner":"Ann"}"#).unwrap()).with_metadata(&metadata).unwrap()
}

/// Whether the message was erased and is otherwise what it was.
fn assert_erased(found: &Message, before: &Message) {
    assert!(found.is_erased() && found.data.is_empty(), "{found:?}");
    assert!(!found.metadata.text().contains("Ann"), "{found:?}");
    assert_eq!(found.reference(), before.reference());
    assert_eq!((&found.message_type, found.time), (&before.message_type, before.time));
    let (metadata, was) = (found.decode_metadata(), before.decode_metadata());
    assert_eq!(metadata.causation_message_stream_name, was.causation_message_stream_name);
    assert_eq!(metadata.causation_message_global_position, was.causation_message_global_position);
    assert_eq!(metadata.correlation_stream_name, was.correlation_stream_name);
    assert_eq!(metadata.handler, was.handler);
}

contract! {$ erasure erasure_tests {
    async fn an_erased_message_loses_its_data_and_keeps_its_places(subject) {
        let Some(store) = erasing(subject) else { return };
        let written = personal();
        append_one(&*store, "account-1", written.clone()).await;
        append(&*store, "account-1", &["B", "C"]).await;
        let before = store.message(written.id).await.unwrap().unwrap();
        assert_eq!(erase(&store, "account-1").await, 3);
        let found = store.read_stream(&stream("account-1"), StreamRead::default()).await.unwrap();
        assert_eq!(found.len(), 3);
        assert_erased(&found[0], &before);
        assert_erased(&store.message(written.id).await.unwrap().unwrap(), &before);
        let batch = store.read_category(&category("account"), Read::default()).await.unwrap();
        assert_erased(&batch.messages[0], &before);
        assert_eq!(store.written_by("account", &[written.id]).await.unwrap(), [before.reference()]);
    }

    async fn an_archived_message_is_erased(subject) {
        let Some(store) = erasing(subject) else { return };
        let written = personal();
        append_one(&*store, "account-1", written.clone()).await;
        append(&*store, "account-1", &["B"]).await;
        archive(&*store).await;
        let before = store.message(written.id).await.unwrap().unwrap();
        assert_eq!(erase(&store, "account-1").await, 2);
        assert_erased(&store.message(written.id).await.unwrap().unwrap(), &before);
    }

    async fn an_erased_message_is_archived_as_it_is(subject) {
        let Some(store) = erasing(subject) else { return };
        let written = personal();
        append_one(&*store, "account-1", written.clone()).await;
        append(&*store, "account-1", &["B"]).await;
        let before = store.message(written.id).await.unwrap().unwrap();
        erase(&store, "account-1").await;
        archive(&*store).await;
        assert_erased(&store.message(written.id).await.unwrap().unwrap(), &before);
        assert_eq!(erase(&store, "account-1").await, 0, "nothing is erased twice");
    }

    async fn other_streams_are_not_erased(subject) {
        let Some(store) = erasing(subject) else { return };
        for name in ["account-1", "account-1+1", "account-10", "account", "other-1"] {
            append_one(&*store, name, numbered(1)).await;
        }
        assert_eq!(erase(&store, "account-1").await, 1);
        for name in ["account-1+1", "account-10", "account", "other-1"] {
            let found = store.read_stream(&stream(name), StreamRead::default()).await.unwrap();
            assert!(!found[0].is_erased(), "{name}");
        }
    }

    async fn an_entity_is_erased_with_all_its_streams(subject) {
        let Some(store) = erasing(subject) else { return };
        for name in ["account-1", "account-1+a", "account-1+z+1", "account-1,2", "account-10", "account-12+a", "other-1"] {
            append_one(&*store, name, numbered(1)).await;
            append_one(&*store, name, numbered(2)).await;
        }
        archive(&*store).await;
        let erasing = Erasing::entity(&store, "account-1").unwrap().part(2);
        assert_eq!(erasing.count().await.unwrap(), 6);
        assert_eq!(erasing.run(|_| {}).await.unwrap().erased, 6);
        for (name, expected) in [
            ("account-1", true), ("account-1+a", true), ("account-1+z+1", true), ("account-1,2", false),
            ("account-10", false), ("account-12+a", false), ("other-1", false),
        ] {
            let found = store.read_stream(&stream(name), StreamRead::default()).await.unwrap();
            assert!(found.len() == 2 && found.iter().all(|message| message.is_erased() == expected), "{name}");
        }
    }

    async fn the_same_append_as_an_erased_one_is_a_repeat(subject) {
        let Some(store) = erasing(subject) else { return };
        let written = personal();
        let place = append_one(&*store, "account-1", written.clone()).await;
        append(&*store, "account-1", &["B"]).await;
        for is_archived in [false, true] {
            if is_archived {
                archive(&*store).await;
            } else {
                erase(&store, "account-1").await;
            }
            // The data cannot be compared any more.
            for data in ["{\"owner\":\"Ann\"}", "7", "null"] {
                let again = NewMessage::new("Opened", Json::parse(data).unwrap()).with_id(written.id);
                let again = store.append(Append::to(stream("account-1")).message(again).into()).await.unwrap();
                assert_eq!((again.written, again.already_written), (vec![place], true));
            }
            for (name, message_type) in [("account-2", "Opened"), ("account-1", "Closed")] {
                let other = message(message_type).with_id(written.id);
                let refused = store.append(Append::to(stream(name)).message(other).into()).await;
                assert!(matches!(refused, Err(Error::IdConflict { .. })), "{refused:?}");
            }
        }
    }

    async fn an_erasure_that_has_not_ended_is_continued(subject) {
        let Some(store) = erasing(subject) else { return };
        let places = [
            append_one(&*store, "account-1", personal()).await,
            append_one(&*store, "account-1", personal()).await,
        ];
        let erasure = store.erasure().unwrap();
        let target = ErasureTarget::Stream(stream("account-1"));
        let begun = erasure.begin(&target).await.unwrap();
        assert_eq!(erasure.begin(&target).await.unwrap(), begun);
        let half = erasure.redact(&begun, Vec::new(), places[0].global_position).await.unwrap();
        assert_eq!(half.looked_through, places[0].global_position);
        let ended = Erasing::stream(&store, "account-1").unwrap().run(|_| {}).await.unwrap();
        assert_eq!((ended.number, ended.erased), (begun.number, 1), "it goes on after the first");
        assert!(ended.ended_at.is_some());
        assert_eq!(erasure.end(&begun).await.unwrap(), ended);
        assert_eq!(erasure.runs().await.unwrap(), std::slice::from_ref(&ended));
        assert_ne!(erasure.begin(&target).await.unwrap().number, ended.number);
    }
}}
