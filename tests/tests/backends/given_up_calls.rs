//! Callers that give up: no other caller waits for the statements that they left on a connection.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use message_store::postgres::{PlantedBug, PostgresOptions, PostgresStore};
use message_store::store::{Claim, ReadModel, SqlTransaction, Window};
use message_store::{
    Append, Category, Json, Key, Message, MessageId, MessageStore as _, NewMessage, Read, Source, StreamName,
};
use message_store_tests::postgres::TestDatabase;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

/// The time-out for events that must happen.
const COMES: Duration = Duration::from_mins(2);
/// The time to wait for events that must not happen.
const NEVER_COMES: Duration = Duration::from_secs(1);
/// More callers than connections of any kind.
const CALLERS: usize = 20;

/// Counts the statements of the store that wait for a lock.
const WAITS: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND application_name = 'message-store' AND wait_event_type = 'Lock'";
/// Counts those that have waited longer than a batch of a shared lane waits.
const WAITS_FOR_LONG: &str = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE datname = current_database() \
                              AND application_name = 'message-store' AND waitstart < clock_timestamp() - interval '200 ms'";

/// A store, and another session that locks objects that the store needs.
struct Scene {
    database: TestDatabase,
    store: Arc<PostgresStore>,
    bug: Option<PlantedBug>,
    foreign: Client,
}

impl Scene {
    /// Opens the store, and runs this SQL in the other session, which keeps its locks.
    async fn locking(sql: &str, pool_size: usize, bug: Option<PlantedBug>) -> Self {
        let database = TestDatabase::create().await;
        let mut options =
            PostgresOptions::from_url(database.url()).unwrap().reading_connections(pool_size).notifications(false);
        if let Some(bug) = bug {
            options = options.plant(bug);
        }
        let store = Arc::new(options.open().await.unwrap());
        store.append(append("other-1").into()).await.unwrap();
        let foreign = connect(&database).await;
        foreign.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
        Self { database, store, bug, foreign }
    }

    async fn locking_a_category(pool_size: usize, bug: Option<PlantedBug>) -> Self {
        Self::locking("SELECT message_store.acquire_lock('slow-1')", pool_size, bug).await
    }

    async fn unlock(&self) {
        self.foreign.batch_execute("ROLLBACK").await.unwrap();
    }

    /// Waits until enough statements of the store wait for a lock. Returns whether that happened in time.
    async fn until_waiting(&self, within: Duration, is_enough: impl Fn(i64) -> bool) -> bool {
        self.until(within, WAITS, is_enough).await
    }

