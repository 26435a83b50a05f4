//! Conditions that take long, or lock much, fail no other append that shares their batch; and queries of odd forms.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use message_store::postgres::{PlantedBug, PostgresOptions};
use message_store::store::{Claim, QueryItem, Window};
use message_store::{
    Append, AppendRequest, Appended, Category, Error, GlobalPosition, Json, Key, MessageStore, NewMessage, Result,
    StreamName, connect,
};
use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::on_both_stores;
use message_store_tests::postgres::{LocalServer, Purpose, TestDatabase, servers_are_left_out};

type Store = Arc<dyn MessageStore>;

fn category(name: &str) -> Category {
    Category::new(name).unwrap()
}

fn one(stream: &str) -> AppendRequest {
    Append::to(StreamName::new(stream).unwrap()).message(NewMessage::new("T", Json::NULL)).into()
}

async fn open(url: &str, answer_within: Duration, bug: Option<PlantedBug>) -> Store {
    let mut options = PostgresOptions::from_url(url).unwrap().answer_within(answer_within);
    if let Some(bug) = bug {
        options = options.plant(bug);
    }
    Arc::new(options.open().await.unwrap())
}

/// Returns how many of 100 disjoint appends at once are written. Each of their conditions takes long, so those of a first
/// batch take longer than one statement may. Every tenth append has no condition. The tests have one thread, so that all
/// appends wait when the first batch is made.
async fn written_with_slow_conditions(bug: Option<PlantedBug>) -> usize {
    let database = TestDatabase::create().await;
    let store = open(database.url(), Duration::from_secs(2), bug).await;
    // Slow on every machine: a condition takes a fortieth of the time that a statement may.
    let slow = "CREATE FUNCTION public.slow(text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN true; END';
        GRANT EXECUTE ON FUNCTION public.slow TO PUBLIC;";
    database.execute(slow).await;
    database
        .replace_in_function(
            "matches",
            "WHERE p.tags IS NULL AND p.cardinal_id IS NULL;",
            "WHERE p.tags IS NULL AND p.cardinal_id IS NULL AND public.slow(p.category);",
        )
        .await;
    let append = async |number: usize| -> Result<Appended> {
        let request = one(&format!("d{number}-1"));
        let unless = QueryItem::of(category("user")).types(["U"]);
        store.append(if number.is_multiple_of(10) { request } else { request.unless(unless) }).await
    };
    join_all((0..100).map(append)).await.iter().filter(|appended| appended.is_ok()).count()
}

#[tokio::test]
async fn conditions_that_take_long_together_are_checked_in_parts() {
    assert_eq!(written_with_slow_conditions(None).await, 100);
}

#[tokio::test]
async fn twin_conditions_that_time_out_together_fail_the_others_too() {
    assert!(written_with_slow_conditions(Some(PlantedBug::ConditionsTimeOutTogether)).await < 100);
}

/// Returns how many of 512 disjoint appends at once are written. The conditions of ten of them name more categories than the
/// server has locks, and the first batch has more appends than that.
async fn written_with_many_locks(bug: Option<PlantedBug>) -> usize {
    let server = LocalServer::start(Purpose::FewLocks).await.unwrap();
    let store = open(server.url(), Duration::from_secs(25), bug).await;
    let append = async |number: usize| -> Result<Appended> {
        let mut item = QueryItem::of(category(&format!("c{number}")));
        if number.is_multiple_of(2) {
            item = (1..100).fold(item, |item, other| item.or_of(category(&format!("c{number}x{other}"))));
        }
        store.append(one(&format!("d{number}-1")).unless(item)).await
    };
    join_all((0..512).map(append)).await.iter().filter(|appended| appended.is_ok()).count()
}

#[tokio::test]
async fn a_batch_that_needs_more_locks_than_the_server_has_is_sent_in_halves() {
    if !servers_are_left_out() {
        assert_eq!(written_with_many_locks(None).await, 512);
    }
}

#[tokio::test]
async fn twin_when_it_is_not_halved_all_of_it_fails() {
    if !servers_are_left_out() {
        let written = written_with_many_locks(Some(PlantedBug::FullLockTablesConcernAll)).await;
        assert!(written < 512, "all of them");
    }
}

/// The server falls silent, and the call has a limit of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_read_model_ends_in_its_time_when_the_server_is_silent() {
    let database = TestDatabase::create().await;
    let config: tokio_postgres::Config = database.url().parse().unwrap();
    let proxy = CuttingProxy::start(format!("127.0.0.1:{}", config.get_ports()[0]), "no mark").await;
    let store = open(&proxy.url(database.url()), Duration::from_hours(1), None).await;
    proxy.silence();
    let read_models = store.read_models().unwrap();
    let waited = read_models.wait_for("sums", GlobalPosition::new(1), Duration::from_millis(50));
    let waited = tokio::time::timeout(Duration::from_mins(2), waited).await.unwrap();
    assert!(waited.is_err_and(|error| error.is_transient()));
}

on_both_stores! {
    async fn no_message_has_a_cardinal_id_with_a_plus_sign(store) {
        store.append(one("a-1+x")).await.unwrap();
        for id in ["1+x", "1+", "+"] {
            let item = QueryItem::of(category("a")).cardinal_id(id);
            assert!(store.conditions().unwrap().all_matches(&item.clone().into()).await.unwrap().messages.is_empty(), "{id}");
            store.append(one("b-1").unless(item)).await.unwrap();
        }
        let refused = store.append(one("b-1").unless(QueryItem::of(category("a")).cardinal_id("1"))).await;
        assert!(matches!(refused, Err(Error::ConditionFailed { .. })), "{refused:?}");
    }

    async fn a_condition_of_no_append_is_invalid(store) {
        store.append(one("a-1")).await.unwrap();
        let claim = Claim::new("s", Key::new("k").unwrap(), "", Window::HANDLERS);
        let request = AppendRequest::from(Vec::<Append>::new()).unless(QueryItem::of(category("a")));
        let keys = store.deduplication().unwrap();
        let refused = keys.append_once(&claim, request.clone(), Json::NULL).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
        assert!(keys.record(&claim).await.unwrap().is_none(), "the key stays free");
        let refused = store.append(request).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }

    async fn a_query_for_a_text_that_no_message_has_is_invalid(store) {
        for item in [QueryItem::of(category("a")).types(["\0"]), QueryItem::of(category("a")).cardinal_id("1\0")] {
            let refused = store.append(one("b-1").unless(item.clone())).await;
            assert!(matches!(refused, Err(Error::Invalid { ref what, .. }) if what == "query"), "{refused:?}");
            let refused = store.conditions().unwrap().all_matches(&item.into()).await;
            assert!(matches!(refused, Err(Error::Invalid { ref what, .. }) if what == "query"), "{refused:?}");
        }
    }

    async fn the_messages_of_a_stream_without_a_category_are_found(store) {
        let nameless = StreamName::new("-x").unwrap();
        store.append(one("-x")).await.unwrap();
        let found = store.conditions().unwrap().all_matches(&QueryItem::of(nameless.category()).into()).await.unwrap();
        assert_eq!(found.messages.len(), 1);
    }
}

#[tokio::test]
async fn a_store_in_memory_answers_as_well() {
    let store = connect("sqlite::memory:").await.unwrap();
    store.append(one("a-1").unless(QueryItem::of(category("a")))).await.unwrap();
}
