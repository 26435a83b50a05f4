//! A log whose size an operator has limited: an append that does not fit is refused whole, and passes when the limit is raised.

use message_store::{Append, Error, Json, MessageStore, MessageStoreExt as _, NewMessage, Read, StreamName};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Cluster, Server};
use serde_json::{Value, json};

/// Limits the bytes of a log.
async fn limit(server: &str, url: &str, bytes: u64) {
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let client = async_nats::connect(server).await.unwrap();
    let info = client.request(format!("$JS.API.STREAM.INFO.MS_{name}"), "".into()).await.unwrap();
    let mut info: Value = serde_json::from_slice(&info.payload).unwrap();
    info["config"]["max_bytes"] = json!(bytes);
    let update = info["config"].to_string();
    let updated = client.request(format!("$JS.API.STREAM.UPDATE.MS_{name}"), update.into()).await.unwrap();
    assert!(!String::from_utf8_lossy(&updated.payload).contains("\"error\""), "{updated:?}");
}

async fn fill(server: &str, url: &str) {
    const EACH: usize = 20;
    let store = JetstreamStore::open(url).await.unwrap();
    limit(server, url, 100_000).await;
    let mut written = 0;
    let refused = loop {
        let stream = StreamName::new(format!("account-{written}")).unwrap();
        let text = Json::encode(&"x".repeat(700)).unwrap();
        let append = Append::to(stream).messages((0..EACH).map(|_| NewMessage::new("Filled", text.clone())));
        match store.append(append.clone().into()).await {
            Ok(_) => written += 1,
            Err(error) => {
                assert!(matches!(error, Error::Backend { transient: true, .. }), "{error}");
                assert!(error.to_string().contains("maximum bytes"), "{error}");
                break append;
            }
        }
        assert!(written < 100, "the log is never full");
    };
    let count = async || store.read_all(Read::default().limit(1_000)).await.unwrap().messages.len();
    assert!(written > 0);
    assert_eq!(count().await, written * EACH, "the refused append was written in part");
    limit(server, url, 10_000_000).await;
    assert!(!store.append_settled(refused).await.unwrap().already_written);
    assert_eq!(count().await, (written + 1) * EACH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_of_one_server_or_three_refuses_an_append_whole() {
    let (server, cluster) = (Server::shared(), Cluster::shared());
    let (of_one, of_three) = ((server.address(), server.store()), (cluster.addresses().remove(0), cluster.store()));
    tokio::join!(fill(&of_one.0, &of_one.1), fill(&of_three.0, &of_three.1));
}
