//! The plans of appends, look-ups and reads. A connection keeps a plan that it made while the table was small, so that plan must
//! also be right for a large table.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use futures_util::future::try_join_all;
use message_store::postgres::{PlantedBug, PostgresOptions};
use message_store::store::{QueryItem, TimerQuery};
use message_store::testing::fire_timers;
use message_store::{
    Append, AppendRequest, Category, Filter, GlobalPosition, GroupMember, Json, MessageStore, Metadata, NewMessage,
    Read, StreamName, StreamRead, Tag, connect,
};
use message_store_tests::message_db::connect as client;
use message_store_tests::postgres::TestDatabase;

fn append(stream: &str, messages: usize) -> Append {
    let messages = (0..messages).map(|_| NewMessage::new("T", Json::NULL));
    Append::to(StreamName::new(stream).unwrap()).messages(messages)
}

/// Appends with conditions of each kind, alone and together. Returns the number of messages that were written.
async fn conditional(store: &dyn MessageStore, round: i64) -> i64 {
    let category = || QueryItem::of(Category::new("none").unwrap());
    let tag = |text: &str| Tag::new(text).unwrap();
    let items = || {
        let after = GlobalPosition::new(if round % 2 == 0 { 0 } else { 5 });
        [
            category().tag(tag("a:1")).after(after),
            category().tag(tag("a:1")).tag(tag("a:2")).types(["T"]).cardinal_id("1").after(after),
            category().cardinal_id("1").after(after),
            category().types(["T"]).after(after),
        ]
    };
    for condition in items() {
        let _ = store.conditions().unwrap().matches(&condition, 10).await.unwrap();
        store.append(AppendRequest::from(append("conditional-1", 1)).unless(condition)).await.unwrap();
    }
    let together = items().into_iter().map(|condition| {
        let tagged = NewMessage::new("T", Json::NULL).with_metadata(&Metadata::new().tag(tag("b:1"))).unwrap();
        store.append(AppendRequest::from(append("conditional-2", 1).message(tagged)).unless(condition))
    });
    try_join_all(together).await.unwrap();
    12
}

