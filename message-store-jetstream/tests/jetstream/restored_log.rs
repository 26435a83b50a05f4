//! A log that is restored to an earlier point while a process has it open: the process forgets what it remembered of the later
//! one.

use std::path::Path;
use std::time::Duration;

use message_store::store::{Due, TimerChange, TimerKey, TimerQuery};
use message_store::{Append, ExpectedVersion, Json, MessageStore, MessageStoreExt as _, NewMessage, StreamName};
use message_store_jetstream::JetstreamStore;
use message_store_tests::nats::{Flush, Server};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A server whose data are copied, and restored.
struct Restored {
    server: Server,
    copy: tempfile::TempDir,
}

impl Restored {
    fn save(&mut self) {
        self.server.kill();
        copy(&self.server.data(), self.copy.path());
        self.server.start_again();
    }

    fn restore(&mut self) {
        self.server.kill();
        std::fs::remove_dir_all(self.server.data()).unwrap();
        copy(self.copy.path(), &self.server.data());
        self.server.start_again();
    }
}

/// Appends a message, also while the connection is made again.
async fn append(store: &JetstreamStore, name: &str, expected: ExpectedVersion) {
    let append = Append::to(StreamName::new(name).unwrap()).expecting(expected);
    store.append_settled(append.message(NewMessage::new("Noted", Json::NULL))).await.unwrap();
}

async fn set_timer(store: &JetstreamStore, name: &str) {
    let stream = StreamName::new("transfer-1").unwrap();
    let key = TimerKey::new(stream.clone(), name);
    let change =
        TimerChange::set(key, Due::After(Duration::from_hours(1)), stream, NewMessage::new("TimeOut", Json::NULL));
    store.timers().unwrap().change(vec![change]).await.unwrap();
}

async fn timers(store: &JetstreamStore) -> Vec<String> {
    let listed = store.timers().unwrap().list(TimerQuery::new()).await.unwrap();
    let mut names: Vec<_> = listed.into_iter().map(|timer| timer.key.name).collect();
    names.sort_unstable();
    names
}

async fn categories(store: &JetstreamStore) -> Vec<String> {
    let categories = store.categories(None, 100).await.unwrap();
    categories.into_iter().map(|category| category.as_str().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_forgets_the_streams_categories_and_timers_that_a_restored_log_lacks() {
    let server = Server::start(Flush::Later, "");
    let store = JetstreamStore::open(&server.store()).await.unwrap();
    let mut restored = Restored { server, copy: tempfile::tempdir().unwrap() };
    append(&store, "early-1", ExpectedVersion::NoStream).await;
    set_timer(&store, "early").await;
    restored.save();
    append(&store, "late-1", ExpectedVersion::NoStream).await;
    for _ in 0..5 {
        append(&store, "early-1", ExpectedVersion::Any).await;
    }
    set_timer(&store, "late").await;
    assert_eq!(timers(&store).await, ["early", "late"]);
    let history = store.history();
    restored.restore();

    append(&store, "late-1", ExpectedVersion::NoStream).await;
    assert!(store.history() != history);
    assert_eq!(categories(&store).await, ["early", "late"]);
    assert_eq!(timers(&store).await, ["early"]);
    set_timer(&store, "again").await;
    assert_eq!(timers(&store).await, ["again", "early"]);
    append(&store, "early-1", ExpectedVersion::Exact(message_store::Position::FIRST)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_only_lists_timers_lists_those_of_a_restored_log() {
    let server = Server::start(Flush::Later, "");
    let url = server.store();
    let (store, lists) = (JetstreamStore::open(&url).await.unwrap(), JetstreamStore::open(&url).await.unwrap());
    let mut restored = Restored { server, copy: tempfile::tempdir().unwrap() };
    append(&store, "early-1", ExpectedVersion::NoStream).await;
    restored.save();
    for name in ["one", "two", "three"] {
        set_timer(&store, name).await;
    }
    assert_eq!(timers(&lists).await.len(), 3);
    restored.restore();
    set_timer(&store, "again").await;
    assert_eq!(timers(&lists).await, ["again"]);
}
