//! A server that hangs, and goes on: it may still write what it was sent before.

use std::process::Command;
use std::time::Duration;

use message_store::{
    Append, Error, ExpectedVersion, Json, MessageStore, MessageStoreExt as _, NewMessage, Read, StreamName,
};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Flush, Server};

fn signal(server: &Server, name: &str) {
    assert!(Command::new("kill").args([name, &server.process().to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_to_a_server_that_hung_is_written_once() {
    let server = Server::start(Flush::Later, "");
    let store = JetstreamStore::open(&server.store()).await.unwrap();
    let append = |number: i64| {
        let message = NewMessage::new("Noted", Json::encode(&number).unwrap());
        Append::to(StreamName::new(format!("account-{number}")).unwrap()).message(message)
    };
    // Its stream is known, so the first call of the next append is the append itself.
    let first = store.append(append(1).into()).await.unwrap().written[0].position;
    let next = append(1).expecting(ExpectedVersion::Exact(first));
    signal(&server, "-STOP");
    let hung = tokio::time::timeout(Duration::from_mins(2), store.append(next.clone().into())).await.unwrap();
    let error = hung.unwrap_err();
    assert!(matches!(error, Error::CommitUnknown { .. }), "{error}");
    signal(&server, "-CONT");
    let appended = store.append_settled(next).await.unwrap();
    let found = store.read_all(Read::default()).await.unwrap().messages;
    assert_eq!(found.iter().map(|message| message.position.get()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(found[1].global_position, appended.written[0].global_position);
}
