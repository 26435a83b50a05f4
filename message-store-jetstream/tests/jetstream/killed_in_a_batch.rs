//! A server that is killed while it writes the records of appends: after it has started again, each append is there whole, or not
//! at all, and what was acknowledged is there.
//!
//! `MESSAGE_STORE_NATS_KILLS` sets the number of kills (default 3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use message_store::{Append, AppendRequest, Json, MessageStore, MessageStoreExt as _, NewMessage, Read, StreamName};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Flush, Server};
use message_store_tests::random::setting;
use tokio::sync::mpsc;

const WRITERS: usize = 4;
/// The messages of an append in each of its two streams.
const EACH: usize = 150;

/// An append to two streams that nobody else writes. The data name the append.
fn request(writer: usize, number: usize) -> AppendRequest {
    let append = |stream: &str| {
        let stream = StreamName::new(format!("{stream}-{writer}n{number}")).unwrap();
        let data = Json::encode(&[writer, number]).unwrap();
        Append::to(stream).messages((0..EACH).map(|_| NewMessage::new("Noted", data.clone())))
    };
    AppendRequest::from(vec![append("left"), append("right")])
}

/// The number of messages of each append that is there.
async fn found(store: &dyn MessageStore) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut read = Read::default();
    loop {
        let batch = store.read_all(read.clone()).await.unwrap();
        if batch.is_at_end(&read) {
            return found;
        }
        read = Read::from(batch.looked_through.next());
        for message in batch.messages {
            *found.entry(message.data.text().to_owned()).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_in_which_the_server_is_killed_is_there_whole_or_not_at_all() {
    let kills = setting("MESSAGE_STORE_NATS_KILLS").unwrap_or(3);
    let mut server = Server::start(Flush::Later, "");
    let url = server.store();
    let store: Arc<dyn MessageStore> = Arc::new(JetstreamStore::open(&url).await.unwrap());
    let mut acknowledged = Vec::new();
    for round in 0..kills {
        let is_over = Arc::new(AtomicBool::new(false));
        let (sent, mut told) = mpsc::unbounded_channel();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, is_over, sent) = (Arc::clone(&store), Arc::clone(&is_over), sent.clone());
                tokio::spawn(async move {
                    let mut number = usize::try_from(round).unwrap() * 1_000_000;
                    while !is_over.load(Ordering::SeqCst) {
                        let written = store.append(request(writer, number)).await;
                        // An append that is not settled is left as the kill left it.
                        if written.is_ok() && sent.send(format!("[{writer},{number}]")).is_err() {
                            return;
                        }
                        number += 1;
                    }
                })
            })
            .collect();
        // The others are somewhere in their batches when one is acknowledged.
        for _ in 0..=round * 3 {
            acknowledged.push(told.recv().await.unwrap());
        }
        is_over.store(true, Ordering::SeqCst);
        server.kill();
        server.start_again();
        for writer in writers {
            writer.await.unwrap();
        }
        drop(sent);
        while let Some(append) = told.recv().await {
            acknowledged.push(append);
        }
    }
    let found = found(&*store).await;
    println!("{} appends are there after {kills} kills, and {} were acknowledged", found.len(), acknowledged.len());
    for (append, count) in &found {
        assert_eq!(*count, EACH * 2, "the append {append} is there in part");
    }
    for append in acknowledged {
        assert!(found.contains_key(&append), "the acknowledged append {append} is lost");
    }
    // The store goes on.
    store
        .append_settled(Append::to(StreamName::new("left-0n0").unwrap()).message(NewMessage::new("Noted", Json::NULL)))
        .await
        .unwrap();
}
