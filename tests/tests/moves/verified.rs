//! A verification names each kind of defect, and finds none in a sound store.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::operations::{Defect, Transfer, Verified, Verifying};
use message_store::store::{Due, TimerChange, TimerKey};
use message_store::{
    Append, Category, Json, Message, MessageStore, NewMessage, Position, StreamName, StreamRead, connect,
};
use message_store_tests::accounts::{Command, member, messages_of, send, send_deposits};
use message_store_tests::expire::AgeingStore;

type Store = Arc<dyn MessageStore>;

async fn verify(store: &Store) -> (Verified, Vec<Defect>) {
    let mut defects = Vec::new();
    let verified = Verifying::of(store).run(|defect| defects.push(defect), |_| {}).await.unwrap();
    assert_eq!(verified.defects, defects.len() as u64);
    (verified, defects)
}

async fn kinds(store: &Store) -> Vec<&'static str> {
    verify(store).await.1.iter().map(Defect::kind).collect()
}

/// Deposits to two accounts, with and without an intent, all carried out.
async fn fill(store: &Store) {
    send_deposits(store, "account:command", "1", 4).await;
    for id in ["d1", "d2", "d1"] {
        let once = Command::DepositOnce { amount: 1, deposit_id: id.to_owned(), time: String::new() };
        let _ = send(store, "account:command", "2", &once).await;
    }
    for command in messages_of(store, "account:command").await {
        let _ = member(store, None).carry_out(&command).await.unwrap();
    }
}

async fn append(store: &Store, stream: &str, message: NewMessage) {
    let stream = StreamName::new(stream).unwrap();
    store.append(Append::to(stream).message(message).into()).await.unwrap();
}

async fn message(store: &Store, stream: &str, position: i64) -> Message {
    let read = StreamRead::forwards_from(Position::new(position)).limit(1);
    store.read_stream(&StreamName::new(stream).unwrap(), read).await.unwrap().remove(0)
}

async fn a_sound_store(ageing: AgeingStore) {
    let store = connect(&ageing.url()).await.unwrap();
    assert_eq!(verify(&store).await.0, Verified::default());
    fill(&store).await;
    // A copy of another store's, and what the component does with it.
    let other = connect("sqlite::memory:").await.unwrap();
    send_deposits(&other, "padding", "1", 50).await;
    let _ = send_deposits(&other, "account:command", "3", 3).await;
    let first = messages_of(&other, "account:command").await.remove(0);
    let _ = member(&other, None).carry_out(&first).await.unwrap();
    for category in ["account", "account:command"] {
        Transfer::new(&other, &store).copy(&Category::new(category).unwrap(), |_| ()).await.unwrap();
    }
    for command in messages_of(&store, "account:command").await {
        let _ = member(&store, None).carry_out(&command).await.unwrap();
    }
    let (verified, defects) = verify(&store).await;
    assert_eq!(defects, []);
    assert_eq!((verified.categories, verified.streams), (3, 8), "{verified:?}");
}

async fn each_kind_of_defect(make: impl AsyncFn() -> AgeingStore) {
    let lost = [
        ("stream_name = 'account-1' AND position = 1", &["wrong-position"][..]),
        ("stream_name = 'account:command-1' AND position = 3", &["no-such-cause"]),
        ("stream_name = 'account:command-1' AND position = 0", &["wrong-position", "no-such-cause"]),
    ];
    for (condition, expected) in lost {
        let ageing = make().await;
        let store = connect(&ageing.url()).await.unwrap();
        fill(&store).await;
        ageing.delete_messages(condition).await;
        assert_eq!(kinds(&store).await, expected, "{condition}");
    }
    let ageing = make().await;
    let store = connect(&ageing.url()).await.unwrap();
    fill(&store).await;
    let of = "WHERE stream_name = 'account-1' AND position = 1";
    let postgres = format!(
        "DROP INDEX message_store.messages_id;
         UPDATE message_store.messages SET id = (SELECT min(id::text)::uuid FROM message_store.messages) {of}"
    );
    let sqlite = format!("DROP INDEX messages_id; UPDATE messages SET id = (SELECT min(id) FROM messages) {of}");
    ageing.execute(&postgres, &sqlite).await;
    assert_eq!(kinds(&store).await, ["repeated-id"]);
}

