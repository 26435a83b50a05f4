//! Conditions of appends: races for one boundary in many rounds, and a history of 20 writers that is checked afterwards.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use message_store::store::{Matches, Query, QueryItem};
use message_store::testing::conformance::boundaries::writers_of_one_boundary;
use message_store::{
    Append, AppendRequest, Category, Error, GlobalPosition, Json, Message, MessageStore, Metadata, NewMessage, Read,
    StreamName, Tag, connect,
};
use message_store_tests::accounts::{messages_of, put};
use message_store_tests::on_both_stores;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::{Random, setting};
use serde::{Deserialize, Serialize};

type Store = Arc<dyn MessageStore>;

fn category(name: &str) -> Category {
    Category::new(name).unwrap()
}

fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

/// Each of 20 writers reads, decides and writes, with a query of its own each time.
const WRITERS: u64 = 20;
const CATEGORIES: [&str; 3] = ["a", "b", "c"];
const TYPES: [&str; 3] = ["T0", "T1", "T2"];
const TAGS: usize = 5;

/// What an event carries: its writer's query, and the last match that the writer saw.
#[derive(Debug, Serialize, Deserialize)]
struct Carried {
    items: Vec<Item>,
    last_seen: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    categories: Vec<String>,
    types: Vec<String>,
    tags: Vec<String>,
}

impl Item {
    fn at_random(random: &mut Random) -> Self {
        let mut some = |names: &[&str], least: usize| {
            let count = least + random.below(names.len() + 1 - least);
            let first = random.below(names.len());
            (0..count).map(|number| names[(first + number) % names.len()].to_owned()).collect::<Vec<_>>()
        };
        let (categories, types) = (some(&CATEGORIES, 1), some(&TYPES, 0));
        let tags = (0..random.below(3)).map(|_| format!("tag:{}", random.below(TAGS))).collect();
        Self { categories, types, tags }
    }

    fn query(&self) -> QueryItem {
        let first = QueryItem::of(category(&self.categories[0])).types(self.types.clone());
        let item = self.categories[1..].iter().fold(first, |item, name| item.or_of(category(name)));
        self.tags.iter().fold(item, |item, text| item.tag(tag(text)))
    }
}

fn query(items: &[Item]) -> Query {
    let first = Query::from(items[0].query());
    items[1..].iter().fold(first, |query, item| query.or(item.query()))
}

/// How a writer holds its decision to what it has read.
#[derive(Clone, Copy)]
enum Holds {
    /// To the positions that the read has returned.
    ToEachCategory,
    /// To no condition.
    ToNothing,
}

async fn write(store: Store, writer: u64, seed: u64, holds: Holds) -> usize {
    let (mut random, mut refused) = (Random(seed ^ writer), 0);
    for number in 0..setting("MESSAGE_STORE_BOUNDARY_EVENTS").unwrap_or(30) {
        let items: Vec<Item> = (0..=random.below(2)).map(|_| Item::at_random(&mut random)).collect();
        let query = query(&items);
        let Matches { messages, looked_through, .. } = store.conditions().unwrap().all_matches(&query).await.unwrap();
        let last_seen = messages.last().map_or(0, |last| last.global_position.get());
        let tags = (0..random.below(3))
            .fold(Metadata::new(), |metadata, _| metadata.tag(tag(&format!("tag:{}", random.below(TAGS)))));
        let event = NewMessage::new(TYPES[random.below(3)], Json::encode(&Carried { items, last_seen }).unwrap());
        let stream = format!("{}-{writer}x{number}", CATEGORIES[random.below(3)]);
        let append = Append::to(StreamName::new(stream).unwrap()).message(event.with_metadata(&tags).unwrap());
        let request = match holds {
            Holds::ToEachCategory => AppendRequest::from(append).unless(query.after(looked_through)),
            Holds::ToNothing => append.into(),
        };
        match store.append(request).await {
            Ok(_) => {}
            Err(Error::ConditionFailed { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    refused
}

/// The events whose writers missed a match: one stands between the last that they saw and their event. Each pair is such an event and
/// a match.
fn missed(events: &[Message]) -> Vec<(GlobalPosition, GlobalPosition)> {
    let mut missed = Vec::new();
    for event in events {
        let Carried { items, last_seen } = event.decode_data().unwrap();
        let query = query(&items);
        let between =
            |other: &&Message| other.global_position.get() > last_seen && other.global_position < event.global_position;
        if let Some(found) = events.iter().filter(between).find(|other| query.matches(other)) {
            missed.push((event.global_position, found.global_position));
        }
    }
    missed
}

/// The number of events, of refusals, and of missed matches.
async fn history(store: &Store, holds: Holds) -> (usize, usize, usize) {
    let seed = setting("MESSAGE_STORE_BOUNDARY_SEED").unwrap_or_else(rand);
    println!("seed {seed}");
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(store), writer, seed, holds)));
    let refused = join_all(writers).await.into_iter().map(Result::unwrap).sum();
    let mut events = Vec::new();
    for name in CATEGORIES {
        events.append(&mut messages_of(store, name).await);
    }
    (events.len(), refused, missed(&events).len())
}

fn rand() -> u64 {
    u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() % u128::from(u64::MAX)).unwrap()
}

