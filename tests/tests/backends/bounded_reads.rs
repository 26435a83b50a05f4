//! The memory of a read is bounded: a batch ends when it has enough bytes, by either statement, and a connection on which
//! rows are left is closed.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use message_store::postgres::{PlantedBug, PostgresOptions, PostgresStore};
use message_store::{
    Append, Category, Json, Limits, Message, MessageStore as _, NewMessage, Read, StreamName, StreamRead,
};
use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::{Client, NoTls};

const BATCH_BYTES: usize = 400_000;
/// The bytes of a large message's data.
const LARGE: usize = 20_000;
/// The greatest number of requests to cancel a statement.
const CANCELS: usize = 5;
/// The time-out for events that must happen.
const COMES: Duration = Duration::from_mins(2);

/// A store that is reached through a proxy, and another session.
struct Scene {
    database: TestDatabase,
    proxy: CuttingProxy,
    store: Arc<PostgresStore>,
}

impl Scene {
    async fn of(pool_size: usize, bug: Option<PlantedBug>) -> Self {
        let database = TestDatabase::create().await;
        let config: tokio_postgres::Config = database.url().parse().unwrap();
        let proxy = CuttingProxy::start(format!("127.0.0.1:{}", config.get_ports()[0]), "no mark").await;
        let mut limits = Limits::default();
        limits.batch_bytes = BATCH_BYTES;
        let options = PostgresOptions::from_url(&proxy.url(database.url())).unwrap();
        let mut options = options.reading_connections(pool_size).limits(limits).notifications(false);
        if let Some(bug) = bug {
            options = options.plant(bug);
        }
        let store = Arc::new(options.open().await.unwrap());
        Self { database, proxy, store }
    }

    /// Appends messages with data of this size to a stream.
    async fn append(&self, stream: &str, count: usize, bytes: usize) {
        let text = (0..=bytes / 32).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect::<String>();
        let data = Json::parse(format!("\"{}\"", &text[..bytes - 2])).unwrap();
        let stream = StreamName::new(stream).unwrap();
        for first in (0..count).step_by(500) {
            let messages = (first..count.min(first + 500)).map(|_| NewMessage::new("T", data.clone()));
            self.store.append(Append::to(stream.clone()).messages(messages).into()).await.unwrap();
        }
    }

    /// Reads an empty category, so that the pool has a connection.
    async fn connect(&self) {
        assert!(self.store.read_category(&category("none"), Read::default()).await.unwrap().messages.is_empty());
    }

    /// The number of connections that were opened meanwhile.
    async fn opens<T>(&self, work: impl Future<Output = T>) -> (T, usize) {
        let before = self.proxy.connections();
        (work.await, self.proxy.connections() - before)
    }

