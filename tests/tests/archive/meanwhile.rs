//! Readers and writers that work while messages move.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::TryStreamExt as _;
use message_store::operations::Archiving;
use message_store::{
    Append, Category, Error, ExpectedVersion, Json, Message, MessageId, MessageStore, MessageStoreExt as _, NewMessage,
    Position, Read, StreamName, StreamRead, connect,
};
use message_store_tests::expire::AgeingStore;
use message_store_tests::postgres::TestDatabase;

use super::now;

const STREAMS: usize = 8;
const MESSAGES: usize = 60;

fn stream(number: usize) -> StreamName {
    StreamName::new(format!("account-{number}")).unwrap()
}

fn numbered(number: usize) -> NewMessage {
    NewMessage::new("Numbered", Json::encode(&number).unwrap())
}

/// Reads in every way until the end, and returns the first difference from what must be there.
async fn first_difference(
    store: Arc<dyn MessageStore>,
    written: Arc<Vec<NewMessage>>,
    ended: Arc<AtomicBool>,
) -> Option<String> {
    let accounts = Category::new("account").unwrap();
    let expected: BTreeSet<MessageId> = written.iter().map(|message| message.id).collect();
    let whole = |what: &str, messages: &[Message]| {
        let found: Vec<MessageId> =
            messages.iter().map(|message| message.id).filter(|id| expected.contains(id)).collect();
        let distinct: BTreeSet<MessageId> = found.iter().copied().collect();
        (distinct.len() != found.len() || distinct.len() != expected.len()).then(|| {
            format!("{what}: {} messages, {} of them different, of {}", found.len(), distinct.len(), expected.len())
        })
    };
    let mut round = 0;
    loop {
        // A last round after the end.
        let is_last = ended.load(Ordering::SeqCst);
        let of_category: Vec<Message> =
            store.category_messages(&accounts, Read::default().limit(17)).try_collect().await.unwrap();
        let of_all: Vec<Message> = store.all_messages(Read::default().limit(100)).try_collect().await.unwrap();
        let difference = whole("a category", &of_category).or_else(|| whole("all", &of_all));
        if difference.is_some() {
            return difference;
        }
        let name = stream(round % STREAMS);
        for backwards in [false, true] {
            let read = if backwards { StreamRead::backwards() } else { StreamRead::default() };
            let found = store.read_stream(&name, read.limit(10_000)).await.unwrap();
            let mut positions: Vec<i64> = found.iter().map(|message| message.position.get()).collect();
            if backwards {
                positions.reverse();
            }
            if positions.len() < MESSAGES || (0_i64..).zip(&positions).any(|(at, is)| at != *is) {
                return Some(format!("{name}, backwards {backwards}: {positions:?}"));
            }
        }
        let message = &written[(round * 7) % written.len()];
        if store.message(message.id).await.unwrap().is_none() {
            return Some(format!("{} is not found by its id", message.id));
        }
        let taken = Append::to(StreamName::new("mail-1").unwrap()).message(message.clone());
        match store.append(taken.into()).await {
            Err(Error::IdConflict { .. }) => {}
            other => return Some(format!("{} was appended again: {other:?}", message.id)),
        }
        if is_last {
            return None;
        }
        round += 1;
    }
}

/// Moves all messages in small parts while readers read and writers append. Returns the first difference.
async fn run(store: &Arc<dyn MessageStore>) -> Option<String> {
    let mut written = Vec::new();
    for _ in 0..MESSAGES {
        for number in 0..STREAMS {
            let message = numbered(written.len());
            store.append(Append::to(stream(number)).message(message.clone()).into()).await.unwrap();
            written.push(message);
        }
    }
    let (written, ended) = (Arc::new(written), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..3)
        .map(|_| tokio::spawn(first_difference(Arc::clone(store), Arc::clone(&written), Arc::clone(&ended))))
        .collect();
    let writer = tokio::spawn({
        let (store, ended) = (Arc::clone(store), Arc::clone(&ended));
        async move {
            let mut version = i64::try_from(MESSAGES).unwrap() - 1;
            while !ended.load(Ordering::SeqCst) {
                let append = Append::to(stream(0)).expecting(ExpectedVersion::Exact(Position::new(version)));
                store.append(append.message(numbered(0)).into()).await.unwrap();
                version += 1;
            }
        }
    });
    let archiving = Archiving::of(store, "account", now(store).await).unwrap().part(4);
    // Two operators at the same time.
    let moved = tokio::join!(archiving.run(|_| {}), archiving.run(|_| {}));
    ended.store(true, Ordering::SeqCst);
    let (first, second) = (moved.0.unwrap(), moved.1.unwrap());
    writer.await.unwrap();
    let mut difference = None;
    for reader in readers {
        difference = difference.or(reader.await.unwrap());
    }
    assert!(first + second >= ((MESSAGES - 1) * STREAMS) as u64, "{first} and {second} were moved");
    difference
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres_readers_and_writers_lose_nothing_while_messages_move() {
    let database = TestDatabase::create().await;
    assert_eq!(run(&connect(database.url()).await.unwrap()).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite_readers_and_writers_lose_nothing_while_messages_move() {
    let ageing = AgeingStore::sqlite();
    assert_eq!(run(&connect(&ageing.url()).await.unwrap()).await, None);
}

/// A part takes messages away, and the next part writes them to the archive.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_a_move_in_two_transactions_loses_messages_meanwhile() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    let sabotage = "CREATE TABLE message_store.held (LIKE message_store.messages); \
        DO $$ DECLARE definition text; held text; BEGIN \
          SELECT pg_get_functiondef('message_store.archive_part'::regproc) INTO definition; \
          held := replace(definition, 'INSERT INTO message_store.archived_messages', 'INSERT INTO message_store.held'); \
          held := replace(held, '-- message-store functions', '-- message-store functions 1000 --'); \
          held := replace(held, '  WITH taken AS', \
            'INSERT INTO message_store.archived_messages SELECT h.* FROM message_store.held h; DELETE FROM message_store.held; WITH taken AS'); \
          ASSERT held <> definition; EXECUTE held; END $$";
    database.execute(sabotage).await;
    assert!(run(&store).await.is_some());
}
