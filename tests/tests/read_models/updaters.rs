//! Updaters in a service: they follow, build, take over from each other, and stop.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::Updater;
use message_store::service::{Service, ServiceHandle};
use message_store::store::{OnApplyFailure, VersionState};
use message_store::{Error, MessageStore, connect};
use message_store_tests::expire::AgeingStore;
use message_store_tests::on_both_stores;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::sums::{Fails, Sums, deposit, mails, read_models, seen, states};
use tokio::time::{sleep, timeout};

type Store = Arc<dyn MessageStore>;

const COMES: Duration = Duration::from_mins(2);

async fn start(store: &Store, versions: &[u32]) -> ServiceHandle {
    let service = versions.iter().fold(Service::new(store), |service, version| {
        service.read_model(Updater::new("account", Sums::version(*version)).batch(2))
    });
    service.start().await.unwrap()
}

async fn stop(handle: ServiceHandle) {
    handle.stop();
    timeout(COMES, handle.ended()).await.unwrap().unwrap();
}

async fn until(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_true().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(COMES, waiting).await.unwrap_or_else(|_| panic!("it is not true: {what}"));
}

on_both_stores! {
    async fn a_service_keeps_a_read_model_up_to_date(store) {
        deposit(&store, 1..=3).await;
        let handle = start(&store, &[1]).await;
        assert_eq!(seen(&store).await.len() % 2, 0, "its tables are there from the start");
        for amount in 4..=9 {
            let position = deposit(&store, [amount]).await;
            read_models(&store).wait_for("sums", position, COMES).await.unwrap();
            assert_eq!(seen(&store).await, [amount * (amount + 1) / 2, 1]);
        }
        assert!(handle.health().is_ready && handle.health().under_way.is_empty());
        let status = &handle.read_models()[0];
        assert_eq!((status.name(), status.version(), status.progress().state), ("sums", 1, VersionState::Serving));
        stop(handle).await;
    }

    async fn a_service_builds_a_new_version_while_commands_come_and_switches(store) {
        let old = start(&store, &[1]).await;
        deposit(&store, 1..=40).await;
        // In a rolling deployment, the old release runs on.
        let new = start(&store, &[2]).await;
        let mut last = deposit(&store, 41..=60).await;
        until("version 2 serves", async || states(&store).await.contains(&(2, "serving".to_owned()))).await;
        last = last.max(deposit(&store, 61..=80).await);
        read_models(&store).wait_for("sums", last, COMES).await.unwrap();
        assert_eq!(seen(&store).await, [80 * 81 / 2, 2]);
        assert_eq!(mails(&store).await, (1..=80).collect::<Vec<_>>());
        until("the old one stands by", async || old.read_models()[0].progress().state == VersionState::StandsBy).await;
        assert!(old.health().is_ready, "that is no fault: {}", old.health());
        stop(new).await;
        stop(old).await;
    }

    async fn one_process_can_run_both_versions(store) {
        deposit(&store, 1..=40).await;
        let handle = start(&store, &[1, 2]).await;
        until("version 2 serves", async || states(&store).await.contains(&(2, "serving".to_owned()))).await;
        let last = deposit(&store, [41]).await;
        read_models(&store).wait_for("sums", last, COMES).await.unwrap();
        assert_eq!(seen(&store).await, [41 * 42 / 2, 2]);
        stop(handle).await;
    }

    async fn a_message_that_cannot_be_applied_ends_the_service_and_its_health_names_it(store) {
        let failing = Updater::new("account", Sums::version(1).failing(Fails::Apply(2)));
        let handle = Service::new(&store).read_model(failing).start().await.unwrap();
        deposit(&store, 1..=3).await;
        let error = timeout(COMES, handle.ended()).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("account-1/1"), "{error}");
        let health = handle.health();
        assert!(!health.is_live && health.to_string().contains("account-1/1"), "{health}");
        // With the other policy, it goes on.
        let skipping = Updater::new("account", Sums::version(1).failing(Fails::Apply(2))).on_failure(OnApplyFailure::Skip);
        let handle = Service::new(&store).read_model(skipping).start().await.unwrap();
        let last = deposit(&store, [4]).await;
        read_models(&store).wait_for("sums", last, COMES).await.unwrap_or_else(|error| {
            // The earlier stop may still be recorded.
            assert!(matches!(error, Error::ReadModelStopped { .. }), "{error}");
        });
        until("it goes on", async || seen(&store).await == [8, 1]).await;
        assert_eq!(read_models(&store).skipped("sums").await.unwrap().len(), 1);
        stop(handle).await;
    }

    async fn a_build_is_under_way_and_no_reason_to_be_not_ready(store) {
        deposit(&store, 1..=9).await;
        read_models(&store).update(&Sums::version(1).shared(), &message_store_tests::sums::account()).await.unwrap();
        // The build cannot end.
        let failing = Updater::new("account", Slow(Sums::version(2)));
        let handle = Service::new(&store).read_model(failing).drain_within(Duration::from_millis(50)).start().await.unwrap();
        let health = handle.health();
        assert!(health.is_ready && health.to_string().contains("version 2 of the read model sums is built"), "{health}");
        handle.stop();
        // It does not wait longer than its deadline.
        timeout(COMES, handle.ended()).await.unwrap().unwrap();
        assert_eq!(seen(&store).await, [45, 1]);
    }
}

