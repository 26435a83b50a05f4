//! Batches of large messages: a batch is filled up to the limit of bytes, and the server reads little more than it
//! returns.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::postgres::PostgresOptions;
use message_store::sqlite::SqliteOptions;
use message_store::{
    Append, Category, Filter, GlobalPosition, Json, Limits, Message, MessageStore, NewMessage, Position, Read,
    StreamName, StreamRead,
};
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use uuid::Uuid;

const BATCH_BYTES: usize = 200_000;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.batch_bytes = BATCH_BYTES;
    limits
}

fn noise(bytes: usize) -> String {
    std::iter::repeat_with(|| Uuid::new_v4().simple().to_string()).take(bytes / 32).collect()
}

/// Small messages, then messages that do not compress, messages that compress, messages whose text is larger than their
/// stored form, and a mix.
fn messages() -> Vec<NewMessage> {
    let small = || "1".to_owned();
    let incompressible = || format!(r#"{{"x":"{}"}}"#, noise(50_000));
    let compressible = || format!(r#"{{"x":"{}"}}"#, "abcdefgh".repeat(8_000));
    let numbers = || format!("[{}1]", "1e2000,".repeat(20));
    let texts = (0..100)
        .map(|_| small())
        .chain((0..12).map(|_| incompressible()))
        .chain((0..30).map(|_| compressible()))
        .chain((0..40).map(|_| numbers()))
        .chain((0..60).map(|number| match number % 5 {
            0 => incompressible(),
            1 => compressible(),
            2 => numbers(),
            _ => small(),
        }));
    let types = ["A", "B"];
    texts.enumerate().map(|(number, text)| NewMessage::new(types[number % 2], Json::parse(&text).unwrap())).collect()
}

fn bytes(message: &Message) -> usize {
    [&message.data, &message.metadata].iter().filter_map(|json| json.as_str()).map(str::len).sum()
}

/// Asserts that a batch ends at the limit of bytes, not later and not earlier.
fn assert_full(batch: &[Message], is_last: bool) {
    let sizes: Vec<usize> = batch.iter().map(bytes).collect();
    let all: usize = sizes.iter().sum();
    assert!(all - sizes.last().unwrap() < BATCH_BYTES, "{sizes:?}");
    assert!(is_last || all >= BATCH_BYTES, "{sizes:?}");
}

async fn written(store: &dyn MessageStore) -> Vec<Uuid> {
    let messages = messages();
    let ids = messages.iter().map(|message| message.id.as_uuid()).collect();
    for part in messages.chunks(20) {
        let append = Append::to(StreamName::new("large-1").unwrap()).messages(part.to_vec());
        store.append(append.into()).await.unwrap();
    }
    ids
}

async fn assert_batches_are_full(store: Arc<dyn MessageStore>) {
    let ids = written(&*store).await;
    let (stream, category) = (StreamName::new("large-1").unwrap(), Category::new("large").unwrap());
    let of = |messages: &[Message]| messages.iter().map(|message| message.id.as_uuid()).collect::<Vec<_>>();

    for all in [false, true] {
        let (mut read, mut found) = (Read::default(), Vec::new());
        loop {
            let batch = if all {
                store.read_all(read.clone()).await.unwrap()
            } else {
                store.read_category(&category, read.clone()).await.unwrap()
            };
            if batch.is_at_end(&read) {
                break;
            }
            found.extend(of(&batch.messages));
            assert_full(&batch.messages, found.len() == ids.len());
            assert_eq!(batch.messages.last().unwrap().global_position, batch.looked_through);
            read.from = batch.looked_through.next();
        }
        assert_eq!(found, ids);
    }

    for backwards in [false, true] {
        let mut read = if backwards { StreamRead::backwards() } else { StreamRead::default() };
        let mut found = Vec::new();
        while found.len() < ids.len() {
            let batch = store.read_stream(&stream, read.clone()).await.unwrap();
            found.extend(of(&batch));
            assert_full(&batch, found.len() == ids.len());
            let last = batch.last().unwrap().position.get();
            read.from = Some(Position::new(if backwards { last - 1 } else { last + 1 }));
        }
        if backwards {
            found.reverse();
        }
        assert_eq!(found, ids);
    }

    // The limit of rows applies to all parts of a read together.
    let read = Read::default().limit(120);
    let mut unlimited = store.read_category(&category, read).await.unwrap().messages;
    assert!(unlimited.len() <= 120);
    let few = store.read_category(&category, Read::default().limit(3)).await.unwrap();
    unlimited.truncate(3);
    assert_eq!(of(&few.messages), of(&unlimited));

    for types in [vec!["A"], vec!["B"], vec!["none"]] {
        let mut read = Read::default().filter(Filter::default().message_types(types.clone())).limit(7);
        let (mut found, mut looked_through) = (Vec::new(), GlobalPosition::ZERO);
        loop {
            let batch = store.read_category(&category, read.clone()).await.unwrap();
            if batch.is_at_end(&read) {
                break;
            }
            assert!(batch.messages.len() <= 7 && batch.looked_through > looked_through);
            found.extend(of(&batch.messages));
            looked_through = batch.looked_through;
            read.from = looked_through.next();
        }
        let passes = |number: &usize| types == ["A", "B"][number % 2..=number % 2];
        let expected: Vec<Uuid> = (0..ids.len()).filter(passes).map(|number| ids[number]).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_hold_as_many_messages_as_their_bytes_allow_on_postgres() {
    let database = TestDatabase::create().await;
    let store = PostgresOptions::from_url(database.url()).unwrap().limits(limits()).open().await.unwrap();
    assert_batches_are_full(Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_hold_as_many_messages_as_their_bytes_allow_on_sqlite() {
    assert_batches_are_full(Arc::new(SqliteOptions::memory().limits(limits()).open().await.unwrap())).await;
}

const STREAM: &str = "text, bigint, bigint";
const ALL: &str = "bigint, bigint, bigint";
const FILTER: &str = "varchar, bigint[], bigint, text[]";
const NONE: &str = "";

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../message-store/src/postgres/sql/", $name, ".sql"))
    };
}

/// The types of the scope and of the filter, the scope's SQL, and its parameters before the weight.
const READS: [(&str, &str, &str, &str); 6] = [
    (STREAM, NONE, sql!("scope_category"), "'large', 0, 1000"),
    (ALL, NONE, sql!("scope_all"), "10000, 0, 1000"),
    (STREAM, NONE, sql!("scope_stream_forwards"), "'large-1', 0, 1000"),
    (STREAM, NONE, sql!("scope_stream_backwards"), "'large-1', 10000, 1000"),
    (STREAM, FILTER, sql!("scope_category"), "'large', 0, 1000"),
    (ALL, FILTER, sql!("scope_all"), "10000, 0, 1000"),
];
/// A statement that counts the bytes after it has read all rows.
const WITHOUT_WEIGHT: &str = "SELECT *, sum(coalesce(octet_length(data), 0)) \
    OVER (ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before FROM ( \
      SELECT data::text, position FROM message_store.messages WHERE stream_name = $1 AND position >= $2 ORDER BY position LIMIT $3 \
    ) AS rows";

/// The number of blocks that the server reads for the statement.
async fn blocks(client: &Client, (scope, filter, sql, parameters): (&str, &str, &str, &str), weight: i64) -> u64 {
    // A complete statement needs no frame.
    let frame = match (sql.contains("SELECT"), filter.is_empty()) {
        (true, _) => "{scope}",
        (false, true) => sql!("read_weighed"),
        (false, false) => sql!("read_filtered_weighed"),
    };
    let sql = frame.replace("{passes}", sql!("passes")).replace("{scope}", sql);
    let sql = sql.replace("{messages}", "message_store.messages");
    let (types, values) = if filter.is_empty() {
        (format!("{scope}, bigint"), format!("{parameters}, {weight}"))
    } else {
        (format!("{scope}, {filter}, bigint"), format!("{parameters}, NULL, NULL, NULL, '{{B}}', {weight}"))
    };
    client.batch_execute(&format!("DEALLOCATE ALL; PREPARE read ({types}) AS {sql}")).await.unwrap();
    let plan = client.simple_query(&format!("EXPLAIN (ANALYZE, BUFFERS) EXECUTE read ({values})")).await.unwrap();
    let line = plan
        .iter()
        .filter_map(|line| match line {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        // The first number is that of the whole plan.
        .find(|line| line.contains("Buffers: shared"))
        .unwrap();
    let (shared, _) = line.split_once(',').unwrap_or((line, ""));
    let counts = shared.split(' ').filter_map(|word| word.strip_prefix("hit=").or(word.strip_prefix("read=")));
    counts.map(|count| count.parse::<u64>().unwrap()).sum()
}

async fn large_messages(text: impl Fn() -> String) -> (TestDatabase, Client) {
    let database = TestDatabase::create().await;
    let store = PostgresOptions::from_url(database.url()).unwrap().open().await.unwrap();
    let stream = StreamName::new("large-1").unwrap();
    let messages = (0..200).map(|_| NewMessage::new("B", Json::parse(format!(r#"{{"x":"{}"}}"#, text())).unwrap()));
    store.append(Append::to(stream).messages(messages).into()).await.unwrap();
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("VACUUM ANALYZE message_store.messages").await.unwrap();
    (database, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_touches_no_more_large_messages_than_its_bytes_allow() {
    // Stored uncompressed, and compressed to a fortieth.
    for text in [|| noise(100_000), || (0..1_000).map(|_| noise(32)[..1].repeat(300)).collect::<String>()] {
        let (_database, client) = large_messages(text).await;
        for read in READS {
            let (few, all) = (blocks(&client, read, 1_000_000).await, blocks(&client, read, i64::MAX).await);
            assert!(few * 4 < all, "{few} blocks for 1 MB, {all} for all: {}", read.2);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_bytes_are_counted_afterwards_a_read_touches_all_messages() {
    let (_database, client) = large_messages(|| noise(100_000)).await;
    let (scope, filter, sql, parameters) = READS[2];
    let all = blocks(&client, (scope, filter, sql, parameters), i64::MAX).await;
    let sql = format!("SELECT * FROM ({WITHOUT_WEIGHT}) AS measured WHERE coalesce(bytes_before, 0) < $4");
    assert!(blocks(&client, (scope, filter, &sql, parameters), 1_000_000).await * 4 >= all);
}

/// The same for a batch that is read in several parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filtered_batch_has_no_more_messages_than_a_batch_may_have() {
    let database = TestDatabase::create().await;
    let mut limits = Limits::default();
    (limits.batch_messages, limits.batch_bytes) = (10, 400_000);
    let store = PostgresOptions::from_url(database.url()).unwrap().limits(limits).open().await.unwrap();
    let stream = StreamName::new("large-1").unwrap();
    // Compressed to a fortieth, so its weight is larger than its size.
    let text = || (0..100).map(|_| Uuid::new_v4().simple().to_string()[..1].repeat(300)).collect::<String>();
    let messages = (0..40).map(|_| NewMessage::new("B", Json::parse(format!(r#"{{"x":"{}"}}"#, text())).unwrap()));
    store.append(Append::to(stream).messages(messages).into()).await.unwrap();
    let category = Category::new("large").unwrap();
    let plain = store.read_category(&category, Read::default()).await.unwrap().messages.len();
    let read = Read::default().filter(Filter::default().message_types(["B"]));
    let filtered = store.read_category(&category, read).await.unwrap().messages.len();
    assert_eq!((plain, filtered), (10, 10));
}
