//! Sends deposits to one account. With `handled`, a consumer also handles them. `tests/count-entries` uses this
//! program.
#![allow(clippy::unwrap_used)]

use std::env;

use message_store::connect;
use message_store::consumer::{Consumer, OnFailure};
use message_store_tests::accounts::{Command, member, send};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = env::args().skip(1);
    let count: usize = arguments.next().unwrap().parse().unwrap();
    let store = connect("sqlite::memory:").await.unwrap();
    let mut last = None;
    for number in 0..count {
        let (deposit_id, time) = (number.to_string(), "noon".to_owned());
        last = Some(send(&store, "account:command", "1", &Command::DepositOnce { deposit_id, amount: 1, time }).await);
    }
    if arguments.next().as_deref() == Some("handled") {
        let consumer = Consumer::new("account:command", member(&store, None)).on_failure(OnFailure::Park);
        let mut running = consumer.start(&store).await.unwrap();
        running.wait_for(last.unwrap().global_position).await.unwrap();
        let _ = running.stop().await.unwrap();
    }
}
