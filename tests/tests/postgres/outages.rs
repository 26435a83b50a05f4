//! Outages of PostgreSQL: consumers and senders go on after them, and nothing is lost or doubled.
//!
//! `MESSAGE_STORE_OUTAGE_SECONDS` sets how long each outage lasts (default 1). With `--nocapture`, the tests print the
//! time from the end of each outage to the first message that is handled.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use message_store::consumer::{Consumer, ConsumerHandle};
use message_store::postgres::{PlantedBug, PostgresOptions};
use message_store::testing::FaultyStore;
use message_store::{Append, AppendRequest, Error, GlobalPosition, MessageStore, NewMessage, StreamName};
use message_store_tests::accounts::{Command, balance, member};
use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::on_both_stores;
use message_store_tests::postgres::{End, LocalServer, Purpose, servers_are_left_out};
use message_store_tests::random::setting;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls};

type Store = Arc<dyn MessageStore>;

const ACCOUNTS: u64 = 8;
/// The time-out for events that must happen.
const COMES: Duration = Duration::from_mins(3);
/// The time within which the server must answer, in the short form.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Outages from this length on are measured with the default of that time.
const LONG: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Stopped(End),
    /// The processes of all sessions are killed. The server restarts by itself.
    SessionsKilled,
    PortRefused,
    ConnectionsCut,
    /// Connections pass nothing on, and do not end.
    Silence,
    ReadOnly,
    NoConnectionLeft,
    /// The operator lets nobody into the database.
    DatabaseClosed,
    /// The operator lets the role log in no more.
    RoleClosed,
    /// The operator takes the right to connect away.
    ConnectRevoked,
}

const KINDS: [Kind; 12] = [
    Kind::Stopped(End::Fast),
    Kind::Stopped(End::Immediate),
    Kind::Stopped(End::Kill),
    Kind::SessionsKilled,
    Kind::PortRefused,
    Kind::ConnectionsCut,
    Kind::Silence,
    Kind::ReadOnly,
    Kind::NoConnectionLeft,
    Kind::DatabaseClosed,
    Kind::RoleClosed,
    Kind::ConnectRevoked,
];

/// A server, a proxy before it, and a consumer and senders that reach the server through the proxy.
struct Scene {
    server: LocalServer,
    proxy: CuttingProxy,
    component: Store,
    sender: Store,
    sent: Arc<Sent>,
}

impl Scene {
    async fn new(bug: Option<PlantedBug>, answer_within: Option<Duration>) -> Self {
        let server = LocalServer::start(Purpose::Tests).await.unwrap();
        let config: tokio_postgres::Config = server.url().parse().unwrap();
        let proxy = CuttingProxy::start(format!("127.0.0.1:{}", config.get_ports()[0]), "no mark").await;
        // The limits of a superuser would not count.
        let sql = "CREATE ROLE app LOGIN CREATEROLE";
        administrator(&server).await.batch_execute(sql).await.unwrap();
        administrator(&server).await.batch_execute("CREATE DATABASE store OWNER app").await.unwrap();
        let url = proxy.url(server.url()).replace("postgres@", "app@").replace("/postgres", "/store");
        let open = async || {
            let mut options = PostgresOptions::from_url(&url).unwrap();
            if let Some(time) = answer_within {
                options = options.answer_within(time);
            }
            if let Some(bug) = bug {
                options = options.plant(bug);
            }
            let store: Store = Arc::new(options.open().await.unwrap());
            store
        };
        let (component, sender) = (open().await, open().await);
        Self { server, proxy, component, sender, sent: Arc::default() }
    }

    async fn start_consumer(&self) -> ConsumerHandle {
        Consumer::new("account:command", member(&self.component, None))
            .concurrency(4)
            .save_after(10, Duration::from_millis(50))
            .start(&self.component)
            .await
            .unwrap()
    }

    /// Sends one deposit, and repeats it until an answer arrives.
    async fn send(&self) {
        send(&self.sender, &self.sent).await;
    }

    async fn begin(&mut self, kind: Kind) {
        match kind {
            Kind::Stopped(end) => self.server.end(end).unwrap(),
            Kind::SessionsKilled => kill_sessions(&self.server).await,
            Kind::PortRefused => {
                self.proxy.refuse();
                self.proxy.cut();
            }
            Kind::ConnectionsCut => self.proxy.cut(),
            Kind::Silence => {
                self.proxy.refuse();
                self.proxy.silence();
            }
            Kind::ReadOnly => set_read_only(&self.server, true).await,
            Kind::NoConnectionLeft => {
                limit_connections(&self.server, 0).await;
                kill_sessions(&self.server).await;
            }
            Kind::DatabaseClosed => {
                command(&self.server, "ALTER DATABASE store ALLOW_CONNECTIONS false").await;
                kill_sessions(&self.server).await;
            }
            Kind::RoleClosed => {
                command(&self.server, "ALTER ROLE app NOLOGIN").await;
                kill_sessions(&self.server).await;
            }
            Kind::ConnectRevoked => {
                command(&self.server, "REVOKE CONNECT ON DATABASE store FROM app, PUBLIC").await;
                kill_sessions(&self.server).await;
            }
        }
    }

