//! Rules of contents: a message is read as it was written.

use super::given::{append_one, category, message, stream};
use super::{Rule, Subject};
use crate::{Json, Message, MessageStore, Metadata, NewMessage, Read, StreamRead};

async fn written_and_read(store: &dyn MessageStore, name: &str, message: NewMessage) -> Message {
    append_one(store, name, message).await;
    store.read_stream(&stream(name), StreamRead::default()).await.unwrap().remove(0)
}

async fn assert_data_survives(store: &dyn MessageStore, texts: &[&str]) {
    for (number, text) in texts.iter().enumerate() {
        let data = Json::parse(*text).unwrap();
        let read = written_and_read(store, &format!("account-{number}"), NewMessage::new("T", data.clone())).await;
        assert!(read.data.same_as(&data), "{data:?} came back as {:?}", read.data);
    }
}

contract! {$ contents contents_tests {
    async fn texts_of_all_scripts_are_read_back(subject) {
        let texts = [r#"{"text":"naïve 日本 😀 \" \\ \n \u0001"}"#, r#""text""#, r#"" leading and trailing ""#];
        assert_data_survives(&*subject.store(), &texts).await;
    }

    async fn numbers_are_read_back_to_the_last_digit(subject) {
        let texts = ["9007199254740993", "0.1000000000000000000001", "-1.5", "123456789012345678901617"];
        assert_data_survives(&*subject.store(), &texts).await;
    }

    async fn arrays_objects_and_nothing_at_all_are_read_back(subject) {
        let texts = [r#"{"nested":{"a":[{}, [], null, true, false]}}"#, "[1,2]", "[]", "{}", "null"];
        assert_data_survives(&*subject.store(), &texts).await;
    }

    async fn metadata_is_read_back(subject) {
        let store = subject.store();
        let mut metadata = Metadata::default();
        metadata.correlation_stream_name = Some("transfer-1".to_owned());
        metadata.properties.insert("tenant".into(), Json::parse(r#""A""#).unwrap());
        let read = written_and_read(&*store, "account-1", message("A").with_metadata(&metadata).unwrap()).await;
        assert_eq!(read.decode_metadata(), metadata);
        assert!(written_and_read(&*store, "account-2", message("A")).await.metadata.is_empty());
    }

    /// They may contain letters of any script.
    async fn types_and_stream_names_are_read_back(subject) {
        let store = subject.store();
        for name in ["account-ß+x:y", "account", "account-1-2 3", "日本-😀"] {
            let read = written_and_read(&*store, name, message("Tÿpe 日")).await;
            assert_eq!((read.stream.as_str(), read.message_type.as_str()), (name, "Tÿpe 日"));
        }
    }

    async fn a_message_keeps_the_id_that_its_writer_gave_it(subject) {
        let written = message("A");
        let id = written.id;
        assert_eq!(written_and_read(&*subject.store(), "account-1", written).await.id, id);
    }

    /// The time is that of the store's clock.
    async fn the_time_of_a_message_is_the_time_of_its_write(subject) {
        let store = subject.store();
        let before = store.now().await.unwrap();
        let read = written_and_read(&*store, "account-1", message("A")).await;
        let after = store.now().await.unwrap();
        assert!(before <= read.time && read.time <= after, "{} is not between {before} and {after}", read.time);
    }

    /// The ways are reads of the stream, of the category and of all messages, and the look-ups.
    async fn every_way_of_reading_finds_the_same_message(subject) {
        let store = subject.store();
        let mut metadata = Metadata::default();
        metadata.reply_stream_name = Some("reply-1".to_owned());
        let written = NewMessage::new("A", Json::parse("[1]").unwrap()).with_metadata(&metadata).unwrap();
        let id = written.id;
        let of_stream = written_and_read(&*store, "account-1", written).await;
        for other in [
            store.read_stream(&stream("account-1"), StreamRead::backwards()).await.unwrap().remove(0),
            store.read_category(&category("account"), Read::default()).await.unwrap().messages.remove(0),
            store.read_all(Read::default()).await.unwrap().messages.remove(0),
            store.last_message(&stream("account-1"), None).await.unwrap().unwrap(),
            store.message(id).await.unwrap().unwrap(),
        ] {
            assert_eq!(format!("{other:?}"), format!("{of_stream:?}"));
        }
    }
}}