/// A column of PostgreSQL takes nothing but JSON.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_is_no_json_is_a_defect() {
    let ageing = AgeingStore::sqlite();
    let store = connect(&ageing.url()).await.unwrap();
    fill(&store).await;
    ageing.execute("", "UPDATE messages SET data = '{' WHERE stream_name = 'account-1' AND position = 0").await;
    assert_eq!(kinds(&store).await, ["unreadable"]);
}

async fn what_nobody_else_writes(ageing: AgeingStore) {
    let store = connect(&ageing.url()).await.unwrap();
    fill(&store).await;
    let position = r#"{"position":999999999}"#;
    append(&store, "account:command+position", NewMessage::new("Recorded", Json::parse(position).unwrap())).await;
    assert_eq!(kinds(&store).await, ["position-beyond-end"]);
    // An event of the toolkit's, which another program writes again.
    let event = message(&store, "account-1", 0).await;
    append(&store, "account-1", NewMessage::new("Deposited", Json::NULL).with_metadata_json(event.metadata.clone()))
        .await;
    assert_eq!(kinds(&store).await, ["done-twice", "position-beyond-end"]);
    let reserved = message(&store, "accountTransaction-2+deposit+d1", 0).await;
    let again = NewMessage::new("Reserved", Json::NULL).with_metadata_json(reserved.metadata);
    append(&store, "accountTransaction-2+deposit+d1", again).await;
    let found = kinds(&store).await;
    assert_eq!(found, ["done-twice", "position-beyond-end", "second-reservation"]);
    let key = TimerKey::new(StreamName::new("account-1").unwrap(), "again");
    let message = NewMessage::new("Again", Json::NULL).with_id(event.id);
    let set = TimerChange::set(key, Due::After(Duration::from_hours(1)), event.stream.clone(), message);
    store.timers().unwrap().change(vec![set]).await.unwrap();
    assert!(kinds(&store).await.contains(&"fired-timer-waits"));
    for defect in verify(&store).await.1 {
        assert!(defect.to_string().len() > 30, "{defect}");
    }
}

macro_rules! on_both {
    ($($test:ident),*) => {$(
        mod $test {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                super::$test(AgeingStore::postgres().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$test(AgeingStore::sqlite()).await;
            }
        }
    )*};
}

on_both!(a_sound_store, what_nobody_else_writes);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_defect_on_postgres() {
    each_kind_of_defect(AgeingStore::postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_defect_on_sqlite() {
    each_kind_of_defect(async || AgeingStore::sqlite()).await;
}

/// As after an upgrade of the operating system that changes the order of characters, the index no longer finds a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_lacks_a_message_is_a_defect() {
    let ageing = AgeingStore::sqlite();
    let store = connect(&ageing.url()).await.unwrap();
    fill(&store).await;
    drop(store);
    let change = |change: &str| format!("PRAGMA writable_schema = ON; {change}; PRAGMA writable_schema = RESET;");
    let hide = "CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'messages_stream';
                DELETE FROM sqlite_schema WHERE name = 'messages_stream'";
    ageing.execute("", &change(hide)).await;
    let insert = "INSERT INTO messages (position, time, stream_name, category, type, data, metadata, id)
                  SELECT 4, time, stream_name, category, type, data, metadata, randomblob(16)
                  FROM messages WHERE stream_name = 'account:command-1' AND position = 3";
    ageing.execute("", insert).await;
    ageing.execute("", &change("INSERT INTO sqlite_schema SELECT * FROM kept; DROP TABLE kept")).await;
    let store = connect(&ageing.url()).await.unwrap();
    assert_eq!(kinds(&store).await, ["stream-ends-before"]);
}
