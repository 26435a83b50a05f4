//! A process whose memory of the store is behind: another one has written since.

use message_store::{
    Append, Appended, Category, Error, ExpectedVersion, Json, MessageStore, NewMessage, Position, Read, StreamName,
    StreamRead, Version,
};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Cluster, Server};

async fn append(store: &JetstreamStore, name: &str, expected: ExpectedVersion) -> Result<Appended, Error> {
    let append = Append::to(StreamName::new(name).unwrap()).expecting(expected);
    store.append(append.message(NewMessage::new("Noted", Json::NULL)).into()).await
}

async fn goes_on_from_what_another_has_written(url: String) {
    let (behind, other) = (JetstreamStore::open(&url).await.unwrap(), JetstreamStore::open(&url).await.unwrap());
    let (stream, exact) = (StreamName::new("account-1").unwrap(), |at| ExpectedVersion::Exact(Position::new(at)));
    let (any, none) = (ExpectedVersion::Any, ExpectedVersion::NoStream);
    append(&behind, "account-1", none).await.unwrap();
    for at in 0..3 {
        append(&other, "account-1", exact(at)).await.unwrap();
    }
    // What it remembers is refused, also where the caller expects it.
    for expected in [none, exact(0), exact(7)] {
        let error = append(&behind, "account-1", expected).await.unwrap_err();
        let Error::WrongExpectedVersion { actual, .. } = error else { panic!("{error}") };
        assert_eq!(actual, Version::at(Position::new(3)));
        append(&other, "account-2", any).await.unwrap();
    }
    append(&other, "account-1", exact(3)).await.unwrap();
    assert_eq!(append(&behind, "account-1", any).await.unwrap().written[0].position, Position::new(5));
    append(&other, "account-1", exact(5)).await.unwrap();
    // A read behind what it remembers finds what the other has written.
    let from = StreamRead::forwards_from(Position::new(6));
    assert_eq!(behind.read_stream(&stream, from).await.unwrap().len(), 1);
    assert_eq!(behind.version(&stream).await.unwrap(), Version::at(Position::new(6)));
    let account = Category::new("account").unwrap();
    assert_eq!(behind.read_category(&account, Read::default()).await.unwrap().messages.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server_it_goes_on_from_what_the_other_has_written() {
    goes_on_from_what_another_has_written(Server::shared().store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_three_servers_it_goes_on_from_what_the_other_has_written() {
    goes_on_from_what_another_has_written(Cluster::shared().store()).await;
}
