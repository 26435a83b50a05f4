//! Reading: what was written, in order, in batches.

use futures_util::TryStreamExt as _;

use super::{Subject, append, message, numbered, stream};
use crate::{
    Append, Category, ExpectedVersion, GlobalPosition, Json, Message, MessageId, MessageStoreExt as _, Metadata,
    NewMessage, Position, Read, StreamRead, Version,
};

fn types(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.message_type.as_str()).collect()
}

contract! {$ reading reading_tests {
    /// Texts of all scripts, numbers to the last digit, nothing at all, and a stream that is named by its category alone.
    async fn what_was_written_is_read_back(subject) {
        let store = subject.store();
        let mut metadata = Metadata::default();
        metadata.properties.insert("tenant".into(), Json::parse(r#""A""#).unwrap());
        for (name, data) in [
            ("account-1", r#"{"text":"naïve 日本 😀 \" \\ \n","nested":{"a":[{}, [], null, true]}}"#),
            ("account-2", r#"{"big":9007199254740993,"exact":0.1000000000000000000001,"small":-1.5}"#),
            ("account-ß+x:y", "[1,2]"),
            ("account", r#""text""#),
            ("account-3", "null"),
        ] {
            let written = NewMessage::new("Tÿpe", Json::parse(data).unwrap()).with_metadata(&metadata).unwrap();
            let place =
                store.append_to(&stream(name), ExpectedVersion::Any, vec![written.clone()]).await.unwrap().written[0];
            let read = store.read_stream(&stream(name), StreamRead::default()).await.unwrap().remove(0);
            assert_eq!(read.id, written.id);
            assert_eq!(read.stream.as_str(), name);
            assert_eq!(read.message_type, "Tÿpe");
            assert!(read.data.same_as(&written.data), "{:?} came back as {:?}", written.data, read.data);
            assert_eq!(read.decode_metadata(), metadata);
            assert_eq!((read.position, read.global_position), (place.position, place.global_position));
            assert!(read.time > jiff::Timestamp::UNIX_EPOCH);
        }
    }

    /// From a position, in parts, to the end and back.
    async fn a_stream_is_read_forwards_and_backwards_in_parts(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A", "B", "C", "D"]).await;
        append(&*store, "account-2", &["X"]).await;
        let account = stream("account-1");
        for (read, expected) in [
            (StreamRead::default(), vec!["A", "B", "C", "D"]),
            (StreamRead::default().limit(2), vec!["A", "B"]),
            (StreamRead::forwards_from(Position::new(2)), vec!["C", "D"]),
            (StreamRead::forwards_from(Position::new(4)), vec![]),
            (StreamRead::backwards(), vec!["D", "C", "B", "A"]),
            (StreamRead::backwards().limit(1), vec!["D"]),
            (StreamRead::backwards_from(Position::new(1)), vec!["B", "A"]),
            (StreamRead::default().limit(0), vec![]),
        ] {
            let messages = store.read_stream(&account, read.clone()).await.unwrap();
            assert_eq!(types(&messages), expected, "{read:?}");
        }
        assert!(store.read_stream(&stream("account-9"), StreamRead::default()).await.unwrap().is_empty());
    }

    /// A category is what stands before the first hyphen: not a prefix of it, not its commands.
    async fn a_category_is_read_in_global_order_and_holds_no_other_category(subject) {
        let store = subject.store();
        for (name, message_type) in
            [("account-1", "A"), ("accounts-1", "X"), ("account-2", "B"), ("account:command-1", "X"), ("account", "C")]
        {
            append(&*store, name, &[message_type]).await;
        }
        let account = Category::new("account").unwrap();
        let all = store.read_category(&account, Read::default()).await.unwrap();
        assert_eq!(types(&all.messages), ["A", "B", "C"]);
        assert_eq!(all.looked_through, all.messages[2].global_position);

        let part = store.read_category(&account, Read::default().limit(2)).await.unwrap();
        assert_eq!(types(&part.messages), ["A", "B"]);
        let read = Read::from(part.looked_through.next());
        assert_eq!(types(&store.read_category(&account, read).await.unwrap().messages), ["C"]);

        let read = Read::from(all.looked_through.next());
        let end = store.read_category(&account, read.clone()).await.unwrap();
        assert!(end.messages.is_empty() && end.is_at_end(&read));
        assert_eq!(end.looked_through, all.looked_through, "a reader that has caught up stays where it is");
    }

    /// Of every category.
    async fn all_messages_are_read_in_global_order(subject) {
        let store = subject.store();
        store
            .append(vec![
                Append::to(stream("left-1")).message(message("A")),
                Append::to(stream("right-1")).message(message("B")),
            ].into())
            .await
            .unwrap();
        append(&*store, "left-2", &["C"]).await;
        let batch = store.read_all(Read::default()).await.unwrap();
        assert_eq!(types(&batch.messages), ["A", "B", "C"]);
        let rest = store.read_all(Read::from(batch.messages[1].global_position)).await.unwrap();
        assert_eq!(types(&rest.messages), ["B", "C"]);
    }

    /// And holds at least one message, however large.
    async fn a_batch_ends_where_its_bytes_do(subject) {
        let store = subject.store();
        let half_a_message = store.limits().message_bytes / 2;
        let fitting = store.limits().batch_bytes / half_a_message;
        let data = Json::encode(&"x".repeat(half_a_message)).unwrap();
        let count = fitting + 3;
        for _ in 0..count {
            let messages = vec![NewMessage::new("Large", data.clone())];
            store.append_to(&stream("account-1"), ExpectedVersion::Any, messages).await.unwrap();
        }
        let category = Category::new("account").unwrap();
        let stream_batch = store.read_stream(&stream("account-1"), StreamRead::default()).await.unwrap();
        let category_batch = store.read_category(&category, Read::default()).await.unwrap();
        let all_batch = store.read_all(Read::default()).await.unwrap();
        for messages in [&stream_batch, &category_batch.messages, &all_batch.messages] {
            assert!((1..=fitting + 1).contains(&messages.len()), "{} messages", messages.len());
        }
        let everything: Vec<Message> = store.category_messages(&category, Read::default()).try_collect().await.unwrap();
        assert_eq!(everything.len(), count, "what did not fit comes with the next batch");
    }

    /// By type, of a stream that is not there, and with an id that no message has.
    async fn the_last_message_the_version_and_a_message_by_its_id_are_found(subject) {
        let store = subject.store();
        append(&*store, "account-1", &["A", "B", "A", "C"]).await;
        let account = stream("account-1");
        for (message_type, position) in [(None, Some(3)), (Some("A"), Some(2)), (Some("B"), Some(1)), (Some("X"), None)] {
            let last = store.last_message(&account, message_type).await.unwrap();
            assert_eq!(last.map(|message| message.position.get()), position, "{message_type:?}");
        }
        assert_eq!(store.version(&account).await.unwrap(), Version::at(Position::new(3)));

        let nowhere = stream("account-2");
        assert!(store.last_message(&nowhere, None).await.unwrap().is_none());
        assert_eq!(store.version(&nowhere).await.unwrap(), Version::NO_STREAM);

        let last = store.last_message(&account, None).await.unwrap().unwrap();
        assert_eq!(store.message(last.id).await.unwrap().unwrap().reference(), last.reference());
        assert!(store.message(MessageId::new()).await.unwrap().is_none());
    }

    /// More messages than a batch holds.
    async fn streams_of_messages_go_on_over_batches(subject) {
        let store = subject.store();
        let count = crate::DEFAULT_BATCH + 500;
        let messages = (0..count).map(numbered).collect();
        store.append_to(&stream("account-1"), ExpectedVersion::Any, messages).await.unwrap();
        let account = Category::new("account").unwrap();

        let of_stream: Vec<Message> =
            store.stream_messages(&stream("account-1"), Position::FIRST).try_collect().await.unwrap();
        let of_category: Vec<Message> = store.category_messages(&account, Read::default()).try_collect().await.unwrap();
        let of_all: Vec<Message> =
            store.all_messages(Read::from(GlobalPosition::FIRST).limit(7)).try_collect().await.unwrap();
        for messages in [of_stream, of_category, of_all] {
            let numbers: Vec<usize> = messages.iter().map(|message| message.decode_data().unwrap()).collect();
            assert!(numbers.iter().copied().eq(0..count), "{} messages", numbers.len());
        }
    }
}}
