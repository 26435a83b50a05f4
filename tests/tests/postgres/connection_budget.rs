//! The budget of connections: it is kept, and with the smallest one nothing waits for ever.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use message_store::connect;
use message_store::postgres::{PlantedBug, PostgresOptions, PostgresStore};
use message_store_tests::accounts::send_deposits;
use tokio::time::{sleep, timeout};

use crate::everything::{Store, database, update_read_models, use_all};

const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'message-store' AND pid <> pg_backend_pid()";

/// The most sessions of a store with this budget at one time.
async fn most_sessions(budget: Option<usize>) -> i64 {
    let database = database().await;
    let url = match budget {
        Some(budget) => format!("{}?connections={budget}", database.url()),
        None => database.url().to_owned(),
    };
    let store = connect(&url).await.unwrap();
    let (most, is_over) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let counting = tokio::spawn({
        let (most, is_over, url) = (Arc::clone(&most), Arc::clone(&is_over), database.url().to_owned());
        async move {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
            let _driver = tokio::spawn(connection);
            while !is_over.load(Ordering::SeqCst) {
                most.fetch_max(client.query_one(SESSIONS, &[]).await.unwrap().get(0), Ordering::SeqCst);
                sleep(Duration::from_millis(5)).await;
            }
        }
    });
    timeout(Duration::from_mins(2), use_all(&store)).await.expect("nothing waits for ever");
    is_over.store(true, Ordering::SeqCst);
    counting.await.unwrap();
    most.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_has_at_most_ten_connections_by_default() {
    let most = most_sessions(None).await;
    assert!((5..=10).contains(&most), "{most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_six_connections_a_member_of_a_group_needs_no_more() {
    let most = most_sessions(Some(6)).await;
    assert!(most <= 6, "{most}");
}

/// (The member of the elastic group has a fourth.)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_three_connections_nothing_waits_for_ever() {
    let most = most_sessions(Some(3)).await;
    assert!(most <= 4, "{most}");
}

async fn updates_end(bug: Option<PlantedBug>) -> bool {
    let database = database().await;
    let mut options = PostgresOptions::from_url(database.url()).unwrap().connections(3);
    if let Some(bug) = bug {
        options = options.plant(bug);
    }
    let store: PostgresStore = options.open().await.unwrap();
    let store: Store = Arc::new(store);
    send_deposits(&store, "account:command", "1", 1).await;
    timeout(Duration::from_secs(10), update_read_models(&store, 4)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn read_models_that_ask_the_store_leave_a_connection_for_the_answer() {
    assert!(updates_end(None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_when_read_models_take_all_connections_they_wait_for_each_other() {
    assert!(!updates_end(Some(PlantedBug::ReadModelsTakeAllConnections)).await);
}
