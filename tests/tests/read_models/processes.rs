//! A process stands still in the middle of a batch, and goes on after another has taken over.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::Updater;
use message_store::store::{ReadModel, SqlTransaction};
use message_store::{Message, Source, connect};
use message_store_tests::other_process::OtherProcess;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::sums::{Sums, deposit, mails, read_models, seen};
use tokio::time::sleep;

const IT: &str = "processes::updater_in_another_process";
const URL: &str = "MESSAGE_STORE_UPDATER_OF";
const COMES: Duration = Duration::from_mins(2);

/// Says that it is within a transaction, and waits.
struct Waits(Sums);

#[async_trait]
impl ReadModel for Waits {
    fn name(&self) -> &'static str {
        "sums"
    }

    async fn create(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        self.0.create(transaction).await
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        self.0.apply(transaction, message).await?;
        println!("within");
        sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    async fn effects(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        self.0.effects(transaction, message).await
    }

    async fn switch(&self, transaction: &mut dyn SqlTransaction) -> Result<(), Source> {
        self.0.switch(transaction).await
    }
}

/// The other process. Without its settings, this test does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updater_in_another_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = connect(&url).await.unwrap();
    let running = Updater::new("account", Waits(Sums::version(1))).start(&store).await.unwrap();
    // It goes on until it is killed.
    sleep(Duration::from_hours(1)).await;
    drop(running);
}

/// The other process stands still within a transaction, which has locked the position. This one goes on when the server has
/// ended that transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_stands_still_within_a_batch_changes_nothing_when_it_goes_on() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    let last = deposit(&store, 1..=3).await;
    let mut other = OtherProcess::start(IT, &[(URL, database.url().as_ref())]);
    other.wait_for("within");
    other.signal("-STOP");
    let here = Updater::new("account", Sums::version(1)).start(&store).await.unwrap();
    read_models(&store).wait_for("sums", last, COMES).await.unwrap();
    other.signal("-CONT");
    let last = deposit(&store, [4]).await;
    read_models(&store).wait_for("sums", last, COMES).await.unwrap();
    assert_eq!((seen(&store).await, mails(&store).await), (vec![10, 1], vec![1, 2, 3, 4]));
    here.stop().await.unwrap();
}
