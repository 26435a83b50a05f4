//! Reads of categories from a standby: it gives what it has, and only the primary says that a category ends.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use message_store::consumer::Consumer;
use message_store::operations::{Diagnosing, TroubleKind};
use message_store::postgres::{PlantedBug, PostgresOptions, PostgresStore, check};
use message_store::service::Service;
use message_store::store::StandbyReads;
use message_store::{
    Append, Category, Error, GlobalPosition, Json, Message, MessageStore, MessageStoreExt as _, NewMessage, Read,
    StreamName,
};
use message_store_tests::accounts::{balance, member, send_deposits};
use message_store_tests::postgres::{End, LocalServer, Pair, Purpose, Standby, programs_are_left_out};
use tokio::time::timeout;

use crate::failover::with_servers;

/// The time-out for events that must happen.
const COMES: Duration = Duration::from_mins(1);
/// More than the interval of the reports.
const PATIENCE: Duration = Duration::from_millis(200);

type Store = Arc<dyn MessageStore>;

async fn open(url: &str, bug: Option<PlantedBug>) -> Store {
    let mut options = PostgresOptions::from_url(&format!("{url}&category_reads=standby")).unwrap();
    if let Some(bug) = bug {
        options = options.plant(bug);
    }
    Arc::new(options.open().await.unwrap())
}

async fn deposit(store: &Store, count: usize) -> GlobalPosition {
    let messages = (0..count).map(|_| NewMessage::new("Deposited", Json::NULL));
    let append = Append::to(StreamName::new("account-1").unwrap()).messages(messages);
    store.append(append.into()).await.unwrap().written[count - 1].global_position
}

async fn all(store: &Store) -> Vec<Message> {
    store.category_messages(&Category::new("account").unwrap(), Read::default()).try_collect().await.unwrap()
}

async fn reads(store: &Store) -> StandbyReads {
    store.service_reports().unwrap().standby_reads().await.unwrap()
}

/// The standby has 2,000 messages, and lacks the last 20. Returns what a reader of the category finds, and from where.
async fn replay(bug: Option<PlantedBug>) -> (usize, StandbyReads) {
    let pair = Pair::start(Standby::Synchronous).await.unwrap();
    let store = open(&pair.url(), bug).await;
    for _ in 0..4 {
        deposit(&store, 500).await;
    }
    all_carried_out(&pair).await;
    pair.primary_does_not_wait().await.unwrap();
    pair.hold_back().await.unwrap();
    deposit(&store, 20).await;
    let found = all(&store).await;
    assert!(found.is_sorted_by_key(|message| message.global_position));
    let reads = reads(&store).await;
    pair.stop().unwrap();
    (found.len(), reads)
}

