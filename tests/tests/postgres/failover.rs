//! A failover that loses messages: decisions on the lost messages are not written.
//!
//! The servers are private clusters, so the tests need PostgreSQL's programs on this machine.
#![allow(missing_docs, clippy::unwrap_used)]

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use message_store::consumer::Consumer;
use message_store::operations::{Diagnosing, Trouble, TroubleKind};
use message_store::postgres::{PlantedBug, PostgresOptions, PostgresStore};
use message_store::service::{Service, ServiceReport};
use message_store::store::{ReadModel, SqlTransaction};
use message_store::{
    Append, AppendRequest, Category, Error, History, Json, Message, MessageStore, MessageStoreExt as _, NewMessage,
    Position, Source, StreamName, StreamRead, Version,
};
use message_store_tests::accounts::member;
use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::postgres::{LocalServer, Purpose, TestDatabase, programs_are_left_out};
use tokio::sync::Notify;
use tokio_postgres::NoTls;

/// The time-out for events that must happen.
const COMES: Duration = Duration::from_mins(2);

pub(crate) fn account() -> StreamName {
    StreamName::new("account-1").unwrap()
}

pub(crate) fn deposits(count: usize, version: Version) -> AppendRequest {
    let messages = (0..count).map(|_| NewMessage::new("Deposited", Json::NULL));
    Append::to(account()).expecting(version).messages(messages).into()
}

pub(crate) fn address(url: &str) -> String {
    let config: tokio_postgres::Config = url.parse().unwrap();
    format!("127.0.0.1:{}", config.get_ports()[0])
}

/// A store that is connected to its server through a proxy.
struct Scene {
    store: PostgresStore,
    proxy: CuttingProxy,
    /// The store's history before the failover.
    before: History,
}

impl Scene {
    /// The store writes three messages, and then two more that the standby does not have. The standby becomes the
    /// primary, and another process writes two other messages at the same positions. So the stream has the version that
    /// this process remembers.
    async fn after_a_failover(servers: &mut Vec<LocalServer>, bug: Option<PlantedBug>) -> Self {
        let primary = LocalServer::start(Purpose::Tests).await.unwrap();
        let proxy = CuttingProxy::start(address(primary.url()), "no mark").await;
        let mut options = PostgresOptions::from_url(&proxy.url(primary.url())).unwrap();
        if let Some(bug) = bug {
            options = options.plant(bug);
        }
        let store = options.open().await.unwrap();
        store.append(deposits(3, Version::NO_STREAM)).await.unwrap();
        let before = fail_over(&store, primary, &proxy, servers).await;
        Self { store, proxy, before }
    }

    /// The result of an append that was decided before the failover.
    async fn append_of_before(&self) -> Result<(), Error> {
        self.store.append(deposits(1, Version::at(Position::new(4))).in_history(self.before)).await.map(drop)
    }
}

/// A store has written three messages, and writes two more that the standby does not have. The standby becomes the
/// primary, and another process writes two other messages at the same positions. Returns the store's history before.
pub(crate) async fn fail_over(
    store: &PostgresStore,
    primary: LocalServer,
    proxy: &CuttingProxy,
    servers: &mut Vec<LocalServer>,
) -> History {
    fail_over_after(store, primary, proxy, servers, async || {}).await
}

/// The same, after something that the store does with the messages that will be lost.
async fn fail_over_after(
    store: &PostgresStore,
    primary: LocalServer,
    proxy: &CuttingProxy,
    servers: &mut Vec<LocalServer>,
    last_work: impl AsyncFnOnce(),
) -> History {
    let standby = primary.standby_of_now().await.unwrap();
    let before = store.history();
    store.append(deposits(2, Version::at(Position::new(2))).in_history(before)).await.unwrap();
    last_work().await;

    primary.stop().unwrap();
    standby.promote().unwrap();
    proxy.lead_to(address(standby.url()));
    let elsewhere = PostgresStore::open(standby.url()).await.unwrap();
    elsewhere.append(deposits(2, Version::at(Position::new(2)))).await.unwrap();
    servers.push(standby);
    before
}

