//! The plain and the weighed statement lead to the same batches as a model.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::postgres::{PlantedBug, PostgresOptions, PostgresStore};
use message_store::{
    Append, Category, Filter, GroupMember, Json, Limits, Message, MessageStore as _, NewMessage, Position, Read,
    StreamName, StreamRead,
};
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::{Random, setting};
use uuid::Uuid;

const ROUNDS: usize = 4;
const READS: usize = 60;
const STREAMS: usize = 3;

/// Data that does not compress, data that compresses, numbers whose text is larger than their stored form, and nothing.
fn data(random: &mut Random) -> Json {
    let size = [1, 10, 100, 1_000][random.below(4)] * (1 + random.below(20));
    let text = match random.below(5) {
        0 => format!("\"{}\"", (0..=size / 32).map(|_| Uuid::new_v4().simple().to_string()).collect::<String>()),
        1 => format!("\"{}\"", "ab".repeat(size)),
        2 => format!("[{}1]", "1e1000,".repeat(size / 100)),
        3 => "null".to_owned(),
        // Equal sizes, so that batches end exactly at their bytes.
        _ => format!("\"{}\"", "x".repeat(998)),
    };
    Json::parse(text).unwrap()
}

fn message(random: &mut Random) -> NewMessage {
    let correlation = ["", r#"{"correlationStreamName":"a-1"}"#, r#"{"correlationStreamName":"b-1"}"#][random.below(3)];
    let message = NewMessage::new(["A", "B", "C"][random.below(3)], data(random));
    if correlation.is_empty() { message } else { message.with_metadata_json(Json::parse(correlation).unwrap()) }
}

fn filter(random: &mut Random) -> Filter {
    match random.below(6) {
        0 => Filter::default().message_types(["A", "B"]),
        1 => Filter::default().message_types(["none"]),
        2 => Filter::default().member(GroupMember::new(0, 2).unwrap()),
        3 => Filter::default().correlation(Category::new("a").unwrap()),
        _ => Filter::default(),
    }
}

fn bytes(message: &Message) -> usize {
    message.data.len() + message.metadata.len()
}

/// The number of messages of a batch: it ends with the message that reaches the bytes.
fn fill<'a>(messages: impl Iterator<Item = &'a Message>, most: usize, limit: usize) -> usize {
    let mut sum = 0;
    let fits = |message: &&Message| {
        let is_first_or_fits = sum < most;
        sum += bytes(message);
        is_first_or_fits
    };
    messages.take(limit).take_while(fits).count()
}

async fn store(url: &str, limits: Limits, bug: PlantedBug) -> PostgresStore {
    let options = PostgresOptions::from_url(url).unwrap().limits(limits).notifications(false).reading_connections(2);
    options.plant(bug).open().await.unwrap()
}

/// Whether random reads agree with the model, by stores with each of these bugs.
async fn agree(bugs: &[PlantedBug]) -> bool {
    let mut random = Random(setting("MESSAGE_STORE_STATEMENTS_SEED").unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0));
    eprintln!("MESSAGE_STORE_STATEMENTS_SEED={}", random.0);
    for _ in 0..ROUNDS {
        let database = TestDatabase::create().await;
        let mut limits = Limits::default();
        limits.batch_bytes = [500, 998, 1_000, 5_000, 10_000, 50_000][random.below(6)];
        limits.batch_messages = [5, 50, 10_000][random.below(3)];
        let mut stores = Vec::new();
        for bug in bugs {
            stores.push(store(database.url(), limits, *bug).await);
        }
        for _ in 0..12 {
            let stream = StreamName::new(format!("c-{}", random.below(STREAMS))).unwrap();
            let messages: Vec<NewMessage> = (0..=random.below(20)).map(|_| message(&mut random)).collect();
            stores[0].append(Append::to(stream).messages(messages).into()).await.unwrap();
        }
        let all = everything(database.url()).await;
        for _ in 0..READS {
            for store in &stores {
                let (seed, mut again) = (random.0, Random(random.0));
                if !batches_agree(store, &all, limits, &mut again).await
                    || !streams_agree(store, &all, limits, &mut again).await
                {
                    eprintln!("disagrees: {limits:?}, reads from state {seed}");
                    return false;
                }
            }
            random.below(1_000);
        }
    }
    true
}

/// All messages of the category `c`.
async fn everything(url: &str) -> Vec<Message> {
    let store = PostgresStore::open(url).await.unwrap();
    let batch = store.read_category(&Category::new("c").unwrap(), Read::default().limit(10_000)).await.unwrap();
    assert!(batch.messages.iter().map(bytes).sum::<usize>() < Limits::default().batch_bytes);
    batch.messages
}

async fn batches_agree(store: &PostgresStore, all: &[Message], limits: Limits, random: &mut Random) -> bool {
    let first = random.below(all.len());
    let limit = [0, 1, 2, 7, 1_000, 20_000][random.below(6)];
    let read = Read::from(all[first].global_position).limit(limit).filter(filter(random));
    let looked_at = &all[first..all.len().min(first + read.look_at().min(limits.batch_messages))];
    let passing = || looked_at.iter().filter(|message| read.filter.passes(message));
    let count = fill(passing(), limits.batch_bytes, usize::MAX);
    let is_full = count > 0 && passing().take(count).map(bytes).sum::<usize>() >= limits.batch_bytes;
    let expected: Vec<&Message> = passing().take(count.min(limit)).collect();
    let batch = if random.below(2) == 0 {
        store.read_category(&Category::new("c").unwrap(), read.clone()).await.unwrap()
    } else {
        store.read_all(read.clone()).await.unwrap()
    };
    let last = if is_full || expected.len() < count { expected.last().copied() } else { looked_at.last() };
    let looked_through = last.map_or(read.from.previous(), |last| last.global_position);
    is_same(&batch.messages, &expected) && batch.looked_through == looked_through
}

async fn streams_agree(store: &PostgresStore, all: &[Message], limits: Limits, random: &mut Random) -> bool {
    let stream = StreamName::new(format!("c-{}", random.below(STREAMS))).unwrap();
    let of_stream: Vec<&Message> = all.iter().filter(|message| message.stream == stream).collect();
    let (from, backwards) = (random.below(of_stream.len() + 2), random.below(2) == 0);
    let limit = [0, 1, 2, 7, 1_000][random.below(5)];
    let at = Position::new(i64::try_from(from).unwrap());
    let read = if backwards { StreamRead::backwards_from(at) } else { StreamRead::forwards_from(at) }.limit(limit);
    let mut expected: Vec<&Message> =
        of_stream.into_iter().filter(|it| if backwards { it.position <= at } else { it.position >= at }).collect();
    if backwards {
        expected.reverse();
    }
    let count = fill(expected.iter().copied(), limits.batch_bytes, limit.min(limits.batch_messages));
    expected.truncate(count);
    is_same(&store.read_stream(&stream, read).await.unwrap(), &expected)
}

fn is_same(found: &[Message], expected: &[&Message]) -> bool {
    let of =
        |it: &Message| (it.id, it.stream.clone(), it.position, it.global_position, it.time, it.data.text().to_owned());
    found.iter().map(of).eq(expected.iter().copied().map(of))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn both_statements_lead_to_the_batches_of_the_model() {
    assert!(agree(&[PlantedBug::LargeRowsForgotten, PlantedBug::LargeRowsEverywhere]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_bytes_are_not_counted_batches_are_larger_than_those_of_the_model() {
    assert!(!agree(&[PlantedBug::BytesNotCounted]).await);
}