/// Waits until the standby shows what the primary shows.
async fn all_carried_out(pair: &Pair) {
    let primary: Store = Arc::new(PostgresStore::open(pair.primary.url()).await.unwrap());
    let carried_out = async {
        let standby: Store = loop {
            // The schema itself reaches the standby late.
            if let Ok(standby) = PostgresStore::open(pair.standby.url()).await {
                break Arc::new(standby);
            }
        };
        while all(&standby).await.len() < all(&primary).await.len() {}
    };
    timeout(COMES, carried_out).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_standby_that_is_behind_gives_what_it_has_and_the_primary_the_rest() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let (found, reads) = replay(None).await;
    assert_eq!(found, 2_020);
    assert!(reads.from_standby >= 2 && reads.from_primary >= 1, "{reads:?}");
    assert!(reads.bytes_behind.is_some_and(|bytes| bytes > 0) && reads.away_since.is_none(), "{reads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_a_category_ends_where_the_standby_ends_messages_are_not_found() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    assert_eq!(replay(Some(PlantedBug::StandbyEndsCategories)).await.0, 2_000);
}

/// The poll interval is longer than the test: without a read of the primary, the consumer would sleep after its wake-up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_consumer_that_is_woken_finds_the_message_that_the_standby_does_not_have() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let pair = Pair::start(Standby::Asynchronous).await.unwrap();
    let store = open(&pair.url(), None).await;
    send_deposits(&store, "account:command", "1", 3).await;
    pair.hold_back().await.unwrap();
    let consumer = Consumer::new("account:command", member(&store, None)).poll_interval(Duration::from_hours(1));
    let mut consumer = consumer.start(&store).await.unwrap();
    for _ in 0..5 {
        let sent = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        timeout(COMES, consumer.wait_for(sent.global_position)).await.expect("it is handled").unwrap();
    }
    let _ = consumer.stop().await.unwrap();
    assert_eq!(balance(&store, "1").await, 8);
    pair.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_standby_is_away_the_primary_serves_and_reports_say_so() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let mut pair = Pair::start(Standby::Asynchronous).await.unwrap();
    let url = format!("{}&category_reads=standby", pair.url());
    let store = open(&pair.url(), None).await;
    assert!(store.describe().contains("standby"), "{}", store.describe());
    deposit(&store, 3).await;
    let item = async || {
        let report = check(&url).await.unwrap();
        report.findings.into_iter().find(|finding| finding.what.starts_with("category reads")).unwrap()
    };
    all_carried_out(&pair).await;
    let serves = item().await;
    assert!(serves.problem.is_none() && serves.what.contains(&pair.standby.port().to_string()), "{serves:?}");

    pair.standby.end(End::Immediate).unwrap();
    assert_eq!(all(&store).await.len(), 3);
    let away = reads(&store).await;
    assert!(away.away_since.is_some() && away.reason.is_some() && away.bytes_behind.is_none(), "{away:?}");
    assert!(item().await.problem.is_some());
    let consumer = Consumer::new("account:command", member(&store, None));
    let service = Service::new(&store).report_every(Duration::from_millis(10)).consumer(consumer);
    let handle = service.start().await.unwrap();
    let named = async {
        loop {
            let troubles = Diagnosing::of(&store).patience(PATIENCE).troubles().await.unwrap();
            if let Some(found) = troubles.into_iter().find(|trouble| trouble.kind == TroubleKind::StandbyAway) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let named = timeout(COMES, named).await.unwrap();
    assert!(named.what.contains("primary") && named.mend.contains("category_reads"), "{named}");
    handle.stop();
    handle.ended().await.unwrap();

    pair.standby.resume().await.unwrap();
    let back = async { while reads(&store).await.away_since.is_some() {} };
    timeout(COMES, back).await.expect("the standby serves again");
    pair.stop().unwrap();
}

/// Two messages reach only the standby that is not promoted. Returns the number of messages that a reader finds after the
/// failover.
async fn found_after_a_failover_beside_a_standby_with_lost_messages(bug: Option<PlantedBug>) -> usize {
    with_servers(async |servers| {
        let mut primary = LocalServer::start(Purpose::Tests).await.unwrap();
        let store = PostgresStore::open(primary.url()).await.unwrap();
        let store: Store = Arc::new(store);
        deposit(&store, 3).await;
        let behind = primary.standby_of_now().await.unwrap();
        let ahead = primary.standby(Purpose::Tests).await.unwrap();
        let ports = [primary.port(), behind.port(), ahead.port()].map(|port| format!("127.0.0.1:{port}"));
        let url = format!("postgres://postgres@{}/postgres?target_session_attrs=read-write", ports.join(","));
        let store = open(&url, bug).await;
        deposit(&store, 2).await;
        let standby: Store = Arc::new(PostgresStore::open(ahead.url()).await.unwrap());
        let ahead_has_all = async { while all(&standby).await.len() < 5 {} };
        timeout(COMES, ahead_has_all).await.unwrap();
        primary.end(End::Immediate).unwrap();
        behind.promote().unwrap();
        servers.extend([behind, ahead, primary]);
        let failed_over = async { while store.version(&StreamName::new("account-1").unwrap()).await.is_err() {} };
        timeout(COMES, failed_over).await.unwrap();
        all(&store).await.len()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_standby_that_has_messages_which_a_failover_lost_is_not_read() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    assert_eq!(found_after_a_failover_beside_a_standby_with_lost_messages(None).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_a_standby_of_any_history_is_read_lost_messages_are_found() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let bug = Some(PlantedBug::StandbysOfAnyHistory);
    assert_eq!(found_after_a_failover_beside_a_standby_with_lost_messages(bug).await, 5);
}

#[tokio::test]
async fn a_url_with_one_host_has_no_standby_to_read_from() {
    let error = PostgresStore::open("postgres://127.0.0.1:1/store?category_reads=standby").await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains("hosts"), "{error}");
}
