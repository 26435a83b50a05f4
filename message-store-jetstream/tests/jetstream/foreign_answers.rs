//! Another program that listens to the subjects of the store may answer an append before the server does.

use futures_util::StreamExt as _;
use message_store::{Append, Json, MessageStore, NewMessage, Read, StreamName};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_another_program_is_not_taken_for_the_result_of_an_append() {
    for answer in
        ["hello", r#"{"stream":"OTHER","seq":3}"#, r#"{"stream":"OTHER","seq":3,"batch":"other","count":800}"#]
    {
        let url = Server::shared().store();
        let store = JetstreamStore::open(&url).await.unwrap();
        let client = async_nats::connect(Server::shared().address()).await.unwrap();
        // The mark of a new category is the last record of a batch.
        let subject = format!("ms.{}.c.>", url.rsplit('/').next().unwrap());
        let mut requests = client.subscribe(subject).await.unwrap();
        client.flush().await.unwrap();
        let other = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                if let Some(reply) = request.reply {
                    client.publish(reply, answer.into()).await.unwrap();
                    client.flush().await.unwrap();
                    return;
                }
            }
        });
        // The server needs longer for them than the other program for its answer.
        let messages = (0..400).map(|_| NewMessage::new("Noted", Json::NULL));
        let append = Append::to(StreamName::new("account-1").unwrap()).messages(messages);
        let appended = store.append(append.into()).await.unwrap();
        other.await.unwrap();
        let read = store.read_all(Read::default().limit(1_000)).await.unwrap().messages;
        let places: Vec<_> = read.iter().map(|message| (message.position, message.global_position)).collect();
        let told: Vec<_> = appended.written.iter().map(|place| (place.position, place.global_position)).collect();
        assert_eq!(places, told, "after the answer {answer}");
    }
}
