//! A diagnosis names what services on a server report: a full pool, and wake-ups that do not arrive.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::Consumer;
use message_store::operations::{Diagnosing, Trouble, TroubleKind};
use message_store::postgres::PostgresOptions;
use message_store::service::{Service, ServiceReport};
use message_store::testing::FaultyStore;
use message_store::{MessageId, MessageStore, connect};
use message_store_tests::accounts::{member, send_deposits};
use message_store_tests::postgres::TestDatabase;

type Store = Arc<dyn MessageStore>;

/// Less than the interval of the reports, and more than the time between a report and its look.
const PATIENCE: Duration = Duration::from_millis(200);

async fn until(store: &Store, kind: TroubleKind) -> Trouble {
    loop {
        let troubles = Diagnosing::of(store).patience(PATIENCE).troubles().await.unwrap();
        if let Some(found) = troubles.into_iter().find(|trouble| trouble.kind == kind) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_is_named() {
    let database = TestDatabase::create().await;
    let narrow: Store =
        Arc::new(PostgresOptions::from_url(database.url()).unwrap().connections(2).open().await.unwrap());
    let store = connect(database.url()).await.unwrap();
    let service = Service::new(&narrow).report_every(Duration::from_millis(10));
    let handle = service.consumer(Consumer::new("account:command", member(&narrow, None))).start().await.unwrap();
    let mut busy = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let narrow = Arc::clone(&narrow);
        busy.spawn(async move {
            loop {
                let _ = narrow.given_out(None).await;
                let _ = narrow.message(MessageId::new()).await;
            }
        });
    }
    let trouble = until(&store, TroubleKind::FullPool).await;
    assert!(trouble.mend.contains("connections"), "{trouble}");
    busy.shutdown().await;
    handle.stop();
    handle.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wake_ups_that_do_not_arrive_are_named() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    let faulty = FaultyStore::new(&store);
    faulty.lose_wake_ups();
    let deaf: Store = faulty.clone();
    let run = async |store: &Store| {
        let service = Service::new(store).report_every(Duration::from_millis(10));
        service.consumer(Consumer::new("account:command", member(store, None))).start().await.unwrap()
    };
    let handle = run(&deaf).await;
    for _ in 0..20 {
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        while handle.consumers()[0].handled_through() < deposit.global_position {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let trouble = until(&store, TroubleKind::NoWakeUps).await;
    assert!(trouble.what.contains("account:command+position") && trouble.mend.contains("pooler"), "{trouble}");
    handle.stop();
    handle.ended().await.unwrap();
    // Twin: where wake-ups arrive, it is none.
    let handle = run(&store).await;
    for _ in 0..20 {
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        while handle.consumers()[0].handled_through() < deposit.global_position {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let reports = store.service_reports().unwrap();
    loop {
        let report = ServiceReport::of(&reports.reports().await.unwrap()[0]).unwrap();
        if report.consumers.first().is_some_and(|consumer| consumer.found_after_wake_ups > 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(Diagnosing::of(&store).troubles().await.unwrap(), []);
    handle.stop();
    handle.ended().await.unwrap();
}
