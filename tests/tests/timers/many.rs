//! Many timers, fired by processes that are killed. The processes are this test's own binary, started again.
//!
//! `MESSAGE_STORE_TIMERS` sets the number of timers (default 2,000; the long run uses 100,000), and
//! `MESSAGE_STORE_TIMERS_SEED` repeats a run.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use message_store::service::Service;
use message_store::store::{Due, TimerChange, TimerKey, TimerQuery};
use message_store::{Append, Json, MessageId, MessageStore, NewMessage, StreamName, connect};
use message_store_tests::accounts::messages_of;
use message_store_tests::postgres::TestDatabase;
use message_store_tests::random::{Random, setting};

type Store = Arc<dyn MessageStore>;

const URL: &str = "MESSAGE_STORE_TIMERS_URL";
const BUG: &str = "MESSAGE_STORE_TIMERS_BUG";
/// Longer than any pause.
const HANGS: Duration = Duration::from_mins(5);

/// A process that fires timers until it is killed. Without its settings, this test does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = connect(&url).await.unwrap();
    if std::env::var(BUG).is_ok() {
        fire_in_two_steps(&store).await;
    }
    let service = Service::new(&store).timers_every(Duration::from_millis(10)).start().await.unwrap();
    // The worker ends when the other end of the pipe is closed.
    let closed = tokio::task::spawn_blocking(|| std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new()));
    closed.await.unwrap().unwrap();
    drop(service);
}

/// The bug: the message has another id each time, and is written before the timer is removed.
async fn fire_in_two_steps(store: &Store) {
    let timers = store.timers().unwrap();
    loop {
        for timer in timers.list(TimerQuery::new().due_within(Duration::ZERO)).await.unwrap() {
            let message = timer.message.with_id(MessageId::new());
            store.append(Append::to(timer.to).message(message).into()).await.unwrap();
            timers.change(vec![TimerChange::Cancel { key: timer.key }]).await.unwrap();
        }
    }
}

/// A worker. It is killed when this is dropped.
struct Worker(Child);

impl Worker {
    fn start(url: &str, bug: bool) -> Self {
        let mut worker = Command::new(std::env::current_exe().unwrap());
        worker.args(["--exact", "many::worker", "--nocapture"]).env(URL, url);
        if bug {
            worker.env(BUG, "1");
        }
        Self(worker.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sets timers, lets two processes fire them, and kills one of them now and then. Returns how often each has fired, if not
/// once.
async fn fired_otherwise(url: &str, bug: bool) -> BTreeMap<String, usize> {
    let count = if bug { 300 } else { setting("MESSAGE_STORE_TIMERS").unwrap_or(2_000) };
    let seed = setting("MESSAGE_STORE_TIMERS_SEED").unwrap_or(7);
    println!("MESSAGE_STORE_TIMERS={count} MESSAGE_STORE_TIMERS_SEED={seed}");
    let (store, mut random) = (connect(url).await.unwrap(), Random(seed));
    let timers = store.timers().unwrap();
    let numbers: Vec<u64> = (0..count).collect();
    for part in numbers.chunks(500) {
        let set = part.iter().map(|number| {
            let key = TimerKey::new(StreamName::new(format!("order-{number}")).unwrap(), "reminder");
            let to = StreamName::new(format!("order:command-{}", number % 50)).unwrap();
            let message = NewMessage::new("Remind", Json::encode(&number.to_string()).unwrap());
            let due = Due::After(Duration::from_millis(random.below(1_000) as u64));
            TimerChange::set(key, due, to, message)
        });
        timers.change(set.collect()).await.unwrap();
    }
    let begun = Instant::now();
    let mut workers = [Worker::start(url, bug), Worker::start(url, bug)];
    let (mut kills, mut left) = (0, usize::MAX);
    let fire = async {
        while left > 0 {
            tokio::time::sleep(Duration::from_millis(random.below(150) as u64)).await;
            left = timers.list(TimerQuery::new().limit(1)).await.unwrap().len();
            if left > 0 && kills < 20 {
                let index = random.below(2);
                workers[index] = Worker::start(url, bug);
                kills += 1;
            }
        }
    };
    tokio::time::timeout(HANGS, fire).await.expect("all timers fire");
    let took = begun.elapsed();
    drop(workers);
    let list = Instant::now();
    assert!(timers.list(TimerQuery::new()).await.unwrap().is_empty());
    println!(
        "{count} timers fired in {took:?}, {kills} processes were killed; a list after them took {:?}",
        list.elapsed()
    );
    let mut fired: BTreeMap<String, usize> = numbers.iter().map(|number| (number.to_string(), 0)).collect();
    for message in messages_of(&store, "order:command").await {
        *fired.entry(message.decode_data().unwrap()).or_default() += 1;
    }
    fired.retain(|_, times| *times != 1);
    fired
}

async fn on_sqlite(bug: bool) -> BTreeMap<String, usize> {
    let folder = tempfile::tempdir().unwrap();
    fired_otherwise(&format!("sqlite:{}", folder.path().join("store.db").display()), bug).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_timer_fires_once_although_processes_are_killed_on_postgres() {
    let database = TestDatabase::create().await;
    assert_eq!(fired_otherwise(database.url(), false).await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_timer_fires_once_although_processes_are_killed_on_sqlite() {
    assert_eq!(on_sqlite(false).await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_fired_in_two_steps_some_timers_fire_twice() {
    assert_ne!(on_sqlite(true).await, BTreeMap::new());
}
