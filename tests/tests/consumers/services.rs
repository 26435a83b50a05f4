//! Services: several consumers with one start, one health and one stop.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use message_store::consumer::{Consumer, ElasticGroup, Positions};
use message_store::handling::{Context, Handler};
use message_store::service::{Service, ServiceHandle};
use message_store::testing::FaultyStore;
use message_store::{Append, Error, Json, Message, MessageStore, NewMessage, Outcome, Source, StreamName};
use message_store_tests::accounts::{balance, member, send_deposits};
use message_store_tests::expire::AgeingStore;
use message_store_tests::on_both_stores;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

type Store = Arc<dyn MessageStore>;

/// The time-out for events that must happen.
const COMES: Duration = Duration::from_mins(2);

/// What a handler does with a message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Return,
    Fail,
    /// Waits until a request to stop, and then returns.
    WaitForStop,
    /// Never returns, but can be dropped.
    Hang,
    /// Never returns, and blocks its thread until the test ends.
    Block,
}

#[derive(Clone)]
struct Work {
    name: &'static str,
    does: Does,
    begun: Arc<Notify>,
    attempts: Arc<AtomicU32>,
    ends: Arc<AtomicBool>,
}

impl Work {
    fn new(name: &'static str, does: Does) -> Self {
        Self { name, does, begun: Arc::default(), attempts: Arc::default(), ends: Arc::default() }
    }

    fn consumer(&self) -> Consumer<Self> {
        Consumer::new("account:command", self.clone()).identifier(self.name)
    }
}

