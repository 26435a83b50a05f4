//! A read of several records is answered by a message for each. Some of them may be lost, while a connection is made again: then
//! the reader must not pass over their records.

use message_store::{Append, Category, Json, MessageStore, NewMessage, Read, StreamName, StreamRead};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{DroppingProxy, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_does_not_pass_over_a_record_whose_answer_is_lost() {
    let (server, url) = (Server::shared(), Server::shared().store());
    let proxy = DroppingProxy::start(server.address()).await;
    let direct = JetstreamStore::open(&url).await.unwrap();
    let store = JetstreamStore::open(&url.replace(&server.address(), &proxy.address())).await.unwrap();
    let (stream, category) = (StreamName::new("account-1").unwrap(), Category::new("account").unwrap());
    let texts = ["first", "second", "third"];
    let messages = texts.map(|text| NewMessage::new("Noted", Json::encode(&text).unwrap()));
    direct.append(Append::to(stream.clone()).messages(messages).into()).await.unwrap();
    // The last answer says only that there are no more.
    for lost in [texts[0], texts[1], texts[2], "204 EOB"] {
        proxy.drop_next(lost);
        let read = store.read_category(&category, Read::default()).await.unwrap().messages;
        assert!(proxy.has_dropped());
        assert_eq!(read.len(), texts.len(), "the answer with {lost} was lost");
        proxy.drop_next(lost);
        let read = store.read_stream_batch(&stream, StreamRead::default()).await.unwrap();
        assert!(proxy.has_dropped() && read.is_end);
        assert_eq!(read.messages.len(), texts.len(), "the answer with {lost} was lost");
    }
}
