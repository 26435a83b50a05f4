//! What another program writes to the subjects of the store, by the NATS API: it is refused when it is read, and changes nothing
//! else.

use std::time::Duration;

use async_nats::HeaderMap;
use message_store::{Append, Category, Error, Json, MessageId, MessageStore, NewMessage, Read, StreamName, StreamRead};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::Server;

/// A store, and another program that writes to its log.
struct Shared {
    store: JetstreamStore,
    client: async_nats::Client,
    /// What the store's subjects begin with.
    root: String,
}

impl Shared {
    async fn new() -> Self {
        let url = Server::shared().store();
        let store = JetstreamStore::open(&url).await.unwrap();
        let client = async_nats::connect(Server::shared().address()).await.unwrap();
        Self { store, client, root: format!("ms.{}", url.rsplit('/').next().unwrap()) }
    }

    async fn put(&self, subject: &str, headers: HeaderMap, payload: String) {
        let subject = format!("{}.{subject}", self.root);
        let answer = self.client.request_with_headers(subject, headers, payload.into()).await.unwrap();
        assert!(!String::from_utf8_lossy(&answer.payload).contains("error"), "{answer:?}");
    }

    async fn append(&self, name: &str, id: MessageId) -> Result<message_store::Appended, Error> {
        let message = NewMessage::new("Opened", Json::NULL).with_id(id);
        let append = self.store.append(Append::to(stream(name)).message(message).into());
        tokio::time::timeout(Duration::from_mins(2), append).await.unwrap()
    }
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn payload(id: MessageId, position: i64) -> String {
    format!(r#"{{"id":"{id}","type":"Opened","position":{position}}}"#)
}

/// Whether an error says what to do, and that it does not pass by itself.
fn is_told(error: &Error) -> bool {
    !error.is_transient() && error.to_string().to_lowercase().contains("another program")
}

#[tokio::test]
async fn a_record_of_an_id_behind_another_message_is_refused() {
    let shared = Shared::new().await;
    shared.append("account-1", MessageId::new()).await.unwrap();
    let taken = MessageId::new();
    shared.put("m.account.2.==", HeaderMap::new(), payload(MessageId::new(), 0)).await;
    shared.put(&format!("i.{taken}"), HeaderMap::new(), String::new()).await;
    let error = shared.store.message(taken).await.unwrap_err();
    assert!(is_told(&error), "{error}");
    let error = shared.append("account-1", taken).await.unwrap_err();
    assert!(is_told(&error), "{error}");
    shared.append("account-1", MessageId::new()).await.unwrap();
}

#[tokio::test]
async fn a_message_that_cannot_be_is_refused_and_other_streams_go_on() {
    let largest = i64::MAX;
    for broken in ["not JSON".to_owned(), payload(MessageId::new(), largest), payload(MessageId::new(), -3)] {
        let shared = Shared::new().await;
        shared.append("account-1", MessageId::new()).await.unwrap();
        shared.put("m.account.2.==", HeaderMap::new(), broken.clone()).await;
        let category = Category::new("account").unwrap();
        for error in [
            shared.store.read_category(&category, Read::default()).await.unwrap_err(),
            shared.store.read_stream(&stream("account-2"), StreamRead::default()).await.unwrap_err(),
            shared.store.read_stream(&stream("account-2"), StreamRead::backwards()).await.unwrap_err(),
            shared.store.version(&stream("account-2")).await.unwrap_err(),
            shared.append("account-2", MessageId::new()).await.unwrap_err(),
        ] {
            assert!(is_told(&error), "{broken}: {error}");
        }
        shared.append("account-1", MessageId::new()).await.unwrap();
        let read = shared.store.read_stream(&stream("account-1"), StreamRead::default()).await.unwrap();
        assert_eq!(read.len(), 2);
    }
}

#[tokio::test]
async fn a_message_that_stands_twice_or_out_of_order_is_refused_by_a_reader_of_its_stream() {
    for position in [0, 5] {
        let shared = Shared::new().await;
        for name in ["account-1", "account-2", "account-1", "account-2"] {
            shared.append(name, MessageId::new()).await.unwrap();
        }
        shared.put("m.account.1.==", HeaderMap::new(), payload(MessageId::new(), position)).await;
        let error = shared.store.read_stream(&stream("account-1"), StreamRead::default()).await.unwrap_err();
        assert!(is_told(&error), "{error}");
        assert_eq!(shared.store.read_stream(&stream("account-2"), StreamRead::default()).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_subject_that_no_stream_has_is_no_other_stream() {
    // More parts; a part that is written otherwise; a category that no stream has.
    for subject in ["m.account.1.==.more", "m.account.=31.==", "m.a-b.1.==", "m.account.1"] {
        let shared = Shared::new().await;
        shared.put(subject, HeaderMap::new(), payload(MessageId::new(), 0)).await;
        let error = shared.store.read_all(Read::default()).await.unwrap_err();
        assert!(is_told(&error), "{subject}: {error}");
        assert!(shared.store.read_stream(&stream("account-1"), StreamRead::default()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn headers_of_a_record_do_not_change_its_place() {
    let shared = Shared::new().await;
    shared.append("account-2", MessageId::new()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Sequence", "77");
    headers.insert("Nats-Last-Sequence", "76");
    headers.insert("Nats-Time-Stamp", "1999-01-01T00:00:00Z");
    headers.insert("Nats-Subject", format!("{}.m.account.9.==", shared.root));
    shared.put("m.account.1.==", headers, payload(MessageId::new(), 0)).await;
    let read = shared.store.read_all(Read::default()).await.unwrap().messages;
    let [first, second] = &read[..] else { panic!("{read:?}") };
    assert_eq!(second.stream, stream("account-1"));
    // Behind the first message stand the record of its id and the mark of its category.
    assert_eq!(second.global_position.get(), first.global_position.get() + 3);
    assert!(second.time >= first.time);
    let last = shared.store.last_message(&stream("account-1"), None).await.unwrap().unwrap();
    assert_eq!((last.stream, last.global_position), (second.stream.clone(), second.global_position));
}