    async fn end(&mut self, kind: Kind) {
        match kind {
            Kind::Stopped(_) => self.server.resume().await.unwrap(),
            Kind::SessionsKilled | Kind::ConnectionsCut => {}
            Kind::PortRefused | Kind::Silence => self.proxy.accept(),
            Kind::ReadOnly => set_read_only(&self.server, false).await,
            Kind::NoConnectionLeft => limit_connections(&self.server, -1).await,
            Kind::DatabaseClosed => command(&self.server, "ALTER DATABASE store ALLOW_CONNECTIONS true").await,
            Kind::RoleClosed => command(&self.server, "ALTER ROLE app LOGIN").await,
            Kind::ConnectRevoked => command(&self.server, "GRANT CONNECT ON DATABASE store TO app, PUBLIC").await,
        }
    }

    async fn deposits(&self) -> u64 {
        let mut sum = 0;
        for account in 0..ACCOUNTS {
            sum += balance(&self.sender, &account.to_string()).await;
        }
        sum
    }

    /// Waits until every deposit that was sent has been handled.
    async fn until_handled(&self, consumer: &mut ConsumerHandle) -> Result<(), Error> {
        consumer.wait_for(GlobalPosition::new(self.sent.last.load(Ordering::SeqCst))).await
    }
}

/// The deposits that were sent.
#[derive(Default)]
struct Sent {
    count: AtomicU64,
    last: AtomicI64,
}

