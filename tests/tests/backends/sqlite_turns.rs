//! The connections that write to one SQLite file take turns, in the order in which they began to wait.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use message_store::sqlite::SqliteStore;
use message_store::{Append, Json, MessageStore as _, NewMessage, StreamName};
use tokio::sync::Notify;
use tokio::time::sleep;

async fn append(store: &SqliteStore, stream: &str) -> i64 {
    let append = Append::to(StreamName::new(stream).unwrap()).message(NewMessage::new("T", Json::NULL));
    store.append(append.into()).await.unwrap().written[0].global_position.get()
}

fn turn_file(path: &Path) -> PathBuf {
    path.with_extension("db-turn")
}

/// Waits until a connection has the turn.
async fn until_taken(path: &Path) {
    let file = File::options().write(true).open(turn_file(path)).unwrap();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return,
            result => result.unwrap(),
        }
        file.unlock().unwrap();
        sleep(Duration::from_millis(1)).await;
    }
}

/// Two stores append while a third connection writes to the file, the first one earlier. Returns in how many of 30
/// rounds the first one wrote first.
async fn first_come_first_written(has_turns: bool) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    if !has_turns {
        std::os::unix::fs::symlink("no/such/folder/turn", turn_file(&path)).unwrap();
    }
    let (first, second) = (SqliteStore::open(&path).await.unwrap(), SqliteStore::open(&path).await.unwrap());
    let third = rusqlite::Connection::open(&path).unwrap();
    let mut in_order = 0;
    for _ in 0..30 {
        third.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (first, is_waiting) = (append(&first, "first-1"), Notify::new());
        let second = async {
            // The third connection writes until then, so the first store keeps the turn.
            if has_turns {
                until_taken(&path).await;
            }
            is_waiting.notify_one();
            sleep(Duration::from_millis(5)).await;
            append(&second, "second-1").await
        };
        let end = async {
            is_waiting.notified().await;
            sleep(Duration::from_millis(15)).await;
            third.execute_batch("COMMIT").unwrap();
        };
        let (first, second, ()) = tokio::join!(first, second, end);
        in_order += usize::from(first < second);
    }
    in_order
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_that_waits_first_writes_first() {
    assert_eq!(first_come_first_written(true).await, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_without_turns_any_of_them_writes_first() {
    assert!(first_come_first_written(false).await < 30);
}

#[tokio::test]
async fn a_process_that_keeps_the_turn_delays_the_others_and_stops_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let stopped = File::options().write(true).open(turn_file(&path)).unwrap();
    stopped.lock().unwrap();
    for written in 1..=20 {
        assert_eq!(append(&store, "account-1").await, written);
    }
}

#[tokio::test]
async fn a_store_in_memory_and_a_refused_file_have_no_turn_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    std::fs::write(&path, "no database ".repeat(100)).unwrap();
    SqliteStore::open(&path).await.unwrap_err();
    assert!(!turn_file(&path).exists());
    append(&SqliteStore::open(":memory:").await.unwrap(), "account-1").await;
    assert!(!Path::new(":memory:-turn").exists());
}