#[async_trait]
impl Handler for Work {
    fn name(&self) -> &'static str {
        self.name
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec![]
    }

    async fn handle(&self, _: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_one();
        match self.does {
            Does::Return => {}
            Does::Fail => return Err("a planted failure".into()),
            Does::WaitForStop => context.shutdown().unwrap().requested().await,
            Does::Hang => std::future::pending().await,
            Does::Block => {
                while !self.ends.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        Ok(Outcome::Ignored)
    }
}

async fn is_stopped(store: &Store, identifier: &str) -> bool {
    let positions = Positions::of(store, "account:command").unwrap();
    positions.get(Some(identifier), None).await.unwrap().is_stopped
}

async fn ended(handle: &ServiceHandle) -> Result<(), Error> {
    timeout(COMES, handle.ended()).await.unwrap()
}

on_both_stores! {
    async fn a_service_handles_messages_with_all_its_consumers_and_stops_them(store) {
        let _ = send_deposits(&store, "account:command", "1", 3).await;
        let audit = Work::new("audit", Does::Return);
        let accounts = Consumer::new("account:command", member(&store, None)).identifier("accounts");
        let handle = Service::new(&store).consumer(accounts).consumer(audit.consumer()).start().await.unwrap();
        let clone = handle.clone();
        assert_eq!((handle.health().is_live, handle.health().is_ready), (true, true));
        assert_eq!(handle.consumers().len(), 2);
        timeout(COMES, async {
            while handle.consumers().iter().any(|consumer| consumer.counts().messages() < 3) {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        assert_eq!((balance(&store, "1").await, audit.attempts.load(Ordering::SeqCst)), (3, 3));
        handle.stop();
        ended(&clone).await.unwrap();
        let health = clone.health();
        assert_eq!((health.is_live, health.is_ready), (false, false));
        assert!(health.to_string().contains("has ended"), "{health}");
        assert!(is_stopped(&store, "accounts").await && is_stopped(&store, "audit").await);
    }

    async fn when_one_consumer_ends_the_service_stops_the_others_and_returns_its_error(store) {
        let (failing, other) = (Work::new("failing", Does::Fail), Work::new("other", Does::Return));
        let service = Service::new(&store).consumer(other.consumer()).consumer(failing.consumer());
        let handle = service.start().await.unwrap();
        let _ = send_deposits(&store, "account:command", "1", 1).await;
        let error = ended(&handle).await.unwrap_err();
        assert!(error.to_string().contains("a planted failure"), "{error}");
        assert!(handle.health().to_string().contains("a planted failure"), "{}", handle.health());
        assert!(is_stopped(&store, "other").await && is_stopped(&store, "failing").await);
    }

    async fn when_one_consumer_does_not_start_those_that_have_started_are_stopped(store) {
        let work = Work::new("one", Does::Return);
        let wrong = Consumer::new("no-category", Work::new("two", Does::Return));
        let service = Service::new(&store).consumer(work.consumer()).consumer(wrong);
        let error = service.start().await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert!(is_stopped(&store, "one").await);
        let handle = Service::new(&store).consumer(work.consumer()).start().await.unwrap();
        handle.stop();
        ended(&handle).await.unwrap();
    }

    async fn an_outage_makes_a_service_unready_and_not_dead(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let handle = Service::new(&shared).consumer(Work::new("one", Does::Return).consumer()).start().await.unwrap();
        faulty.set_unavailable(true);
        timeout(COMES, async {
            while handle.health().is_ready {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        let health = handle.health();
        assert!(health.is_live && health.to_string().contains("does not answer"), "{health}");
        faulty.set_unavailable(false);
        timeout(COMES, async {
            while !handle.health().is_ready {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        handle.stop();
        ended(&handle).await.unwrap();
    }

    async fn a_handler_that_works_for_long_sees_the_request_to_stop(store) {
        let work = Work::new("long", Does::WaitForStop);
        let handle = Service::new(&store).consumer(work.consumer()).drain_within(COMES).start().await.unwrap();
        let _ = send_deposits(&store, "account:command", "1", 1).await;
        work.begun.notified().await;
        handle.stop();
        ended(&handle).await.unwrap();
        assert!(is_stopped(&store, "long").await);
    }

    async fn a_handler_that_never_returns_does_not_keep_a_service_beyond_its_deadline(store) {
        for does in [Does::Hang, Does::Block] {
            let name = if does == Does::Hang { "hangs" } else { "blocks" };
            let (work, other) = (Work::new(name, does), Work::new("other", Does::Return));
            let service = Service::new(&store).consumer(work.consumer()).consumer(other.consumer());
            let handle = service.drain_within(Duration::from_millis(300)).start().await.unwrap();
            let _ = send_deposits(&store, "account:command", "1", 1).await;
            work.begun.notified().await;
            let requested = Instant::now();
            handle.stop();
            ended(&handle).await.unwrap();
            assert!(requested.elapsed() >= Duration::from_millis(300), "{does:?}");
            work.ends.store(true, Ordering::SeqCst);
            assert!(!is_stopped(&store, name).await && is_stopped(&store, "other").await, "{does:?}");
            // Its message is delivered again.
            let next = Work { does: Does::Return, ..work.clone() };
            let handle = Service::new(&store).consumer(next.consumer()).start().await.unwrap();
            work.begun.notified().await;
            handle.stop();
            ended(&handle).await.unwrap();
        }
    }
}

/// Fails, and takes the store away.
struct FailsInOutage(Arc<FaultyStore>);

#[async_trait]
impl Handler for FailsInOutage {
    fn name(&self) -> &'static str {
        "fails"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        self.0.set_unavailable(true);
        Err("the cause".into())
    }
}

/// Its letter consumer fails too, because nothing can be saved.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_returns_the_error_that_stopped_it_and_not_one_that_the_stop_has_caused() {
    let store = message_store::connect("sqlite::memory:").await.unwrap();
    let faulty = FaultyStore::new(&store);
    let shared: Store = faulty.clone();
    let consumer = Consumer::new("account:command", FailsInOutage(faulty.clone())).identifier("fails");
    let other = Work::new("other", Does::Return).consumer();
    let handle = Service::new(&shared).consumer(other).consumer(consumer).start().await.unwrap();
    let _ = send_deposits(&store, "account:command", "1", 1).await;
    let error = ended(&handle).await.unwrap_err();
    assert!(error.to_string().contains("the cause"), "{error}");
}

/// The address of the store of a service in another process.
const URL: &str = "MESSAGE_STORE_TEST_SERVICE_URL";

/// The second consumer waits for the lease of a member of its name.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of the next test"]
async fn service_in_another_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = message_store::connect(&url).await.unwrap();
    let (first, second) = (Work::new("first", Does::Return), Work::new("second", Does::Return));
    let group = ElasticGroup::new().lease(Duration::from_mins(1)).member("one");
    let service = Service::new(&store).consumer(first.consumer()).consumer(second.consumer().elastic_group(group));
    service.run().await.unwrap();
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_during_the_start_of_a_service_stops_what_has_started() {
    let place = AgeingStore::sqlite();
    let store = message_store::connect(&place.url()).await.unwrap();
    let group = ElasticGroup::new().lease(Duration::from_mins(1)).member("one");
    let running = Work::new("second", Does::Return).consumer().elastic_group(group).start(&store).await.unwrap();
    let message = NewMessage::new("Any", Json::NULL);
    let append = Append::to(StreamName::new("account:command-1").unwrap()).message(message);
    let written = store.append(append.into()).await.unwrap().written[0].global_position;
    let mut service = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "services::service_in_another_process", "--ignored"])
        .env(URL, place.url())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let positions = Positions::of(&store, "account:command").unwrap();
    timeout(COMES, async {
        // It has started when it has read: a position alone is saved before that.
        while positions.get(Some("first"), None).await.unwrap().position < written {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let pid = service.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let status = tokio::task::spawn_blocking(move || service.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(is_stopped(&store, "first").await);
    let _ = running.stop().await.unwrap();
}