    async fn session(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(self.database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

fn bytes(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.data.len() + message.metadata.len()).sum()
}

fn category(name: &str) -> Category {
    Category::new(name).unwrap()
}

/// Reads a category from its beginning to its end. Returns the bytes of the largest batch, and of all batches.
async fn walk(store: &PostgresStore, name: &str) -> (usize, usize) {
    let (mut read, mut largest, mut all) = (Read::default(), 0, 0);
    loop {
        let batch = store.read_category(&category(name), read.clone()).await.unwrap();
        if batch.is_at_end(&read) {
            return (largest, all);
        }
        largest = largest.max(bytes(&batch.messages));
        all += bytes(&batch.messages);
        read.from = batch.looked_through.next();
    }
}

/// The figures of a walk through small messages, then a thousand large ones, then small ones: the bytes of the largest
/// batch, the bytes that the server sent for a hundred bytes of data, and the number of connections that were opened.
async fn figures_of_a_walk(bug: Option<PlantedBug>) -> (usize, usize, usize) {
    let scene = Scene::of(1, bug).await;
    scene.append("large-1", 1_500, 10).await;
    scene.append("large-1", 1_000, LARGE).await;
    scene.append("large-1", 1_500, 10).await;
    scene.connect().await;
    let before = scene.proxy.answered();
    let ((largest, all), opened) = scene.opens(walk(&scene.store, "large")).await;
    assert!(all > 1_000 * LARGE);
    (largest, (scene.proxy.answered() - before) * 100 / all, opened)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_walk_from_small_messages_to_large_ones_is_bounded_and_closes_one_connection() {
    let (largest, sent, opened) = figures_of_a_walk(None).await;
    assert!(largest < BATCH_BYTES + LARGE, "a batch has {largest} bytes");
    // At most the data once more, in the statement that was cancelled.
    assert!(sent < 220, "the server sent {sent} % of the data");
    // Those that cancel, and one in place of the closed one.
    assert!((1..=1 + CANCELS).contains(&opened), "{opened} connections were opened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_bytes_are_not_counted_a_batch_has_a_thousand_large_messages() {
    let (largest, ..) = figures_of_a_walk(Some(PlantedBug::BytesNotCounted)).await;
    assert!(largest > 10 * BATCH_BYTES, "a batch has {largest} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_large_rows_are_forgotten_each_batch_closes_a_connection() {
    let (largest, _, opened) = figures_of_a_walk(Some(PlantedBug::LargeRowsForgotten)).await;
    assert!(largest < BATCH_BYTES + LARGE, "a batch has {largest} bytes");
    assert!(opened > 1_000 * LARGE / BATCH_BYTES / 2, "{opened} connections were opened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_at_different_places_of_a_category_do_not_disturb_each_other() {
    let scene = Scene::of(2, None).await;
    scene.append("large-1", 300, LARGE).await;
    scene.append("large-1", 3_000, 10).await;
    let (stream, last) = (StreamName::new("large-1").unwrap(), StreamRead::backwards().limit(2_000));
    let of_small = scene.store.read_stream(&stream, last).await.unwrap();
    let mut small = Read::from(of_small.last().unwrap().global_position).limit(10);
    let mut large = Read::default();
    let (batches, opened) = scene
        .opens(async {
            for batches in 0.. {
                let batch = scene.store.read_category(&category("large"), large.clone()).await.unwrap();
                if bytes(&batch.messages) < BATCH_BYTES {
                    return batches;
                }
                large.from = batch.looked_through.next();
                let batch = scene.store.read_category(&category("large"), small.clone()).await.unwrap();
                assert_eq!(batch.messages.len(), 10);
                small.from = batch.looked_through.next();
            }
            unreachable!()
        })
        .await;
    assert!(batches >= 15 && opened <= 2 + CANCELS, "{batches} batches, {opened} connections");
}

/// Whether the call after a read that left rows behind has another connection, and the first one is closed.
async fn leaves_the_pool(bug: Option<PlantedBug>) -> bool {
    let scene = Scene::of(1, bug).await;
    scene.append("large-1", 1_000, LARGE).await;
    let reading = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%LIMIT $3%' \
                   AND application_name = 'message-store'";
    let session = scene.session().await;
    scene.connect().await;
    let before: i32 = session.query_one(reading, &[]).await.unwrap().get(0);
    let batch = scene.store.read_category(&category("large"), Read::default()).await.unwrap();
    assert!(bytes(&batch.messages) >= BATCH_BYTES);
    scene.connect().await;
    let until_closed = async {
        loop {
            let rows = session.query(reading, &[]).await.unwrap();
            let pids: HashSet<i32> = rows.iter().map(|row| row.get(0)).collect();
            if !pids.is_empty() && !pids.contains(&before) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let within = if bug.is_some() { Duration::from_secs(1) } else { COMES };
    tokio::time::timeout(within, until_closed).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_with_unread_rows_leaves_the_pool_and_is_closed() {
    assert!(leaves_the_pool(None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_abandoned_connections_stay_a_connection_with_unread_rows_is_used_again() {
    assert!(!leaves_the_pool(Some(PlantedBug::AbandonedConnectionsStay)).await);
}

/// The batch ends with the last row, by its rows or by its bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_that_ends_with_the_last_row_keeps_its_connection() {
    let scene = Scene::of(1, None).await;
    let each = BATCH_BYTES / 10;
    scene.append("exact-1", 10, each).await;
    scene.append("alone-1", 1, BATCH_BYTES + LARGE).await;
    scene.append("more-1", 5, BATCH_BYTES + LARGE).await;
    scene.connect().await;
    let reads = async {
        for (name, limit, expected) in [("exact", 1_000, 10), ("exact", 10, 10), ("alone", 1_000, 1), ("more", 1, 1)] {
            let read = Read::default().limit(limit);
            assert_eq!(scene.store.read_category(&category(name), read).await.unwrap().messages.len(), expected);
        }
    };
    assert_eq!(scene.opens(reads).await.1, 0);
    let (more, opened) = scene.opens(scene.store.read_category(&category("more"), Read::default().limit(2))).await;
    // The place is known: the read of one message was as large as a batch may be.
    assert_eq!((more.unwrap().messages.len(), opened), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_reads_that_leave_rows_behind_do_not_exhaust_the_pool() {
    const READERS: usize = 24;
    let scene = Scene::of(2, None).await;
    for number in 0..READERS {
        scene.append(&format!("large{number}-1"), 60, LARGE).await;
    }
    let reads = (0..READERS).map(|number| {
        let store = Arc::clone(&scene.store);
        tokio::spawn(async move {
            let name = category(&format!("large{number}"));
            // Every third caller gives up.
            let gives_up = Duration::from_millis(if number % 3 == 0 { number as u64 } else { 100_000 });
            let _ = tokio::time::timeout(gives_up, store.read_category(&name, Read::default())).await;
            walk(&store, name.as_str()).await
        })
    });
    for walked in join_all(reads).await {
        assert_eq!(walked.unwrap().1, 60 * LARGE);
    }
    let session = scene.session().await;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND application_name = 'message-store' AND query LIKE '%LIMIT $3%'";
    let until_few = async {
        while session.query_one(left, &[]).await.unwrap().get::<_, i64>(0) > 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(COMES, until_few).await.expect("closed connections stay on the server");
}
