//! Callers that leave in the middle of an append: its batch is sent whole, because a server allows 50 batches without an end, and
//! refuses others for ten seconds.

use std::time::Duration;

use async_nats::HeaderMap;
use message_store::store::QueryItem;
use message_store::{Append, AppendRequest, Category, GlobalPosition, Json, MessageStore, NewMessage, StreamName};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::Server;

/// The batches that a process has under way at most.
const UNDER_WAY: usize = 32;
/// The batches of a log that a server allows.
const ALLOWED: usize = 50;

/// An append with a condition, which shares no batch with others.
fn request(number: u64, messages: usize) -> AppendRequest {
    let stream = StreamName::new(format!("place-{number}")).unwrap();
    let query = QueryItem::of(Category::new("other").unwrap());
    let append = Append::to(stream).messages((0..messages).map(|_| NewMessage::new("Noted", Json::NULL)));
    AppendRequest::from(append).unless(query.after(GlobalPosition::ZERO))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_in_the_middle_leave_no_batch_without_an_end() {
    let url = Server::shared().store();
    let store = JetstreamStore::open(&url).await.unwrap();
    for number in 0..200 {
        let append = store.append(request(number, 400));
        drop(tokio::time::timeout(Duration::from_micros(number * 100), append).await);
    }
    let client = async_nats::connect(Server::shared().address()).await.unwrap();
    let subject = format!("ms.{}.d.probe.other", url.rsplit('/').next().unwrap());
    for number in 0..ALLOWED - UNDER_WAY {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", format!("other-{number}"));
        headers.insert("Nats-Batch-Sequence", "1");
        let begun = client.request_with_headers(subject.clone(), headers, "".into()).await.unwrap();
        assert!(begun.payload.is_empty(), "the server allows no other batch: {begun:?}");
    }
    store.append(request(1_000, 1)).await.unwrap();
}
