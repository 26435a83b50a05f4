//! Appends that share a commit: each has its own result.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use message_store::postgres::PostgresStore;
use message_store::{
    Append, Appended, Error, ExpectedVersion, Json, MessageId, MessageStore, NewMessage, Position, Result, StreamName,
    Version, connect,
};
use message_store_tests::accounts::messages_of;
use message_store_tests::cutting_proxy::CuttingProxy;
use message_store_tests::on_both_stores;
use message_store_tests::postgres::TestDatabase;
use tokio_postgres::NoTls;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn append(name: &str, text: &str) -> Append {
    Append::to(stream(name)).message(NewMessage::new("Deposited", Json::parse(text).unwrap()))
}

type Task = tokio::task::JoinHandle<Result<Appended>>;

fn send(store: &Arc<dyn MessageStore>, append: Append) -> Task {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.append(append.into()).await })
}

/// The ids of the messages in the category. Each must occur once.
async fn ids(store: &Arc<dyn MessageStore>, category: &str) -> HashSet<MessageId> {
    let messages = messages_of(store, category).await;
    let ids: HashSet<MessageId> = messages.iter().map(|message| message.id).collect();
    assert_eq!(ids.len(), messages.len());
    ids
}

on_both_stores! {
    async fn each_of_many_appends_at_once_has_its_own_answer(store) {
        store.append(append("account-taken", "1").expecting(ExpectedVersion::NoStream).into()).await.unwrap();
        let taken = append("account-id", "1");
        store.append(taken.clone().into()).await.unwrap();
        let tasks: Vec<Task> = (0..400)
            .map(|number| send(&store, match number % 8 {
                0 => append("account-taken", "2").expecting(ExpectedVersion::NoStream),
                1 => append("account-new", "3").expecting(Version::at(Position::new(7))),
                2 => taken.clone(),
                3 => {
                    let id = taken.messages[0].id;
                    Append::to(stream("account-other")).message(NewMessage::new("Deposited", Json::NULL).with_id(id))
                }
                _ => append(&format!("account-{number}"), "4").expecting(ExpectedVersion::NoStream),
            }))
            .collect();
        for (number, answer) in join_all(tasks).await.into_iter().enumerate() {
            let answer = answer.unwrap();
            let is_right = match number % 8 {
                0 | 1 => matches!(answer, Err(Error::WrongExpectedVersion { .. })),
                2 => answer.as_ref().is_ok_and(|appended| appended.already_written),
                3 => matches!(answer, Err(Error::IdConflict { .. })),
                _ => answer.as_ref().is_ok_and(|appended| !appended.already_written),
            };
            assert!(is_right, "{number}: {answer:?}");
        }
        assert_eq!(ids(&store, "account").await.len(), 2 + 400 / 2);
    }

    async fn appends_to_one_stream_at_once_stand_in_it_without_gaps(store) {
        let tasks: Vec<Task> = (0..300).map(|number| send(&store, append("account-1", &number.to_string()))).collect();
        let mut positions = HashSet::new();
        for answer in join_all(tasks).await {
            let written = answer.unwrap().unwrap().written[0];
            assert!(positions.insert(written.position.get()));
            // The answer belongs to this append, not to another one in its batch.
            let found = messages_of(&store, "account").await;
            assert_eq!(found[usize::try_from(written.position.get()).unwrap()].global_position, written.global_position);
        }
        assert_eq!((positions.len(), positions.into_iter().max()), (300, Some(299)));
    }

    async fn of_versions_that_follow_each_other_none_is_refused_for_its_neighbours(store) {
        // Appends to one stream, one after the other, beside appends that are refused.
        let mut version = Version::NO_STREAM;
        for number in 0..40 {
            let wrong: Vec<Task> = (0..5)
                .map(|_| send(&store, append("account-1", "0").expecting(Version::at(Position::new(1_000)))))
                .collect();
            let right = store.append(append("account-1", &number.to_string()).expecting(version).into()).await.unwrap();
            version = Version::at(right.written[0].position);
            for answer in join_all(wrong).await {
                assert!(matches!(answer.unwrap(), Err(Error::WrongExpectedVersion { .. })));
            }
        }
        assert_eq!(version.get(), 39);
    }

    async fn a_caller_that_goes_away_takes_no_other_append_with_it(store) {
        let appends: Vec<Append> = (0..600).map(|number| append(&format!("account-{}", number % 7), "1")).collect();
        let tasks: Vec<Task> = appends.iter().map(|append| send(&store, append.clone())).collect();
        for (number, task) in tasks.iter().enumerate() {
            if number % 3 == 0 {
                task.abort();
            }
            if number % 50 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let mut acknowledged = HashSet::new();
        for (append, answer) in appends.iter().zip(join_all(tasks).await) {
            match answer {
                Ok(written) => {
                    assert!(!written.unwrap().already_written);
                    acknowledged.insert(append.messages[0].id);
                }
                Err(gone) => assert!(gone.is_cancelled()),
            }
        }
        let found = ids(&store, "account").await;
        assert!(acknowledged.len() >= 400 && acknowledged.is_subset(&found));
        // The appends of callers that gave up are written once or not at all.
        for append in appends {
            let was_there = found.contains(&append.messages[0].id);
            assert!(store.append(append.into()).await.unwrap().already_written || !was_there);
        }
        assert_eq!(ids(&store, "account").await.len(), 600);
    }

    async fn more_callers_than_the_queue_has_room_for_wait_and_are_served(store) {
        let tasks: Vec<Task> = (0..3_000).map(|number| send(&store, append(&format!("account-{number}"), "1"))).collect();
        for answer in join_all(tasks).await {
            answer.unwrap().unwrap();
        }
        assert_eq!(ids(&store, "account").await.len(), 3_000);
    }

    async fn a_hot_stream_does_not_keep_a_quiet_one_waiting(store) {
        const HOT: usize = 64;
        let done = Arc::new(AtomicUsize::new(0));
        let hot: Vec<_> = (0..HOT)
            .map(|_| {
                let (store, done) = (Arc::clone(&store), Arc::clone(&done));
                tokio::spawn(async move {
                    loop {
                        store.append(append("account-hot", "1").into()).await.unwrap();
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let mut passed = Vec::new();
        for number in 0..21 {
            let before = done.load(Ordering::SeqCst);
            store.append(append(&format!("account-quiet{number}"), "1").into()).await.unwrap();
            passed.push(done.load(Ordering::SeqCst) - before);
        }
        // Appends that were queued before it, appends under way, and appends that came before its answer arrived. The
        // median: the operating system may keep one thread waiting for long.
        passed.sort_unstable();
        assert!(passed[10] < 40 * HOT, "appends of the hot stream that went before one of a quiet one: {passed:?}");
        for task in hot {
            task.abort();
        }
    }
}

/// Ends a runtime while tasks append in it, some times, and waits until it has ended.
fn end_runtimes_amid_appends(open: impl AsyncFn() -> Arc<dyn MessageStore> + Send + Sync + 'static) {
    let (ended, is_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..80 {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(8).enable_all().build().unwrap();
            runtime.block_on(async {
                let store = open().await;
                for number in 0..256 {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move {
                        while store.append(append(&format!("account-{number}"), "1").into()).await.is_ok() {}
                    });
                }
                store.append(append("account-1", "1").into()).await.unwrap();
            });
            drop(runtime);
        }
        ended.send(()).unwrap();
    });
    is_ended.recv_timeout(Duration::from_mins(2)).expect("the runtimes end");
}

#[test]
fn a_runtime_ends_while_tasks_append_to_postgresql() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(TestDatabase::create());
    let url = database.url().to_owned();
    end_runtimes_amid_appends(async move || connect(&url).await.unwrap());
}

#[test]
fn a_runtime_ends_while_tasks_append_to_sqlite() {
    end_runtimes_amid_appends(async || connect("sqlite::memory:").await.unwrap());
}

/// PostgreSQL refuses a number that is too large for its `numeric`, so the whole batch fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_append_that_the_server_refuses_fails_alone() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    database.execute("ALTER TABLE message_store.messages ADD CHECK (data <> '7')").await;
    let tasks: Vec<Task> = (0..200)
        .map(|number| send(&store, append(&format!("account-{number}"), if number % 40 == 7 { "7" } else { "1" })))
        .collect();
    for (number, answer) in join_all(tasks).await.into_iter().enumerate() {
        let answer = answer.unwrap();
        let is_refused = matches!(answer, Err(Error::Backend { transient: false, .. }));
        assert_eq!(is_refused, number % 40 == 7, "{number}: {answer:?}");
        assert_eq!(answer.is_ok(), number % 40 != 7);
    }
    assert_eq!(ids(&store, "account").await.len(), 195);
}

async fn through_proxy(mark: &'static str) -> (TestDatabase, CuttingProxy, Arc<dyn MessageStore>) {
    let database = TestDatabase::create().await;
    let config: tokio_postgres::Config = database.url().parse().unwrap();
    let port = config.get_ports()[0];
    let proxy = CuttingProxy::start(format!("127.0.0.1:{port}"), mark).await;
    let url = database.url().replace(&format!(":{port}/"), &format!(":{}/", proxy.address().port()));
    let store = Arc::new(PostgresStore::open(&url).await.unwrap());
    (database, proxy, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_lost_in_the_middle_of_a_batch_is_resolved_by_ids() {
    let (_database, proxy, store) = through_proxy("cut-the-batch").await;
    let tasks: Vec<Task> = (0..60)
        .map(|number| {
            let text = if number == 30 { r#""cut-the-batch""# } else { "1" };
            send(&store, append(&format!("account-{}", number % 5), text))
        })
        .collect();
    for answer in join_all(tasks).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(ids(&store, "account").await.len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_the_server_is_gone_a_lost_answer_stays_unknown() {
    let (database, proxy, store) = through_proxy("cut-for-good").await;
    store.append(append("account-1", "1").into()).await.unwrap();
    proxy.refuse();
    let lost = append("account-1", r#""cut-for-good""#);
    let answer = store.append(lost.clone().into()).await;
    assert!(matches!(answer, Err(Error::CommitUnknown { .. })), "{answer:?}");
    // Nothing is sent, and the error says so.
    let unsent = store.append(append("account-2", "1").into()).await;
    assert!(matches!(unsent, Err(Error::Backend { transient: true, .. })), "{unsent:?}");
    // With another store: the same append again shows whether it was written.
    let direct = connect(database.url()).await.unwrap();
    assert!(direct.append(lost.into()).await.unwrap().already_written);
    assert_eq!(ids(&direct, "account").await.len(), 2);
}

/// Another session locks a category. Only writers of that category wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_writer_of_one_category_keeps_no_other_waiting() {
    let database = TestDatabase::create().await;
    let store = connect(database.url()).await.unwrap();
    let (mut client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let slow = client.transaction().await.unwrap();
    slow.execute("SELECT message_store.acquire_lock('slow-1')", &[]).await.unwrap();
    let waiting: Vec<Task> = (0..20).map(|number| send(&store, append(&format!("slow-{number}"), "1"))).collect();
    for round in 0..20 {
        let others: Vec<Task> =
            (0..20).map(|number| send(&store, append(&format!("quick{number}-{round}"), "1"))).collect();
        for answer in join_all(others).await {
            answer.unwrap().unwrap();
        }
    }
    assert!(waiting.iter().all(|task| !task.is_finished()));
    slow.rollback().await.unwrap();
    for answer in join_all(waiting).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(ids(&store, "slow").await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_processes_write_to_one_category_and_to_one_stream() {
    const EACH: usize = 200;
    let database = TestDatabase::create().await;
    let stores = join_all((0..4).map(|_| connect(database.url()))).await;
    let stores: Vec<Arc<dyn MessageStore>> = stores.into_iter().map(Result::unwrap).collect();
    let tasks = stores.iter().enumerate().flat_map(|(process, store)| {
        (0..EACH).map(move |number| {
            let name = if number % 2 == 0 { "account-common".to_owned() } else { format!("account-{process}") };
            send(store, append(&name, "1"))
        })
    });
    for answer in join_all(tasks.collect::<Vec<_>>()).await {
        assert!(!answer.unwrap().unwrap().already_written);
    }
    assert_eq!(ids(&stores[0], "account").await.len(), 4 * EACH);
    assert_eq!(stores[3].version(&stream("account-common")).await.unwrap().get(), 4 * 100 - 1);
}