async fn send(store: &Store, sent: &Sent) {
    let account = sent.count.fetch_add(1, Ordering::SeqCst) % ACCOUNTS;
    let stream = StreamName::new(format!("account:command-{account}")).unwrap();
    let deposit = NewMessage::from_variant(&Command::Deposit { amount: 1 }).unwrap();
    let request: AppendRequest = Append::to(stream).message(deposit).into();
    loop {
        match store.append(request.clone()).await {
            Ok(appended) => {
                sent.last.fetch_max(appended.written[0].global_position.get(), Ordering::SeqCst);
                return;
            }
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn administrator(server: &LocalServer) -> Client {
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn kill_sessions(server: &LocalServer) {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'message-store'";
    let pids = administrator(server).await.query(sql, &[]).await.unwrap();
    for pid in pids {
        // A session may have ended with another one.
        let _ = std::process::Command::new("kill").args(["-9", &pid.get::<_, i32>(0).to_string()]).output().unwrap();
    }
}

async fn set_read_only(server: &LocalServer, on: bool) {
    let client = administrator(server).await;
    client.batch_execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {on}")).await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
}

/// The server restarts after its sessions were killed.
async fn command(server: &LocalServer, sql: &str) {
    while try_execute(server, sql).await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
}

async fn limit_connections(server: &LocalServer, limit: i32) {
    command(server, &format!("ALTER ROLE app CONNECTION LIMIT {limit}")).await;
}

async fn try_execute(server: &LocalServer, sql: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(sql).await
}

fn seconds() -> Duration {
    Duration::from_secs(setting("MESSAGE_STORE_OUTAGE_SECONDS").unwrap_or(1))
}

async fn goes_on_after(kind: Kind, is_busy: bool, scene: &mut Scene, consumer: &mut ConsumerHandle) {
    scene.send().await;
    scene.until_handled(consumer).await.unwrap();
    assert_eq!(consumer.outage(), None);

    let sending = is_busy.then(|| {
        let (store, sent, ends) =
            (Arc::clone(&scene.sender), Arc::clone(&scene.sent), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&ends);
        let task = tokio::spawn(async move {
            while !until.load(Ordering::SeqCst) {
                send(&store, &sent).await;
            }
        });
        (task, ends)
    });
    scene.begin(kind).await;
    sleep(seconds()).await;
    let outage = consumer.outage();
    scene.end(kind).await;
    let ended = Instant::now();
    let handled = consumer.counts().messages();
    if let Some((task, ends)) = sending {
        while consumer.counts().messages() == handled {
            sleep(Duration::from_millis(5)).await;
        }
        println!("{kind:?}, busy: first message handled after {:?}", ended.elapsed());
        ends.store(true, Ordering::SeqCst);
        task.await.unwrap();
    } else {
        scene.send().await;
        scene.until_handled(consumer).await.unwrap();
        println!("{kind:?}, idle: first message handled after {:?}", ended.elapsed());
    }
    scene.until_handled(consumer).await.unwrap();
    assert_eq!(scene.deposits().await, scene.sent.count.load(Ordering::SeqCst), "{kind:?}");
    while consumer.outage().is_some() {
        sleep(Duration::from_millis(5)).await;
    }
    if matches!(kind, Kind::Stopped(_) | Kind::PortRefused) {
        let error = outage.expect("an outage was under way").error;
        println!("{kind:?}: {error}");
    }
}

async fn all_kinds(is_busy: bool) {
    if servers_are_left_out() {
        return;
    }
    let mut scene = Scene::new(None, (seconds() < LONG).then_some(ANSWER_WITHIN)).await;
    let mut consumer = scene.start_consumer().await;
    for kind in KINDS {
        timeout(COMES + seconds(), goes_on_after(kind, is_busy, &mut scene, &mut consumer)).await.unwrap();
    }
    let _ = consumer.stop().await.unwrap();
    scene.server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_busy_consumer_and_its_sender_go_on_after_every_kind_of_outage() {
    all_kinds(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_idle_consumer_goes_on_after_every_kind_of_outage() {
    all_kinds(false).await;
}

/// Returns whether the work goes on after the connections went silent.
async fn goes_on_after_silence(bug: Option<PlantedBug>) -> bool {
    let scene = Scene::new(bug, Some(Duration::from_millis(200))).await;
    let mut consumer = scene.start_consumer().await;
    scene.send().await;
    scene.until_handled(&mut consumer).await.unwrap();
    scene.proxy.silence();
    let again = timeout(Duration::from_secs(10), async {
        scene.send().await;
        scene.until_handled(&mut consumer).await.unwrap();
    });
    let goes_on = again.await.is_ok();
    drop(consumer);
    scene.server.stop().unwrap();
    goes_on
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_are_silent_for_ever_are_replaced() {
    assert!(servers_are_left_out() || goes_on_after_silence(None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_where_silence_is_waited_out_the_work_stands() {
    assert!(servers_are_left_out() || !goes_on_after_silence(Some(PlantedBug::SilenceIsWaitedOut)).await);
}

/// A consumer of a store that is away from now on, and the position of a command that it has not handled.
async fn away(store: &Store, limit: Option<Duration>) -> (Arc<FaultyStore>, ConsumerHandle, Sent) {
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    let consumer = Consumer::new("account:command", member(&shared, None)).identifier("away");
    let consumer = match limit {
        Some(limit) => consumer.outage_limit(limit),
        None => consumer,
    };
    let consumer = consumer.start(&shared).await.unwrap();
    faulty.set_unavailable(true);
    let sent = Sent::default();
    send(store, &sent).await;
    while consumer.outage().is_none() && limit.is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    (faulty, consumer, sent)
}

on_both_stores! {
    async fn a_consumer_waits_while_the_store_is_away_and_shows_it(store) {
        let (faulty, mut consumer, sent) = away(&store, None).await;
        let outage = consumer.outage().unwrap();
        assert!(outage.error.contains("does not answer"), "{outage}");
        // Longer than a few retries.
        sleep(Duration::from_secs(3)).await;
        assert_eq!(consumer.outage().unwrap().since, outage.since);
        faulty.set_unavailable(false);
        consumer.wait_for(GlobalPosition::new(sent.last.load(Ordering::SeqCst))).await.unwrap();
        assert_eq!(balance(&store, "0").await, 1);
        // Other calls of the consumer, such as the one that reads its letters, may still wait for their next try.
        timeout(COMES, async {
            while consumer.outage().is_some() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }

    async fn twin_where_an_outage_has_a_limit_the_consumer_ends_with_its_error(store) {
        let (_faulty, mut consumer, sent) = away(&store, Some(Duration::from_millis(300))).await;
        let error = consumer.wait_for(GlobalPosition::new(sent.last.load(Ordering::SeqCst))).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("does not answer"), "{error}");
    }

    async fn a_consumer_can_be_stopped_during_an_outage(store) {
        let (faulty, consumer, sent) = away(&store, None).await;
        let error = timeout(COMES, consumer.stop()).await.unwrap().unwrap_err();
        assert!(error.is_transient(), "{error}");
        faulty.set_unavailable(false);
        let mut next = Consumer::new("account:command", member(&store, None)).identifier("away").start(&store).await.unwrap();
        next.wait_for(GlobalPosition::new(sent.last.load(Ordering::SeqCst))).await.unwrap();
        assert_eq!(balance(&store, "0").await, 1);
    }
}