    async fn until(&self, within: Duration, sql: &str, is_enough: impl Fn(i64) -> bool) -> bool {
        let observer = connect(&self.database).await;
        let until = async {
            while !is_enough(observer.query_one(sql, &[]).await.unwrap().get(0)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(within, until).await.is_ok()
    }

    /// Runs many callers, one after the other. The statement of each waits for a lock, and the caller then gives up.
    async fn give_up(&self, call: impl Fn(usize) -> JoinHandle<()>) {
        for number in 0..CALLERS {
            let caller = call(number);
            assert!(self.until_waiting(COMES, |waiting| waiting > 0).await, "caller {number} waits for no lock");
            caller.abort();
            assert!(caller.await.unwrap_err().is_cancelled());
            if self.bug.is_none() {
                assert!(self.until_waiting(COMES, |waiting| waiting == 0).await, "what caller {number} left goes on");
            }
        }
    }

    /// Whether an append to another category, reads, look-ups and `Once` succeed.
    async fn others_go_through(&self) -> bool {
        let others = async {
            self.store.append(append("other-2").into()).await.unwrap();
            join_all((0..20).map(|number| self.store.append(append(&format!("more{number}-1")).into())))
                .await
                .into_iter()
                .for_each(|appended| drop(appended.unwrap()));
            let read = self.store.read_category(&category("other"), Read::default()).await.unwrap();
            assert!(self.store.message(read.messages[0].id).await.unwrap().is_some());
            assert_eq!(
                self.store
                    .deduplication()
                    .unwrap()
                    .append_once(&claim("other"), vec![append("other-3")].into(), Json::NULL)
                    .await
                    .unwrap(),
                None
            );
        };
        self.within(others).await
    }

    async fn within(&self, work: impl Future<Output = ()>) -> bool {
        let within = if self.bug.is_some() { NEVER_COMES } else { COMES };
        tokio::time::timeout(within, work).await.is_ok()
    }
}

async fn connect(database: &TestDatabase) -> Client {
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn append(stream: &str) -> Append {
    Append::to(StreamName::new(stream).unwrap()).message(NewMessage::new("Deposited", Json::NULL))
}

fn category(name: &str) -> Category {
    Category::new(name).unwrap()
}

fn claim(key: &str) -> Claim {
    Claim::new("tests", Key::new(key).unwrap(), "", Window::default())
}

async fn appends(bug: Option<PlantedBug>) -> bool {
    let scene = Scene::locking_a_category(1, bug).await;
    let call = |number| {
        let store = Arc::clone(&scene.store);
        tokio::spawn(async move { drop(store.append(append(&format!("slow-{number}")).into()).await) })
    };
    scene.give_up(call).await;
    scene.others_go_through().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_that_were_given_up_keep_no_other_waiting() {
    assert!(appends(None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_abandoned_connections_stay_appends_wait_behind_those_that_were_given_up() {
    assert!(!appends(Some(PlantedBug::AbandonedConnectionsStay)).await);
}

async fn keys(pool_size: usize, bug: Option<PlantedBug>) -> bool {
    let scene = Scene::locking_a_category(pool_size, bug).await;
    let call = |number| {
        let store = Arc::clone(&scene.store);
        let claim = claim(&format!("slow {number}"));
        tokio::spawn(async move {
            drop(store.deduplication().unwrap().append_once(&claim, vec![append("slow-1")].into(), Json::NULL).await);
        })
    };
    scene.give_up(call).await;
    scene.others_go_through().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_that_were_given_up_keep_no_other_waiting_for_the_only_connection() {
    assert!(keys(1, None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_that_were_given_up_keep_no_other_waiting_for_one_of_two_connections() {
    assert!(keys(2, None).await);
}

/// Statements on the table of messages wait; the table of keys is not locked.
async fn reads(bug: Option<PlantedBug>, looks_up: bool) -> bool {
    let scene = Scene::locking("LOCK TABLE message_store.messages IN ACCESS EXCLUSIVE MODE", 1, bug).await;
    let call = |_| {
        let store = Arc::clone(&scene.store);
        tokio::spawn(async move {
            if looks_up {
                drop(store.message(MessageId::new()).await);
            } else {
                drop(store.read_category(&category("other"), Read::default()).await);
            }
        })
    };
    scene.give_up(call).await;
    scene
        .within(async {
            assert!(scene.store.deduplication().unwrap().record(&claim("other")).await.unwrap().is_none());
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_that_were_given_up_keep_no_other_waiting() {
    assert!(reads(None, false).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_abandoned_connections_stay_others_wait_behind_reads_that_were_given_up() {
    assert!(!reads(Some(PlantedBug::AbandonedConnectionsStay), false).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn look_ups_that_were_given_up_keep_no_other_waiting() {
    assert!(reads(None, true).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_abandoned_connections_stay_others_wait_behind_look_ups_that_were_given_up() {
    assert!(!reads(Some(PlantedBug::AbandonedConnectionsStay), true).await);
}

struct Totals;

#[async_trait]
impl ReadModel for Totals {
    fn name(&self) -> &'static str {
        "totals"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        transaction.query("SELECT message_store.acquire_lock('slow-1')", &[]).await?;
        Ok(())
    }
}

async fn read_models(bug: Option<PlantedBug>) -> bool {
    let scene = Scene::locking_a_category(2, bug).await;
    let call = |_| {
        let store = Arc::clone(&scene.store);
        tokio::spawn(async move {
            let totals: Arc<dyn ReadModel> = Arc::new(Totals);
            drop(store.read_models().unwrap().update(&totals, &category("other")).await);
        })
    };
    scene.give_up(call).await;
    scene.others_go_through().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_of_a_read_model_that_were_given_up_keep_no_other_waiting() {
    assert!(read_models(None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_abandoned_connections_stay_others_wait_behind_updates_that_were_given_up() {
    assert!(!read_models(Some(PlantedBug::AbandonedConnectionsStay)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_goes_on_when_one_of_its_callers_gives_up() {
    let scene = Scene::locking_a_category(1, None).await;
    let send = |number: usize| {
        let store = Arc::clone(&scene.store);
        tokio::spawn(async move { store.append(append(&format!("slow-{number}")).into()).await })
    };
    // One append alone, and then some that share a batch.
    let alone = send(0);
    assert!(scene.until_waiting(COMES, |waiting| waiting == 1).await);
    let mut sharing: Vec<_> = (1..10).map(send).collect();
    assert!(scene.until(COMES, WAITS_FOR_LONG, |waiting| waiting >= 2).await);
    let gone = sharing.remove(4);
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    scene.unlock().await;
    for caller in sharing.into_iter().chain([alone]) {
        assert!(!caller.await.unwrap().unwrap().already_written);
    }
}

/// Whether the server cancels a batch whose callers have all gone.
async fn is_abandoned_batch_cancelled(bug: Option<PlantedBug>) -> bool {
    let scene = Scene::locking_a_category(1, bug).await;
    let callers: Vec<_> = (0..10)
        .map(|number| {
            let store = Arc::clone(&scene.store);
            tokio::spawn(async move { store.append(append(&format!("slow-{number}")).into()).await })
        })
        .collect();
    // The append that was alone, and the batch of the others, after it has its own lane.
    assert!(scene.until(COMES, WAITS_FOR_LONG, |waiting| waiting >= 2).await);
    callers.iter().for_each(JoinHandle::abort);
    for caller in callers {
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    scene.until_waiting(if bug.is_some() { NEVER_COMES } else { COMES }, |waiting| waiting == 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_is_cancelled_when_all_of_its_callers_give_up() {
    assert!(is_abandoned_batch_cancelled(None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_abandoned_batches_go_on_the_server_works_for_no_caller() {
    assert!(!is_abandoned_batch_cancelled(Some(PlantedBug::AbandonedBatchesGoOn)).await);
}
