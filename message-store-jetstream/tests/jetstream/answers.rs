//! Answers that are lost, and servers that are silent or cannot be reached.

use std::sync::Arc;
use std::time::{Duration, Instant};

use message_store::{Append, Error, Json, MessageStore, MessageStoreExt as _, NewMessage, Read, StreamName};
use message_store_jetstream::{JetstreamOptions, JetstreamStore, PlantedBug};
use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::nats::Server;

/// A store through a proxy, and the same store without it.
struct Cut {
    proxy: CuttingProxy,
    store: Arc<dyn MessageStore>,
    direct: Arc<dyn MessageStore>,
}

impl Cut {
    async fn new(mark: &'static str) -> Self {
        Self::with(mark, None).await
    }

    async fn with(mark: &'static str, bug: Option<PlantedBug>) -> Self {
        let (server, direct) = (Server::shared(), Server::shared().store());
        let proxy = CuttingProxy::start(server.address(), mark).await;
        let url = direct.replace(&server.address(), &proxy.address().to_string());
        let options = JetstreamOptions::from_url(&url).unwrap();
        let options = bug.into_iter().fold(options, JetstreamOptions::plant);
        let store = Arc::new(JetstreamStore::open_with(options).await.unwrap());
        Self { proxy, store, direct: Arc::new(JetstreamStore::open(&direct).await.unwrap()) }
    }
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn message(text: &str) -> NewMessage {
    NewMessage::new("Deposited", Json::encode(&[text]).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_answer_is_lost_is_written_once_by_the_call() {
    let Cut { proxy, store, direct } = Cut::new("lost-answer").await;
    let append = Append::to(stream("account-1")).message(message("lost-answer"));
    let appended = store.append(append.into()).await.unwrap();
    assert_eq!(proxy.cuts(), 1);
    assert!(!appended.already_written, "the call wrote it");
    let found = direct.read_all(Read::default()).await.unwrap().messages;
    assert_eq!(found.iter().map(|message| message.position.get()).collect::<Vec<_>>(), [0]);
    assert_eq!(found[0].global_position, appended.written[0].global_position);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_without_a_check_of_ids_it_is_written_twice() {
    let Cut { proxy, store, direct } = Cut::with("lost-answer", Some(PlantedBug::IdsAreNotChecked)).await;
    store.append(Append::to(stream("account-1")).message(message("lost-answer")).into()).await.unwrap();
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(direct.read_all(Read::default()).await.unwrap().messages.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_made_again() {
    let Cut { proxy, store, direct } = Cut::new("(no request has this)").await;
    for number in 0..20 {
        if number % 4 == 0 {
            proxy.cut();
        }
        let append = Append::to(stream("account-1")).message(message(&number.to_string()));
        store.append(append.into()).await.unwrap();
        let found = store.read_stream(&stream("account-1"), message_store::StreamRead::default()).await.unwrap();
        assert_eq!(found.len(), number + 1);
    }
    assert_eq!(direct.read_all(Read::default()).await.unwrap().messages.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_is_given_up_and_nothing_is_written_twice() {
    let Cut { proxy, store, direct } = Cut::new("(no request has this)").await;
    proxy.silence();
    let append = Append::to(stream("account-1")).message(message("silent"));
    let begun = Instant::now();
    // The connection is silent. The client notices, and connects again.
    let appended = store.append(append.into()).await.unwrap();
    assert!(!appended.already_written);
    println!("written after {:?}", begun.elapsed());
    assert_eq!(direct.read_all(Read::default()).await.unwrap().messages.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_reached_is_an_error_that_passes_and_nothing_is_written() {
    let Cut { proxy, store, direct } = Cut::new("(no request has this)").await;
    proxy.refuse();
    proxy.cut();
    let append = || Append::to(stream("account-1")).message(message("away"));
    let error = store.append(append().into()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let read = store.read_all(Read::default()).await.unwrap_err();
    assert!(matches!(read, Error::Backend { transient: true, .. }), "{read}");
    assert!(direct.read_all(Read::default()).await.unwrap().messages.is_empty());
    proxy.accept();
    // It is written when the server is back.
    let deadline = Instant::now() + Duration::from_mins(1);
    while store.append_settled(append()).await.is_err() {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(direct.read_all(Read::default()).await.unwrap().messages.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_do_not_hold_others_up() {
    let url = Server::shared().store();
    let store: Arc<dyn MessageStore> = Arc::new(JetstreamStore::open(&url).await.unwrap());
    for number in 0..200_u32 {
        let append = Append::to(stream("account-1")).message(message(&number.to_string()));
        let left =
            tokio::time::timeout(Duration::from_micros(u64::from(number) * 10), store.append(append.into())).await;
        drop(left);
    }
    let last = Append::to(stream("account-1")).message(message("last"));
    let appended = tokio::time::timeout(Duration::from_secs(30), store.append(last.into())).await.unwrap().unwrap();
    let found = store.read_stream(&stream("account-1"), message_store::StreamRead::default()).await.unwrap();
    let positions: Vec<_> = found.iter().map(|message| message.position.get()).collect();
    let end = i64::try_from(found.len()).unwrap();
    assert_eq!(positions, (0..end).collect::<Vec<_>>());
    assert_eq!(appended.written[0].position.get(), end - 1);
}