/// Never applies a message.
struct Slow(Sums);

#[async_trait::async_trait]
impl message_store::store::ReadModel for Slow {
    fn name(&self) -> &'static str {
        "sums"
    }

    fn version(&self) -> u32 {
        2
    }

    async fn create(
        &self,
        transaction: &mut dyn message_store::store::SqlTransaction,
    ) -> Result<(), message_store::Source> {
        self.0.create(transaction).await
    }

    async fn apply(
        &self,
        _: &mut dyn message_store::store::SqlTransaction,
        _: &message_store::Message,
    ) -> Result<(), message_store::Source> {
        std::future::pending().await
    }
}

/// Two processes run the same service. One is dropped, as in a crash.
async fn taken_over(place: AgeingStore) {
    let (one, other) = (connect(&place.url()).await.unwrap(), connect(&place.url()).await.unwrap());
    let updater = || Updater::new("account", Sums::version(1)).batch(3);
    let (first, second) = (updater().start(&one).await.unwrap(), updater().start(&other).await.unwrap());
    let last = deposit(&one, 1..=20).await;
    read_models(&other).wait_for("sums", last, COMES).await.unwrap();
    drop(first);
    let last = deposit(&one, 21..=40).await;
    read_models(&other).wait_for("sums", last, COMES).await.unwrap();
    assert_eq!(seen(&other).await, [40 * 41 / 2, 1]);
    assert_eq!(mails(&other).await, (1..=40).collect::<Vec<_>>());
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_updater_goes_on_where_another_process_has_ended() {
    taken_over(AgeingStore::postgres().await).await;
    taken_over(AgeingStore::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_updater_waits_out_an_outage() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    let handle = start(&store, &[1]).await;
    let last = deposit(&store, 1..=3).await;
    read_models(&store).wait_for("sums", last, COMES).await.unwrap();
    // The tables of the store are locked, and all connections are ended.
    let lock = message_store_tests::message_db::connect(database.url(), None).await;
    lock.batch_execute("BEGIN; LOCK TABLE message_store.read_models IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let last = deposit(&store, 4..=4).await;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { read_models(&store).wait_for("sums", last, COMES).await }
    });
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%read_model%'";
    let mut ended = 0;
    until("the updater has an outage, and the caller that waits had one", async || {
        ended += lock.query_one(end, &[]).await.unwrap().get::<_, i64>(0);
        handle.read_models()[0].outage().is_some() && ended > 10
    })
    .await;
    assert!(!handle.health().is_ready && handle.health().is_live, "{}", handle.health());
    lock.batch_execute("COMMIT").await.unwrap();
    waiting.await.unwrap().unwrap();
    let last = deposit(&store, 5..=6).await;
    read_models(&store).wait_for("sums", last, COMES).await.unwrap();
    assert_eq!(seen(&store).await, [21, 1]);
    until("it is ready again", async || handle.health().is_ready).await;
    stop(handle).await;
}