/// Runs a test, and stops the servers at the end, even if the test panics.
pub(crate) async fn with_servers<T>(test: impl AsyncFnOnce(&mut Vec<LocalServer>) -> T) -> T {
    let mut servers = Vec::new();
    let result = AssertUnwindSafe(test(&mut servers)).catch_unwind().await;
    for server in servers {
        server.stop().unwrap();
    }
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_decided_before_a_failover_that_lost_messages_is_not_written() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    with_servers(async |servers| {
        let scene = Scene::after_a_failover(servers, None).await;
        let refused = scene.append_of_before().await;
        assert!(matches!(refused, Err(Error::HistoryChanged { .. })), "{refused:?}");
        assert_ne!(scene.store.history(), scene.before);
        assert_eq!(scene.store.version(&account()).await.unwrap().get(), 4);
        // A new decision is written, after the existing messages.
        let written = scene.store.append(deposits(1, Version::at(Position::new(4)))).await.unwrap();
        assert_eq!(written.written[0].position.get(), 5);
        assert_eq!(scene.proxy.cuts(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_history_is_ignored_what_was_decided_on_lost_messages_is_written() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    with_servers(async |servers| {
        let scene = Scene::after_a_failover(servers, Some(PlantedBug::HistoryIgnored)).await;
        scene.append_of_before().await.unwrap();
    })
    .await;
}

/// The standby is promoted, with all messages or without the last two, and others write. Returns what a diagnosis says of the
/// service whose store was open before.
async fn troubles_after_a_failover(is_behind: bool) -> Vec<Trouble> {
    with_servers(async |servers| {
        let primary = LocalServer::start(Purpose::Tests).await.unwrap();
        let proxy = CuttingProxy::start(address(primary.url()), "no mark").await;
        let store = Arc::new(PostgresStore::open(&proxy.url(primary.url())).await.unwrap());
        store.append(deposits(3, Version::NO_STREAM)).await.unwrap();
        if is_behind {
            fail_over(&store, primary, &proxy, servers).await;
        } else {
            store.append(deposits(2, Version::at(Position::new(2)))).await.unwrap();
            let standby = primary.standby_of_now().await.unwrap();
            primary.stop().unwrap();
            standby.promote().unwrap();
            proxy.lead_to(address(standby.url()));
            servers.push(standby);
        }
        read(&store).await;
        // The last position that was given out is not lower than before: it does not show the loss.
        assert!(store.given_out(None).await.unwrap().get() >= 5);
        let shared: Arc<dyn MessageStore> = store;
        let consumer = Consumer::new("account:command", member(&shared, None));
        let service = Service::new(&shared).report_every(Duration::from_millis(10)).consumer(consumer);
        let handle = service.start().await.unwrap();
        let reported = async {
            loop {
                let reports = shared.service_reports().unwrap().reports().await.unwrap();
                let reported = reports.iter().map(|saved| ServiceReport::of(saved).unwrap().history_change);
                if let Some(change) = reported.flatten().next() {
                    return change;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let change = tokio::time::timeout(COMES, reported).await.unwrap();
        assert!(change.reason.contains("timeline") && change.lost_at.is_some() == is_behind, "{change:?}");
        let troubles = Diagnosing::of(&shared).troubles().await.unwrap();
        handle.stop();
        handle.ended().await.unwrap();
        troubles
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_diagnosis_names_the_messages_that_a_failover_lost() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    let troubles = troubles_after_a_failover(true).await;
    let lost = troubles.iter().find(|trouble| trouble.kind == TroubleKind::MessagesLost).unwrap();
    assert!(lost.what.contains("global position 5") && lost.what.contains("timeline"), "{lost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_that_lost_nothing_is_no_trouble() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    assert_eq!(troubles_after_a_failover(false).await, []);
}

/// Collects the ids of the messages that it sees, in a table.
struct Seen;

#[async_trait]
impl ReadModel for Seen {
    fn name(&self) -> &'static str {
        "seen"
    }

    async fn apply(&self, transaction: &mut dyn SqlTransaction, message: &Message) -> Result<(), Source> {
        transaction.execute("CREATE TABLE IF NOT EXISTS seen (id UUID)", &[]).await?;
        let id = message.id.to_string();
        transaction.execute("INSERT INTO seen VALUES ($1::TEXT::UUID)", &[id.as_str().into()]).await?;
        Ok(())
    }
}

/// Is under way until it is told to go on.
#[derive(Default)]
struct Waits {
    begun: Notify,
    goes_on: Notify,
}

#[async_trait]
impl ReadModel for Waits {
    fn name(&self) -> &'static str {
        "waits"
    }

    async fn apply(&self, _: &mut dyn SqlTransaction, _: &Message) -> Result<(), Source> {
        self.begun.notify_one();
        self.goes_on.notified().await;
        Ok(())
    }
}

/// A read model has read its batch, and waits for its turn, when a failover loses two messages of the batch. Returns
/// the number of messages that it has seen and that are not in the store.
async fn lost_messages_seen_by_a_read_model(bug: Option<PlantedBug>) -> usize {
    with_servers(async |servers| {
        let primary = LocalServer::start(Purpose::Tests).await.unwrap();
        let proxy = CuttingProxy::start(address(primary.url()), "no mark").await;
        // With three connections, one read model has its turn at a time. A wake-up would be the last query of a session.
        let mut options = PostgresOptions::from_url(&proxy.url(primary.url())).unwrap();
        options = options.connections(3).notifications(false);
        if let Some(bug) = bug {
            options = options.plant(bug);
        }
        let store = Arc::new(options.open().await.unwrap());
        store.append(deposits(3, Version::NO_STREAM)).await.unwrap();
        let other = StreamName::new("other-1").unwrap();
        store.append_to(&other, Version::NO_STREAM, vec![NewMessage::new("Sent", Json::NULL)]).await.unwrap();

        let update = |model: Arc<dyn ReadModel>, category: &'static str| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let category = Category::new(category).unwrap();
                store.read_models().unwrap().update(&model, &category).await
            })
        };
        let seen: Arc<dyn ReadModel> = Arc::new(Seen);
        // The turn of its beginning is another one.
        store.read_models().unwrap().begin(&seen).await.unwrap();
        let waits = Arc::new(Waits::default());
        let under_way = update(waits.clone(), "other");
        waits.begun.notified().await;
        let (client, connection) = tokio_postgres::connect(primary.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let begin: String = client.query_one("SELECT clock_timestamp()::TEXT", &[]).await.unwrap().get(0);
        let has_read = async || {
            let sql = "SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'idle' \
                       AND query LIKE '%message_store.category(stream_name)%' AND query_start > $1::TEXT::TIMESTAMPTZ";
            client.query_one(sql, &[&begin]).await.unwrap().get::<_, bool>(0)
        };
        let reads = Cell::new(None);
        fail_over_after(&store, primary, &proxy, servers, async || {
            reads.set(Some(update(Arc::clone(&seen), "account")));
            let has_read = async { while !has_read().await {} };
            tokio::time::timeout(COMES, has_read).await.unwrap();
        })
        .await;
        waits.goes_on.notify_one();
        under_way.await.unwrap().unwrap_err();
        let _ = reads.take().unwrap().await.unwrap();
        let all_seen = async {
            while store.read_models().unwrap().update(&seen, &Category::new("account").unwrap()).await.is_err() {}
        };
        tokio::time::timeout(COMES, all_seen).await.unwrap();
        let (client, connection) = tokio_postgres::connect(servers[0].url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let there = "SELECT count(*), count(messages.id) FROM seen LEFT JOIN message_store.messages USING (id)";
        let row = client.query_one(there, &[]).await.unwrap();
        let (seen, there): (i64, i64) = (row.get(0), row.get(1));
        usize::try_from(seen - there).unwrap()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_model_sees_no_message_that_a_failover_lost() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    assert_eq!(lost_messages_seen_by_a_read_model(None).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_history_is_ignored_a_read_model_sees_messages_that_a_failover_lost() {
    if programs_are_left_out(&["pg_basebackup"]) {
        return;
    }
    assert_eq!(lost_messages_seen_by_a_read_model(Some(PlantedBug::HistoryIgnored)).await, 2);
}

/// A store on which this SQL has run. Its connections are closed afterwards.
async fn after(sql: &str) -> (TestDatabase, PostgresStore) {
    let database = TestDatabase::create().await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    store.append(deposits(3, Version::NO_STREAM)).await.unwrap();
    store.read_stream(&account(), StreamRead::default()).await.unwrap();
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    end_connections(&client).await;
    (database, store)
}

async fn end_connections(client: &tokio_postgres::Client) {
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name = 'message-store'";
    let all_ended = async { while client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0 {} };
    tokio::time::timeout(COMES, all_ended).await.unwrap();
}

/// Reads until a new connection has answered.
async fn read(store: &PostgresStore) {
    let reading = async { while store.version(&account()).await.is_err() {} };
    tokio::time::timeout(COMES, reading).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_were_lost_and_made_again_change_no_history() {
    let (_database, store) = after("SELECT 1").await;
    read(&store).await;
    assert_eq!(store.history(), History::default());
    store.append(deposits(1, Version::at(Position::new(2))).in_history(History::default())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_identity_of_the_store_is_another_history() {
    let (database, store) = after("UPDATE message_store.store_identity SET store_id = gen_random_uuid()").await;
    read(&store).await;
    assert_ne!(store.history(), History::default());
    assert_eq!(store.store_id(), PostgresStore::open(database.url()).await.unwrap().store_id());
    // The change is noticed once.
    let after = store.history();
    store.append(deposits(1, Version::at(Position::new(2))).in_history(after)).await.unwrap();
    assert_eq!(store.history(), after);
}

/// As a restore of a dump does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn positions_that_are_given_out_again_are_another_history() {
    let sql = "TRUNCATE message_store.messages; ALTER SEQUENCE message_store.messages_global_position_seq RESTART";
    let (_database, store) = after(sql).await;
    let refused = async {
        loop {
            match store.append(deposits(1, Version::NO_STREAM).in_history(History::default())).await {
                Err(Error::HistoryChanged { .. }) => return,
                Err(error) => assert!(error.is_transient(), "{error}"),
                Ok(written) => panic!("{written:?}"),
            }
        }
    };
    tokio::time::timeout(COMES, refused).await.unwrap();
    let written = store.append_to(&account(), Version::NO_STREAM, vec![NewMessage::new("Deposited", Json::NULL)]).await;
    assert_eq!(written.unwrap().written[0].global_position.get(), 1);
    assert_eq!(store.history(), History(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotating_the_identity_begins_another_history() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    store.append(deposits(3, Version::NO_STREAM)).await.unwrap();
    store.rotate_store_id().await.unwrap();
    let refused = store.append(deposits(1, Version::at(Position::new(2))).in_history(History::default())).await;
    assert!(matches!(refused, Err(Error::HistoryChanged { .. })), "{refused:?}");
    store.append(deposits(1, Version::at(Position::new(2)))).await.unwrap();
    assert_eq!(store.history(), History(1));
}

/// A role that may read messages, but not the identifiers of a history, can use the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_role_that_may_not_ask_for_the_history_is_served() {
    let database = TestDatabase::create().await;
    let role = format!("reader_{}", std::process::id());
    database
        .execute(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA message_store TO {role}; \
             GRANT SELECT ON message_store.messages, message_store.store_identity, message_store.schema_history TO {role}; \
             REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"
        ))
        .await;
    let store = PostgresStore::open(&format!("{}?options=-c%20role%3D{role}", database.url())).await.unwrap();
    assert_eq!(store.version(&account()).await.unwrap(), Version::NO_STREAM);
    assert_eq!(store.history(), History::default());
    drop(store);
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
