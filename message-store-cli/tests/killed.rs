//! `archive` and `erase` are killed again and again, and then end.
#![allow(clippy::unwrap_used)]

mod shell;

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use message_store::{
    Append, Category, Json, Message, MessageId, MessageStore, MessageStoreExt as _, NewMessage, Read, StreamName,
    connect,
};
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::Random;
use shell::program;

const STREAMS: usize = 10;
const MESSAGES: usize = 60;

fn start(arguments: &[&str]) -> Child {
    program().args(arguments).stdout(Stdio::null()).spawn().unwrap()
}

/// Kills the program at random moments until it ends before it is killed. Returns the number of kills.
async fn kill_until_it_ends(arguments: &[&str]) -> u32 {
    let (mut random, mut kills) = (Random(1993), 0);
    loop {
        let mut child = start(arguments);
        // Longer and longer, so that it ends at last.
        let wait = Duration::from_millis(u64::from(kills) * 3 + random.below(40) as u64);
        tokio::time::sleep(wait).await;
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{arguments:?}: {status}");
            return kills;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
}

async fn all(store: &Arc<dyn MessageStore>) -> Vec<Message> {
    let category = Category::new("account").unwrap();
    store.category_messages(&category, Read::default()).try_collect().await.unwrap()
}

async fn killed_again_and_again(url: &str) {
    let store = connect(url).await.unwrap();
    for number in 0..MESSAGES {
        for account in 0..STREAMS {
            let message = NewMessage::new("T", Json::encode(&number).unwrap());
            let stream = StreamName::new(format!("account-{account}")).unwrap();
            store.append(Append::to(stream).message(message).into()).await.unwrap();
        }
    }
    let places = |messages: &[Message]| -> Vec<(MessageId, i64, i64)> {
        let places = messages.iter().map(|it| (it.id, it.position.get(), it.global_position.get()));
        places.collect()
    };
    let before = all(&store).await;
    let now = store.now().await.unwrap().to_string();
    let archive = ["archive", "account", "--store", url, "--before", &now, "--part", "2", "--yes"];
    let kills = kill_until_it_ends(&archive).await;
    assert_eq!(places(&all(&store).await), places(&before), "after {kills} kills");
    let moved: u64 = store.archive().unwrap().runs().await.unwrap().iter().map(|run| run.moved).sum();
    assert_eq!(moved, (STREAMS * (MESSAGES - 1)) as u64, "after {kills} kills");

    for account in 0..STREAMS {
        let name = format!("account-{account}");
        kill_until_it_ends(&["erase", &name, "--entity", "--store", url, "--yes"]).await;
    }
    let after = all(&store).await;
    assert_eq!(places(&after), places(&before));
    assert!(after.iter().all(Message::is_erased));
    let runs = store.erasure().unwrap().runs().await.unwrap();
    assert!(runs.iter().all(|run| run.ended_at.is_some()), "{runs:?}");
    assert_eq!(runs.iter().map(|run| run.erased).sum::<u64>(), (STREAMS * MESSAGES) as u64);
    println!("{kills} kills of the archive");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_killed_archive_or_erasure_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    killed_again_and_again(&format!("sqlite:{}", folder.path().join("store.db").display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_a_killed_archive_or_erasure_goes_on() {
    let database = TestDatabase::create().await;
    killed_again_and_again(database.url()).await;
}
