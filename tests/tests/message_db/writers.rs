//! Message DB's clients and this library write to the same categories and streams.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use message_store::{
    Append, Category, ExpectedVersion, Json, Message, MessageStore, MessageStoreExt as _, NewMessage, Position, Read,
    StreamName, connect,
};
use message_store_tests::message_db::{self, write_message};
use message_store_tests::postgres::TestDatabase;

const WRITERS: usize = 8;
const MESSAGES: usize = 30;

fn stream(number: usize) -> StreamName {
    StreamName::new(format!("category{}-{}", number % 2, number % 3)).unwrap()
}

async fn follow(store: Arc<dyn MessageStore>, category: Option<Category>, ended: Arc<AtomicBool>) -> BTreeSet<i64> {
    let (mut seen, mut read) = (BTreeSet::new(), Read::default().limit(20));
    loop {
        let last_round = ended.load(Ordering::SeqCst);
        let batch = match &category {
            Some(category) => store.read_category(category, read.clone()).await.unwrap(),
            None => store.read_all(read.clone()).await.unwrap(),
        };
        seen.extend(batch.messages.iter().map(|message| message.global_position.get()));
        if batch.is_at_end(&read) && last_round {
            return seen;
        }
        read.from = batch.looked_through.next();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn old_and_new_writers_leave_no_gap_and_readers_skip_nothing() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let scopes = [Some(Category::new("category0").unwrap()), Some(Category::new("category1").unwrap()), None];
    let readers: Vec<_> =
        scopes.iter().map(|scope| tokio::spawn(follow(store.clone(), scope.clone(), Arc::clone(&ended)))).collect();

    let old = (0..WRITERS).map(|writer| {
        let url = database.url().to_owned();
        tokio::spawn(async move {
            let mut client = message_db::connect(&url, Some("message_store")).await;
            for number in 0..MESSAGES {
                let transaction = client.transaction().await.unwrap();
                let sql = "SELECT write_message(gen_random_uuid()::varchar, $1, 'Old', '{}')";
                transaction.execute(sql, &[&stream(writer + number).as_str()]).await.unwrap();
                // Some transactions are slow, and some are rolled back.
                if number % 7 == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                if number % 5 == 0 { transaction.rollback().await } else { transaction.commit().await }.unwrap();
            }
        })
    });
    let new = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..MESSAGES {
                let message = NewMessage::new("New", Json::NULL);
                store.append_to(&stream(writer + number), ExpectedVersion::Any, vec![message]).await.unwrap();
            }
        })
    });
    for writer in join_all(old.chain(new)).await {
        writer.unwrap();
    }
    ended.store(true, Ordering::SeqCst);

    let all: Vec<Message> = store.all_messages(Read::default()).try_collect().await.unwrap();
    let rolled_back = (0..MESSAGES).filter(|number| number % 5 == 0).count() * WRITERS;
    assert_eq!(all.len(), 2 * WRITERS * MESSAGES - rolled_back);
    for (reader, scope) in readers.into_iter().zip(scopes) {
        let seen = reader.await.unwrap();
        let there = all.iter().filter(|message| scope.as_ref().is_none_or(|scope| message.category() == *scope));
        let there: BTreeSet<i64> = there.map(|message| message.global_position.get()).collect();
        assert_eq!(seen, there, "{scope:?}");
    }
    for number in 0..6 {
        let messages: Vec<Message> =
            store.stream_messages(&stream(number), Position::FIRST).try_collect().await.unwrap();
        let positions = messages.iter().map(|message| usize::try_from(message.position.get()).unwrap());
        assert!(positions.eq(0..messages.len()));
    }
}

/// A client's transaction that locks its categories first, in this library's order, does not deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_categories_in_one_transaction_do_not_deadlock() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    let old = (0..4).map(|writer| {
        let url = database.url().to_owned();
        tokio::spawn(async move {
            let mut client = message_db::connect(&url, Some("message_store")).await;
            for number in 0..10 {
                let mut streams = ["left-1", "middle-1", "right-1"];
                streams.rotate_left((writer + number) % 3);
                let transaction = client.transaction().await.unwrap();
                transaction.execute("SELECT lock_categories($1)", &[&&streams[..]]).await.unwrap();
                for stream in streams {
                    let sql = "SELECT write_message(gen_random_uuid()::varchar, $1, 'Old', '{}')";
                    transaction.execute(sql, &[&stream]).await.unwrap();
                }
                transaction.commit().await.unwrap();
            }
        })
    });
    let new = (0..4).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..10 {
                let mut streams = ["left-1", "middle-1", "right-1"];
                streams.rotate_right((writer + number) % 3);
                let appends = streams
                    .map(|name| Append::to(StreamName::new(name).unwrap()).message(NewMessage::new("New", Json::NULL)));
                store.append(appends.to_vec().into()).await.unwrap();
            }
        })
    });
    for writer in join_all(old.chain(new)).await {
        writer.unwrap();
    }
    assert_eq!(store.version(&StreamName::new("left-1").unwrap()).await.unwrap().get(), 79);
}

/// A client's transaction that does not lock its categories first can deadlock with an append. The server resolves the
/// deadlock, and the append succeeds in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_that_is_the_victim_of_a_foreign_deadlock_is_made_again() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    let foreign = tokio::spawn({
        let url = database.url().to_owned();
        async move {
            let mut client = message_db::connect(&url, None).await;
            let mut victims = 0;
            for number in 0..6 {
                let (first, second) = if number % 2 == 0 { ("left-1", "right-1") } else { ("right-1", "left-1") };
                let transaction = client.transaction().await.unwrap();
                let locked = transaction.execute("SELECT message_store.acquire_lock($1)", &[&first]).await;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                if locked.is_err()
                    || transaction.execute("SELECT message_store.acquire_lock($1)", &[&second]).await.is_err()
                {
                    victims += 1;
                }
                transaction.rollback().await.unwrap();
            }
            victims
        }
    });
    for _ in 0..6 {
        let appends = ["left-1", "right-1"]
            .map(|name| Append::to(StreamName::new(name).unwrap()).message(NewMessage::new("New", Json::NULL)));
        store.append(appends.to_vec().into()).await.unwrap();
    }
    foreign.await.unwrap();
    assert_eq!(store.version(&StreamName::new("right-1").unwrap()).await.unwrap().get(), 5);
    let client = message_db::connect(database.url(), None).await;
    assert_eq!(write_message(&client, "right-1", "{}").await.unwrap(), 6);
}