/// The number of times that the server read the whole table for appends and look-ups of a new store, after a
/// preparation.
async fn whole_reads(preparation: &str) -> i64 {
    let database = TestDatabase::create().await;
    let store: Arc<dyn MessageStore> = connect(database.url()).await.unwrap();
    database.execute(preparation).await;
    let mut written = 0;
    for round in 0..12_i64 {
        let alone = append("alone-1", 1);
        store.append(alone.clone().into()).await.unwrap();
        assert!(store.append(alone.into()).await.unwrap().already_written);
        let together = (0..24).map(|number| store.append(append(&format!("c-{number}"), 1).into()));
        try_join_all(together).await.unwrap();
        let several = [append("a-1", 3), append(&format!("b-{round}"), 2)];
        store.append(several.to_vec().into()).await.unwrap();
        assert!(store.append(several.to_vec().into()).await.unwrap().already_written);
        written += 30;
        let ids = several.iter().flat_map(|append| &append.messages).map(|message| message.id);
        let ids: Vec<_> = ids.collect();
        try_join_all(ids.iter().map(|id| store.message(*id))).await.unwrap();
        store.written_by("a", &ids).await.unwrap();
        written += conditional(&*store, round).await;
    }
    // A connection reports its statistics when it is closed.
    drop(store);
    let client = client(database.url(), None).await;
    loop {
        let statistics = "SELECT n_tup_ins, seq_scan FROM pg_stat_user_tables \
                          WHERE relid = 'message_store.messages'::regclass";
        let row = client.query_one(statistics, &[]).await.unwrap();
        if row.get::<_, i64>(0) >= written {
            return row.get(1);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_and_look_ups_never_read_the_whole_table() {
    assert_eq!(whole_reads("").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_an_append_that_compares_its_ids_with_all_ids_reads_the_whole_table() {
    let sabotage = "DO $$ DECLARE definition text; joined text; BEGIN \
                      SELECT pg_get_functiondef('message_store.place_messages'::regproc) INTO definition; \
                      joined := replace(definition, 'WHERE (SELECT true FROM message_store.messages m WHERE m.id = n.id)', \
                        'WHERE n.id IN (SELECT m.id FROM message_store.messages m WHERE m.time > now() - interval ''1 day'' OFFSET 0)'); \
                      ASSERT joined <> definition; EXECUTE joined; END $$";
    assert!(whole_reads(sabotage).await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_conditions_that_plan_freely_read_the_whole_table() {
    let free = "ALTER FUNCTION message_store.matching RESET enable_seqscan; \
                ALTER FUNCTION message_store.matching SET enable_seqscan = on; \
                ALTER FUNCTION message_store.matching SET enable_bitmapscan = off";
    assert!(whole_reads(free).await > 0);
}

/// The number of times that the server read the whole table for reads of a new store. Each of the bugs is planted in a
/// store of its own.
async fn whole_reads_by_readers(bugs: [Option<PlantedBug>; 2]) -> i64 {
    const ROUNDS: i64 = 12;
    let database = TestDatabase::create().await;
    let (stream, category) = (StreamName::new("c-1").unwrap(), Category::new("c").unwrap());
    let mut filters = vec![Filter::default(), Filter::default().message_types(["T"])];
    filters.push(Filter::default().member(GroupMember::new(0, 2).unwrap()));
    filters.push(Filter::default().correlation(category.clone()));
    let mut reads = 0;
    for bug in bugs {
        // One connection makes its plans while the table is empty, and keeps them.
        let mut options = PostgresOptions::from_url(database.url()).unwrap().reading_connections(1);
        if let Some(bug) = bug {
            options = options.plant(bug);
        }
        let store = options.open().await.unwrap();
        for _ in 0..ROUNDS {
            for read in [StreamRead::default(), StreamRead::backwards()] {
                store.read_stream(&stream, read).await.unwrap();
            }
            for filter in &filters {
                let read = Read::default().filter(filter.clone());
                drop(store.read_category(&category, read.clone()).await.unwrap());
                drop(store.read_all(read).await.unwrap());
            }
            store.last_message(&stream, None).await.unwrap();
            store.last_message(&stream, Some("T")).await.unwrap();
            store.version(&stream).await.unwrap();
            reads += 13;
        }
        store.append(append("c-1", 100).into()).await.unwrap();
        // A plan for the statistics of a small table is kept as well.
        database.execute("ANALYZE message_store.messages").await;
    }
    let client = client(database.url(), None).await;
    loop {
        let statistics = "SELECT seq_scan, seq_scan + idx_scan FROM pg_stat_user_tables \
                          WHERE relid = 'message_store.messages'::regclass";
        let row = client.query_one(statistics, &[]).await.unwrap();
        if row.get::<_, i64>(1) >= reads {
            return row.get(0);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_never_read_the_whole_table() {
    // By either statement.
    assert_eq!(whole_reads_by_readers([None, Some(PlantedBug::LargeRowsEverywhere)]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_sessions_that_plan_freely_read_the_whole_table() {
    assert!(whole_reads_by_readers([Some(PlantedBug::ReadsPlanFreely); 2]).await > 0);
}

/// Fires this many timers, and then lists those that are due a hundred times. Returns the number of times that the server read
/// the whole table, and the number of entries of the index that it read for the lists.
async fn reads_of_lists(timers: usize) -> (i64, i64) {
    let database = TestDatabase::create().await;
    let set = format!(
        "INSERT INTO message_store.timers (stream, name, due_at, to_stream, id, type)
         SELECT 'order-' || n, 'reminder', now() + CASE WHEN n = 0 THEN interval '1 hour' ELSE interval '0' END,
           'order:command-' || n % 100, gen_random_uuid(), 'Remind'
         FROM generate_series(0, {timers}) AS n"
    );
    let statistics = "SELECT coalesce(seq_scan, 0), coalesce((SELECT idx_tup_read FROM pg_stat_user_indexes \
                        WHERE indexrelname = 'timers_due_at'), 0), coalesce(idx_scan, 0) \
                      FROM pg_stat_user_tables WHERE relid = 'message_store.timers'::regclass";
    let client = client(database.url(), None).await;
    let open = async || PostgresOptions::from_url(database.url()).unwrap().open().await.unwrap();
    // A connection reports its statistics when it is closed.
    let settled = async || loop {
        let row = client.query_one(statistics, &[]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let again = client.query_one(statistics, &[]).await.unwrap();
        if (row.get::<_, i64>(1), row.get::<_, i64>(2)) == (again.get(1), again.get(2)) {
            return (again.get::<_, i64>(0), again.get::<_, i64>(1));
        }
    };
    let store = open().await;
    database.execute(&set).await;
    assert_eq!(fire_timers(&store).await, timers);
    drop(store);
    let (_, before) = settled().await;
    let store = open().await;
    for _ in 0..100 {
        let due = TimerQuery::new().due_within(std::time::Duration::ZERO);
        assert!(store.timers().unwrap().list(due).await.unwrap().is_empty());
    }
    drop(store);
    let (whole, after) = settled().await;
    (whole, after - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_that_have_fired_cost_the_next_list_nothing() {
    let (whole, read) = reads_of_lists(5_000).await;
    // One list passes the entries of the removed rows, and marks them.
    assert!(whole == 0 && read < 3 * 5_000, "{whole} reads of the whole table, {read} entries for 100 lists");
}