on_both_stores! {
    /// 64 writers, in MESSAGE_STORE_BOUNDARY_ROUNDS rounds.
    async fn of_64_writers_of_one_boundary_one_writes_in_each_of_many_rounds(store) {
        let rounds = setting("MESSAGE_STORE_BOUNDARY_ROUNDS").unwrap_or(20);
        let writers = writers_of_one_boundary(&*store, usize::try_from(rounds).unwrap()).await;
        assert!(writers.iter().all(|count| *count == 1), "{writers:?}");
    }

    async fn no_event_of_20_writers_misses_a_match(store) {
        let (events, refused, missed) = history(&store, Holds::ToEachCategory).await;
        println!("{events} events, {refused} refused");
        assert_eq!(missed, 0);
        assert!(events > 0 && refused > 0, "{events} events, {refused} refused");
    }

    async fn twin_writers_without_conditions_miss_matches(store) {
        assert!(history(&store, Holds::ToNothing).await.2 > 0);
    }

    /// Metadata of other programs, in any shape.
    async fn only_strings_in_the_array_of_tags_are_tags(store) {
        for (number, (metadata, is_found)) in [
            (r#"{"messageStore":{"tags":["a:1"]}}"#, true),
            (r#"{"messageStore":{"tags":["b",1,null,["c"],"a:1"]}}"#, true),
            (r#"{"messageStore":{"tags":"a:1"}}"#, false),
            (r#"{"messageStore":{"tags":[["a:1"]]}}"#, false),
            (r#"{"messageStore":{"tags":{"a:1":1}}}"#, false),
            (r#"{"messageStore":["tags","a:1"]}"#, false),
            (r#"{"tags":["a:1"]}"#, false),
            (r#"{"messageStore":{"deeper":{"tags":["a:1"]}}}"#, false),
            (r#"["a:1"]"#, false),
            (r#""tags""#, false),
        ].into_iter().enumerate() {
            let name = format!("shape{number}");
            put(&store, &format!("{name}-1"), "T", "{}", metadata).await;
            let query = || QueryItem::of(category(&name)).tag(tag("a:1"));
            let append = Append::to(StreamName::new("other-1").unwrap()).message(NewMessage::new("T", Json::NULL));
            let refused = store.append(AppendRequest::from(append).unless(query())).await;
            assert_eq!(matches!(refused, Err(Error::ConditionFailed { .. })), is_found, "{metadata}: {refused:?}");
            let found = store.conditions().unwrap().all_matches(&query().into()).await.unwrap();
            assert_eq!(found.messages.len(), usize::from(is_found), "{metadata}");
        }
    }

    async fn a_copy_of_a_message_keeps_its_tags(store) {
        let message = put(&store, "user-1", "T", "{}", r#"{"messageStore":{"tags":["a:1"]}}"#).await;
        assert_eq!(message.decode_metadata().tags, [tag("a:1")]);
        let followed = Metadata::follow(&message);
        assert!(followed.tags.is_empty(), "no other message inherits them");
        let category = category("user");
        let read = store.read_category(&category, Read::default()).await.unwrap();
        assert_eq!(read.messages[0].decode_metadata().to_json().unwrap(), message.metadata);
    }
}

/// Races on a store with a replaced function. Returns the greatest number of writers, of 64 with one boundary, that have written.
async fn race_with(sabotage: &[(&str, &str, &str)]) -> usize {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    for (function, sound, wrong) in sabotage {
        database.replace_in_function(function, sound, wrong).await;
    }
    writers_of_one_boundary(&*store, 5).await.into_iter().max().unwrap()
}

const END_OF_RUN: &str = "sees[last_append + 1] < first_append";

/// The writers of one process share a commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_conditions_that_do_not_see_the_appends_before_them_in_the_batch_let_several_writers_through() {
    assert!(race_with(&[("append_messages_unless", END_OF_RUN, "true")]).await > 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sabotage_that_changes_nothing_lets_one_writer_through() {
    assert_eq!(race_with(&[("append_messages_unless", END_OF_RUN, &format!("{END_OF_RUN} AND true"))]).await, 1);
}

/// The greatest number of sides of a pair that were written. Each is written to its own category, unless the other is
/// there, in a process of its own.
async fn sides_with(sound: &str, wrong: &str) -> usize {
    let database = TestDatabase::create().await;
    let [left, right] = [connect(database.url()).await.unwrap(), connect(database.url()).await.unwrap()];
    if sound != wrong {
        database.replace_in_function("append_messages_unless", sound, wrong).await;
    }
    let mut most = 0;
    for pair in 0..60 {
        let side = |store: &Store, own: &str, other: &str| {
            let store = Arc::clone(store);
            let append = Append::to(StreamName::new(format!("{own}-{pair}")).unwrap());
            let request = AppendRequest::from(append.message(NewMessage::new("Taken", Json::NULL)))
                .unless(QueryItem::of(category(other)).cardinal_id(pair.to_string()));
            tokio::spawn(async move { store.append(request).await })
        };
        let sides = [side(&left, "left", "right"), side(&right, "right", "left")];
        let written = join_all(sides).await.into_iter().filter(|side| side.as_ref().unwrap().is_ok()).count();
        most = most.max(written);
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_processes_that_each_exclude_the_other_one_writes() {
    assert_eq!(sides_with("", "").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_if_only_the_categories_of_the_append_are_locked_both_processes_write() {
    let sound = "message_store.categories_to_lock(stream_names, conditions)) IS NULL THEN";
    // A pause between the check and the commit makes the race certain enough.
    let wrong = "stream_names) IS NULL THEN PERFORM pg_sleep(0.005);";
    assert_eq!(sides_with(sound, wrong).await, 2);
}

/// The pages that the server reads to look for the matches of a condition in a category of 30,000 messages, when the
/// planner has no statistics.
async fn pages_read(part: &str) -> i64 {
    let database = TestDatabase::create().await;
    drop(connect(database.url()).await.unwrap());
    let fill = "ALTER TABLE message_store.messages SET (autovacuum_enabled = off); \
        INSERT INTO message_store.messages (id, stream_name, position, type, data, metadata, time) \
        SELECT gen_random_uuid(), 'user-' || n, 0, 'T', '{}', \
          jsonb_build_object('messageStore', jsonb_build_object('tags', jsonb_build_array('n:' || n))), now() \
        FROM generate_series(1, 30000) AS n";
    database.execute(fill).await;
    let client = message_store_tests::message_db::connect(database.url(), None).await;
    let look = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT message_store.matching('[{part}]', 1)");
    let mut pages = 0;
    for _ in 0..2 {
        // The first one also reads the catalogs.
        let rows = client.simple_query(&look).await.unwrap();
        let plan = rows.iter().find_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let plan: serde_json::Value = plan.unwrap().parse().unwrap();
        let blocks = |kind: &str| plan[0]["Plan"][kind].as_i64().unwrap();
        pages = blocks("Shared Hit Blocks") + blocks("Shared Read Blocks");
    }
    pages
}

#[tokio::test]
async fn a_condition_reads_few_pages_however_many_messages_there_are() {
    for part in [
        r#"{"category":"user","after":0,"tags":["n:7"]}"#,
        r#"{"category":"user","after":0,"cardinal_id":"7"}"#,
        r#"{"category":"user","after":9,"cardinal_id":"7","types":["U"]}"#,
        r#"{"category":"user","after":29950,"tags":["n:7"]}"#,
        r#"{"category":"user","after":29950}"#,
    ] {
        let pages = pages_read(part).await;
        assert!(pages < 200, "{pages} pages for {part}");
    }
}

/// The greatest position of all categories hides messages of a category that are still being written.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_one_position_for_all_categories_misses_matches_on_postgres() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    let mut client = message_store_tests::message_db::connect(database.url(), None).await;
    let query = Query::from(QueryItem::of(category("slow")).or_of(category("quick")));
    let slow = client.transaction().await.unwrap();
    let write = "SELECT message_store.write_message(gen_random_uuid()::varchar, 'slow-1', 'T', '{}')";
    slow.execute(write, &[]).await.unwrap();
    let quick = Append::to(StreamName::new("quick-1").unwrap()).message(NewMessage::new("T", Json::NULL));
    store.append(quick.into()).await.unwrap();
    let read = store.conditions().unwrap().all_matches(&query).await.unwrap();
    slow.commit().await.unwrap();
    let positions: HashMap<&str, GlobalPosition> =
        ["slow", "quick"].map(|name| (name, read.looked_through.of(&category(name)))).into();
    let mut refused = Vec::new();
    for after in [read.looked_through.clone(), positions["quick"].max(positions["slow"]).into()] {
        let append = Append::to(StreamName::new("other-1").unwrap()).message(NewMessage::new("T", Json::NULL));
        refused.push(store.append(AppendRequest::from(append).unless(query.clone().after(after))).await.is_err());
    }
    assert_eq!(refused, [true, false], "{positions:?}");
}
