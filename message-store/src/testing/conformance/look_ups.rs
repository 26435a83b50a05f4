//! Rules of look-ups: the last message of a stream, its version, and messages by their ids.

use super::given::{append, append_one, message, stream, version};
use super::{Rule, Subject};
use crate::{Json, MessageId, MessageRef, MessageStore, Metadata, Version};

/// The position of the last message of a type, in a stream of A, B, A and C.
async fn last_of(store: &dyn MessageStore, message_type: Option<&str>) -> Option<i64> {
    append(store, "account-1", &["A", "B", "A", "C"]).await;
    append(store, "account-2", &["A", "X"]).await;
    let last = store.last_message(&stream("account-1"), message_type).await.unwrap();
    last.map(|message| message.position.get())
}

contract! {$ look_ups look_ups_tests {
    async fn the_last_message_of_a_stream_is_found(subject) {
        assert_eq!(last_of(&*subject.store(), None).await, Some(3));
    }

    async fn the_last_message_of_a_type_is_found(subject) {
        assert_eq!(last_of(&*subject.store(), Some("A")).await, Some(2));
    }

    async fn a_type_that_a_stream_does_not_hold_has_no_last_message(subject) {
        assert_eq!(last_of(&*subject.store(), Some("X")).await, None);
    }

    async fn a_stream_that_is_not_there_has_no_last_message(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        assert!(store.last_message(&stream("account-2"), None).await.unwrap().is_none());
    }

    async fn the_version_of_a_stream_is_the_position_of_its_last_message(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        assert_eq!(store.version(&stream("account-1")).await.unwrap(), version(0));
        append(&*store, "account-1", &["B", "C"]).await;
        assert_eq!(store.version(&stream("account-1")).await.unwrap(), version(2));
    }

    async fn a_stream_that_is_not_there_has_the_version_of_no_stream(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        assert_eq!(store.version(&stream("account-2")).await.unwrap(), Version::NO_STREAM);
    }

    async fn a_message_is_found_by_its_id(subject) {
        let store = subject.store();
        let written = message("A");
        append_one(&*store, "account-1", message("Before")).await;
        let place = append_one(&*store, "account-2", written.clone()).await;
        append_one(&*store, "account-2", message("After")).await;
        let found = store.message(written.id).await.unwrap().unwrap();
        assert_eq!((found.id, found.stream.as_str()), (written.id, "account-2"));
        assert_eq!(found.global_position, place.global_position);
    }

    async fn of_many_ids_those_of_one_handlers_messages_are_found_with_their_places(subject) {
        let store = subject.store();
        let by = |handler: &str| {
            let mut metadata = Metadata::default();
            metadata.handler = Some(handler.to_owned());
            message("A").with_metadata(&metadata).unwrap()
        };
        let named = |metadata: &str| message("A").with_metadata_json(Json::parse(metadata).unwrap());
        let written = [
            by("account"),
            by("interest"),
            message("A"),
            by("account"),
            named(r#"{"handler":"account"}"#),
            named(r#"{"messageStore":"account"}"#),
            named(r#"{"messageStore":{"handler":["account"]}}"#),
            by(r#"a"c'c\ount"#),
        ];
        let mut places = Vec::new();
        for (number, message) in written.iter().enumerate() {
            places.push(append_one(&*store, &format!("account-{}", number % 3), message.clone()).await);
        }
        let mut ids: Vec<_> = written.iter().map(|message| message.id).collect();
        ids.insert(1, MessageId::new());
        for (handler, numbers) in [("account", &[0, 3][..]), (r#"a"c'c\ount"#, &[7]), ("nobody", &[])] {
            let mut found = store.written_by(handler, &ids).await.unwrap();
            found.sort_by_key(|found| found.global_position);
            let expected = numbers.iter().map(|number| MessageRef {
                id: written[*number].id,
                stream: stream(&format!("account-{}", number % 3)),
                position: places[*number].position,
                global_position: places[*number].global_position,
            });
            assert_eq!(found, expected.collect::<Vec<_>>(), "{handler}");
        }
        assert_eq!(store.written_by("account", &[]).await.unwrap(), []);
    }

    async fn an_id_that_no_message_has_finds_none(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A"]).await;
        assert!(store.message(MessageId::new()).await.unwrap().is_none());
    }
}}
