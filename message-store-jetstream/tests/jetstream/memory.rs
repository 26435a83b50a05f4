//! The memory of a server for each message. A measurement:
//!
//! ```sh
//! cargo test --release -p message-store-jetstream --test jetstream -- --ignored --nocapture memory
//! ```
//!
//! `MESSAGE_STORE_NATS_MESSAGES` sets the number of messages (default 1,000,000).

use message_store::{Append, Json, MessageStore as _, NewMessage, StreamName};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Flush, Server};
use message_store_tests::random::setting;

const APPEND: u64 = 400;

/// The resident memory of a process, in bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn the_memory_of_a_server_for_each_message() {
    let messages = setting("MESSAGE_STORE_NATS_MESSAGES").unwrap_or(1_000_000);
    let server = Server::start(Flush::Later, "");
    let store = JetstreamStore::open(&server.store()).await.unwrap();
    let before = resident(server.process());
    let data = Json::parse(r#"{"depositId":"0","accountId":"7","amount":7.50}"#).unwrap();
    for number in 0..messages / APPEND {
        let stream = StreamName::new(format!("account-{number}")).unwrap();
        let messages = (0..APPEND).map(|_| NewMessage::new("Deposited", data.clone()));
        store.append(messages.fold(Append::to(stream), Append::message).into()).await.unwrap();
    }
    let after = resident(server.process());
    println!("{messages} messages: {} bytes of the server's memory for each", after.saturating_sub(before) / messages);
}
