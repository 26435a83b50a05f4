//! The budget of connections: it is kept, and with the smallest one nothing waits for ever.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use message_store::consumer::{Consumer, ElasticGroup, OnFailure, Process};
use message_store::intents::Once;
use message_store::postgres::{PlantedBug, PostgresOptions, PostgresStore};
use message_store::store::{ReadModel, SqlTransaction};
use message_store::{
    Append, Category, Error, Json, Key, Message, MessageStore, NewMessage, Source, StreamName, connect,
};
use message_store_tests::accounts::{balance, messages_of, send_deposits};
use message_store_tests::marked::Marked;
use message_store_tests::postgres::TestDatabase;
use tokio::time::{sleep, timeout};

type Store = Arc<dyn MessageStore>;

const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'message-store' AND pid <> pg_backend_pid()";

/// Counts the commands of each account. Its code asks the store.
struct Asks {
    name: String,
    store: Store,
}

#[async_trait]
impl ReadModel for Asks {
    fn name(&self) -> &str {
        &self.name
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        // So that all read models have their connections before the first asks.
        sleep(Duration::from_millis(20)).await;
        let found = self.store.message(message.id).await?;
        assert!(found.is_some());
        transaction
            .execute(
                "INSERT INTO seen (model, id) VALUES ($1, $2)",
                &[self.name.as_str().into(), message.id.to_string().into()],
            )
            .await?;
        Ok(())
    }
}

/// Updates these many read models at once.
async fn update_read_models(store: &Store, count: usize) {
    let updates = (0..count).map(|number| {
        let store = Arc::clone(store);
        async move {
            let model: Arc<dyn ReadModel> =
                Arc::new(Asks { name: format!("model{number}"), store: Arc::clone(&store) });
            let category = Category::new("account:command").unwrap();
            store.read_models().unwrap().update(&model, &category).await.unwrap();
        }
    });
    join_all(updates).await;
}

/// Pays once for each of these keys. The work asks the store.
async fn pay(store: &Store, count: usize) {
    let once = Once::new(store, "payments").unwrap();
    let calls = (0..count).map(|number| {
        let (once, store) = (&once, Arc::clone(store));
        async move {
            let stream = StreamName::new(format!("payment-{number}")).unwrap();
            let work = async || {
                assert!(store.last_message(&stream, None).await?.is_none());
                Ok::<_, Error>((vec![Append::to(stream.clone()).message(NewMessage::new("Paid", Json::NULL))], number))
            };
            let _ = once.run(&Key::new(number.to_string()).unwrap(), &Json::NULL, work).await.unwrap();
        }
    });
    join_all(calls).await;
}

/// Everything that uses connections, at once.
async fn use_all(store: &Store) {
    let handler = Marked::new(store, None);
    let consumer = |identifier: &str| {
        let consumer = Consumer::new("account:command", handler.clone()).identifier(identifier).concurrency(16);
        consumer.on_failure(OnFailure::Park).in_process(&Process::default())
    };
    let mut member = consumer("g").elastic_group(ElasticGroup::new()).start(store).await.unwrap();
    let sending = (0..40).map(|account| {
        let store = Arc::clone(store);
        tokio::spawn(async move { send_deposits(&store, "account:command", &account.to_string(), 5).await })
    });
    let sending = sending.collect::<Vec<_>>();
    pay(store, 40).await;
    for sent in sending {
        sent.await.unwrap();
    }
    update_read_models(store, 4).await;
    let last = messages_of(store, "account:command").await.last().unwrap().global_position;
    member.wait_for(last).await.unwrap();
    let _ = member.stop().await.unwrap();
    for account in 0..40 {
        assert_eq!(balance(store, &account.to_string()).await, 5);
    }
    assert_eq!(messages_of(store, "payment").await.len(), 40);
}

async fn database() -> TestDatabase {
    let database = TestDatabase::create().await;
    database.execute("CREATE TABLE seen (model text, id text)").await;
    database
}

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
