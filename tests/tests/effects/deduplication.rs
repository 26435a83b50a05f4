//! De-duplication with a window: once for each key, for exactly as long as the window. Tests are named after the
//! numbers of the scenarios.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use message_store::intents::{Answer, DEFAULT_SWEEP, Once};
use message_store::store::{Claim, Window};
use message_store::testing::FaultyStore;
use message_store::{Append, Error, Json, Key, MessageStore, NewMessage, Position, StreamName, Version, connect};
use message_store_tests::accounts::messages_of;
use message_store_tests::expire::AgeingStore;
use tokio::sync::{Barrier, Notify};
use uuid::Uuid;

const AN_HOUR: Duration = Duration::from_hours(1);
const HOUR_MS: i64 = 60 * 60 * 1000;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn request(amount: u64) -> Json {
    Json::encode(&serde_json::json!({ "amount": amount })).unwrap()
}

fn paid() -> Vec<Append> {
    vec![Append::to(StreamName::new("payment-1").unwrap()).message(NewMessage::new("Paid", Json::NULL))]
}

/// Pays once for a key. The answer is the number of the call that paid.
async fn pay(once: &Once, key: &Key, amount: u64, calls: &AtomicUsize) -> Answer<usize> {
    let work = async || Ok::<_, Error>((paid(), calls.fetch_add(1, Ordering::SeqCst)));
    once.run(key, &request(amount), work).await.unwrap()
}

async fn payments(store: &Arc<dyn MessageStore>) -> usize {
    messages_of(store, "payment").await.len()
}

macro_rules! on_ageing_stores {
    ($($(#[$attribute:meta])* async fn $name:ident($ageing:ident, $store:ident) $body:block)*) => {
        $($(#[$attribute])* async fn $name($ageing: AgeingStore, $store: Arc<dyn MessageStore>) $body)*

        mod on_postgres {
            use super::{AgeingStore, connect};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                let ageing = AgeingStore::postgres().await;
                let store = connect(&ageing.url()).await.unwrap();
                super::$name(ageing, store).await;
            })*
        }

        mod on_sqlite {
            use super::{AgeingStore, connect};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                let ageing = AgeingStore::sqlite();
                let store = connect(&ageing.url()).await.unwrap();
                super::$name(ageing, store).await;
            })*
        }
    };
}

on_ageing_stores! {
    async fn a_repeat_is_not_done_and_answered_as_the_first_was(_ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        assert_eq!(pay(&once, &key("k"), 7, &calls).await, Answer::Done(0));
        for _ in 0..3 {
            let answer = pay(&once, &key("k"), 7, &calls).await;
            assert!(matches!(answer, Answer::Duplicate { result: 0, .. }), "{answer:?}");
        }
        assert_eq!((calls.load(Ordering::SeqCst), payments(&store).await), (1, 1));
    }

    async fn t22_a_key_that_is_used_again_with_another_amount_is_a_conflict(_ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        let _ = pay(&once, &key("k"), 7, &calls).await;
        assert!(matches!(pay(&once, &key("k"), 8, &calls).await, Answer::Conflict { .. }));
        assert_eq!(payments(&store).await, 1);
    }

    async fn t23_a_conflict_is_one_also_while_the_first_is_under_way(_ageing, store) {
        let once = Once::new(&store, "webhook").unwrap();
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let first = tokio::spawn({
            let (once, begun, go_on) = (once.clone(), Arc::clone(&begun), Arc::clone(&go_on));
            async move {
                let work = async || {
                    begun.notify_one();
                    go_on.notified().await;
                    Ok::<_, Error>((paid(), 0))
                };
                once.run(&key("k"), &request(7), work).await.unwrap()
            }
        });
        begun.notified().await;
        let calls = Arc::new(AtomicUsize::new(1));
        let second = tokio::spawn({
            let (once, calls) = (once.clone(), Arc::clone(&calls));
            async move { pay(&once, &key("k"), 8, &calls).await }
        });
        let not_waiting = once.clone().answer_in_progress();
        assert_eq!(pay(&not_waiting, &key("k"), 7, &calls).await, Answer::InProgress);
        go_on.notify_one();
        assert_eq!(first.await.unwrap(), Answer::Done(0));
        assert!(matches!(second.await.unwrap(), Answer::Conflict { .. }), "it waited, and is told");
        assert_eq!(calls.load(Ordering::SeqCst), 1, "no other work was begun");
    }

    async fn t24_the_same_key_in_two_scopes_is_two_keys(_ageing, store) {
        let calls = AtomicUsize::new(0);
        for scope in ["endpoint A", "endpoint B"] {
            let once = Once::new(&store, scope).unwrap();
            assert!(matches!(pay(&once, &key("k"), 7, &calls).await, Answer::Done(_)), "{scope}");
        }
        // Several handlers with one scope share its keys.
        let bus = Once::new(&store, "endpoint A").unwrap();
        assert!(matches!(pay(&bus, &key("k"), 7, &calls).await, Answer::Duplicate { .. }));
        assert_eq!(payments(&store).await, 2);
        assert!(matches!(Once::new(&store, ""), Err(Error::Invalid { .. })));
    }

    async fn sixteen_deliveries_at_once_are_one_invocation(_ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), Arc::new(AtomicUsize::new(0)));
        let deliveries = (0..16).map(|_| {
            let (once, calls) = (once.clone(), Arc::clone(&calls));
            tokio::spawn(async move { pay(&once, &key("k"), 7, &calls).await })
        });
        let answers = join_all(deliveries).await;
        assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(Answer::Done(0)))).count(), 1);
        assert_eq!((calls.load(Ordering::SeqCst), payments(&store).await), (1, 1));
    }

    async fn of_several_processes_that_are_given_one_key_one_works_and_all_give_its_answer(ageing, store) {
        let calls = Arc::new(AtomicUsize::new(0));
        let deliveries = (0..8).map(|_| {
            let (url, calls) = (ageing.url(), Arc::clone(&calls));
            tokio::spawn(async move {
                // As in another process: another store, another `Once`.
                let once = Once::new(&connect(&url).await.unwrap(), "webhook").unwrap();
                let work = async || {
                    let number = calls.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok::<_, Error>((paid(), number))
                };
                once.run(&key("k"), &request(7), work).await.unwrap()
            })
        });
        let answers = join_all(deliveries).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().result() == Some(&0)), "{answers:?}");
        assert_eq!((calls.load(Ordering::SeqCst), payments(&store).await), (1, 1));
    }

    async fn another_process_is_told_of_work_in_progress_and_gets_the_key_when_it_is_broken_off(ageing, store) {
        let calls = AtomicUsize::new(0);
        let not_waiting = Once::new(&store, "webhook").unwrap().answer_in_progress();
        for round in 0..2 {
            let other = connect(&ageing.url()).await.unwrap();
            let begun = Arc::new(Notify::new());
            let endless = tokio::spawn({
                let (once, begun) = (Once::new(&other, "webhook").unwrap(), Arc::clone(&begun));
                async move {
                    let work = async || {
                        begun.notify_one();
                        std::future::pending::<Result<(Vec<Append>, usize), Error>>().await
                    };
                    once.run(&key("k"), &request(7), work).await
                }
            });
            begun.notified().await;
            assert_eq!(pay(&not_waiting, &key("k"), 7, &calls).await, Answer::InProgress, "{round}");
            assert!(matches!(pay(&not_waiting, &key(&format!("other {round}")), 7, &calls).await, Answer::Done(_)));
            Once::sweep(&store, DEFAULT_SWEEP).await.unwrap();
            assert_eq!(pay(&not_waiting, &key("k"), 7, &calls).await, Answer::InProgress, "a sweep frees nothing: {round}");
            drop(other);
            endless.abort();
        }
        let waiting = Once::new(&store, "webhook").unwrap();
        assert!(matches!(pay(&waiting, &key("k"), 7, &calls).await, Answer::Done(_)));
    }

    async fn when_a_lease_is_lost_two_work_and_one_writes(_ageing, store) {
        // The twin of the two before it: here the second does begin.
        let both = Arc::new(Barrier::new(2));
        let calls = Arc::new(AtomicUsize::new(0));
        let works = (0..2).map(|_| {
            let faulty = FaultyStore::new(&store);
            faulty.lose_leases();
            let shared: Arc<dyn MessageStore> = faulty;
            let (both, calls) = (Arc::clone(&both), Arc::clone(&calls));
            tokio::spawn(async move {
                let work = async || {
                    both.wait().await;
                    Ok::<_, Error>((paid(), calls.fetch_add(1, Ordering::SeqCst)))
                };
                Once::new(&shared, "webhook").unwrap().run(&key("k"), &request(7), work).await.unwrap()
            })
        });
        let answers = join_all(works).await;
        let results: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().result().unwrap()).collect();
        assert_eq!(results[0], results[1], "{answers:?}");
        assert_eq!((calls.load(Ordering::SeqCst), payments(&store).await), (2, 1));
    }

    async fn t27_a_key_is_remembered_for_its_window_and_not_longer(ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        let once = once.window(Window::of(AN_HOUR).unwrap());
        let _ = pay(&once, &key("k"), 7, &calls).await;
        ageing.pass("webhook", HOUR_MS / 2).await;
        assert!(matches!(pay(&once, &key("k"), 7, &calls).await, Answer::Duplicate { .. }));
        // The window began with the first request; the repeat did not extend it.
        ageing.pass("webhook", HOUR_MS / 2).await;
        assert_eq!(pay(&once, &key("k"), 7, &calls).await, Answer::Done(1));
        assert!(matches!(pay(&once, &key("k"), 7, &calls).await, Answer::Duplicate { result: 1, .. }));
        for bad in [Duration::ZERO, Duration::from_millis(99), Duration::MAX] {
            assert!(matches!(Window::of(bad), Err(Error::Invalid { .. })), "{bad:?}");
        }
    }

    async fn each_repeat_restarts_a_sliding_window(ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        let once = once.window(Window::of(AN_HOUR).unwrap().sliding());
        let _ = pay(&once, &key("k"), 7, &calls).await;
        for _ in 0..4 {
            ageing.pass("webhook", HOUR_MS * 3 / 4).await;
            assert!(matches!(pay(&once, &key("k"), 7, &calls).await, Answer::Duplicate { .. }));
        }
        ageing.pass("webhook", HOUR_MS).await;
        assert!(matches!(pay(&once, &key("k"), 7, &calls).await, Answer::Done(_)));
    }

    async fn t28_a_clock_that_goes_back_forgets_nothing_early(ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        let _ = pay(&once, &key("k"), 7, &calls).await;
        // A key that was written an hour in the future: this is the same as a clock that was set back by an hour.
        ageing.pass("webhook", -HOUR_MS).await;
        assert!(matches!(pay(&once, &key("k"), 7, &calls).await, Answer::Duplicate { .. }));
        assert_eq!(Once::sweep(&store, DEFAULT_SWEEP).await.unwrap(), 0);
    }

    async fn t30_a_sweep_beside_traffic_on_the_same_keys_removes_nothing_early(ageing, store) {
        let once = Once::new(&store, "webhook").unwrap().window(Window::of(AN_HOUR).unwrap());
        let calls = Arc::new(AtomicUsize::new(0));
        for number in 0..40 {
            let _ = pay(&once, &key(&number.to_string()), 7, &calls).await;
        }
        ageing.pass("webhook", HOUR_MS).await;
        let traffic = (0..8).map(|_| {
            let (once, calls) = (once.clone(), Arc::clone(&calls));
            tokio::spawn(async move {
                for number in 0..40 {
                    let _ = pay(&once, &key(&number.to_string()), 7, &calls).await;
                }
            })
        });
        // T31: the same beside another sweep.
        let sweeps = (0..2).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..10 {
                    Once::sweep(&store, 7).await.unwrap();
                }
            })
        });
        for task in join_all(traffic.chain(sweeps)).await {
            task.unwrap();
        }
        assert_eq!(calls.load(Ordering::SeqCst), 80, "each key was paid once more, and no more often");
        assert_eq!(ageing.keys().await, 40);
    }

    async fn t26_the_order_of_keys_and_the_writing_of_numbers_make_no_other_content(_ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        for (text, is_new) in [
            (r#"{"amount": 1, "to": "ann"}"#, true),
            (r#"{ "to" : "ann", "amount":1.0 }"#, false),
            (r#"{"amount": 1, "to": "ann", "time": "noon"}"#, true),
            (r#"{"amount": 10e-1, "to": "\u0061nn"}"#, false),
        ] {
            let body = Json::parse(text).unwrap();
            let work = async || Ok::<_, Error>((paid(), calls.fetch_add(1, Ordering::SeqCst)));
            let answer = once.run(&Key::from_content(&body).unwrap(), &body, work).await.unwrap();
            assert_eq!(matches!(answer, Answer::Done(_)), is_new, "{text}");
        }
    }

    async fn t31_two_sweeps_at_once_do_not_get_into_each_others_way(ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        for number in 0..60 {
            let _ = pay(&once, &key(&number.to_string()), 7, &calls).await;
        }
        ageing.pass("webhook", 8 * 24 * HOUR_MS).await;
        let (one, other) = tokio::join!(Once::sweep(&store, 5), Once::sweep(&store, 5));
        assert!(one.unwrap() + other.unwrap() <= 60);
        // Removes the keys that one sweep skipped because the other had locked them.
        Once::sweep(&store, DEFAULT_SWEEP).await.unwrap();
        assert_eq!(ageing.keys().await, 0);
    }

    async fn a_producer_sets_how_long_its_ids_are_remembered(ageing, store) {
        let (producer, calls) = (Once::new(&store, "producer").unwrap().window(Window::PRODUCERS), AtomicUsize::new(0));
        for (passed, is_new) in [(0, true), (119_000, false), (1_000, true)] {
            ageing.pass("producer", passed).await;
            assert_eq!(matches!(pay(&producer, &key("m1"), 7, &calls).await, Answer::Done(_)), is_new, "{passed}");
        }
    }

    async fn t32_an_expired_key_of_one_scope_does_not_take_the_same_key_of_another_with_it(ageing, store) {
        let calls = AtomicUsize::new(0);
        let (old, young) = (Once::new(&store, "old").unwrap(), Once::new(&store, "young").unwrap());
        let _ = (pay(&old, &key("k"), 7, &calls).await, pay(&young, &key("k"), 7, &calls).await);
        ageing.pass("old", 8 * 24 * HOUR_MS).await;
        assert_eq!(Once::sweep(&store, DEFAULT_SWEEP).await.unwrap(), 1);
        assert!(matches!(pay(&young, &key("k"), 7, &calls).await, Answer::Duplicate { .. }));
    }

    async fn t33_an_expired_key_can_be_used_again_without_a_sweep(ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        let _ = pay(&once, &key("k"), 7, &calls).await;
        ageing.pass("webhook", 30 * 24 * HOUR_MS).await;
        assert_eq!(pay(&once, &key("k"), 7, &calls).await, Answer::Done(1));
    }

    async fn t34_after_a_sweep_only_unexpired_keys_take_space(ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        for number in 0..100 {
            let _ = pay(&once, &key(&number.to_string()), 7, &calls).await;
        }
        ageing.pass("webhook", 8 * 24 * HOUR_MS).await;
        let _ = pay(&once, &key("new"), 7, &calls).await;
        assert_eq!(Once::sweep(&store, 9).await.unwrap(), 100);
        assert_eq!(ageing.keys().await, 1);
    }

    async fn t35_work_that_fails_leaves_the_key_free(_ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        let failed = once.run(&key("k"), &request(7), async || Err::<(Vec<Append>, usize), _>(Error::CommitUnknown { cause: "x".into() })).await;
        assert!(failed.is_err());
        // The same for messages that cannot be written.
        let empty = vec![Append::to(StreamName::new("payment-1").unwrap())];
        let refused = once.run(&key("k"), &request(7), async || Ok::<_, Error>((empty.clone(), 0))).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
        let conflicting = vec![paid().remove(0).expecting(Version::at(Position::new(9)))];
        let refused = once.run(&key("k"), &request(7), async || Ok::<_, Error>((conflicting.clone(), 0))).await;
        assert!(matches!(refused, Err(Error::WrongExpectedVersion { .. })), "{refused:?}");
        assert_eq!(pay(&once, &key("k"), 7, &calls).await, Answer::Done(0));
        assert_eq!(payments(&store).await, 1);
    }

    async fn t36_work_that_panics_or_is_broken_off_leaves_the_key_free(_ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        let panicking = tokio::spawn({
            let once = once.clone();
            async move { once.run(&key("k"), &request(7), async || -> Result<(Vec<Append>, usize), Error> { panic!("planted") }).await }
        });
        assert!(panicking.await.is_err());
        let begun = Arc::new(Notify::new());
        let endless = tokio::spawn({
            let (once, begun) = (once.clone(), Arc::clone(&begun));
            async move {
                let work = async || {
                    begun.notify_one();
                    std::future::pending::<Result<(Vec<Append>, usize), Error>>().await
                };
                once.run(&key("k"), &request(7), work).await
            }
        });
        begun.notified().await;
        endless.abort();
        assert_eq!(pay(&once, &key("k"), 7, &calls).await, Answer::Done(0));
    }

    async fn a_commit_whose_answer_was_lost_is_answered_all_the_same(_ageing, store) {
        let faulty = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = faulty.clone();
        let (once, calls) = (Once::new(&shared, "webhook").unwrap(), AtomicUsize::new(0));
        faulty.lose_answers(1);
        assert_eq!(pay(&once, &key("k"), 7, &calls).await.result(), Some(&0));
        assert_eq!(payments(&store).await, 1);
    }

    async fn twin_without_de_duplication_every_delivery_is_done(_ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap().disabled(), AtomicUsize::new(0));
        for number in 0..3 {
            assert_eq!(pay(&once, &key("k"), 7, &calls).await, Answer::Done(number));
        }
        assert_eq!(payments(&store).await, 3);
    }

    async fn a_process_that_was_killed_keeps_a_key_for_no_longer_than_its_lease(ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap().answer_in_progress(), AtomicUsize::new(0));
        let killed = Claim::new("webhook", key("k"), "", Window::default());
        assert!(store.deduplication().unwrap().lease(&killed, Uuid::new_v4(), AN_HOUR).await.unwrap());
        assert_eq!(pay(&once, &key("k"), 7, &calls).await, Answer::InProgress);
        assert_eq!(pay(&once, &key("other"), 7, &calls).await, Answer::Done(0));
        ageing.end_leases().await;
        assert_eq!(pay(&once, &key("k"), 7, &calls).await, Answer::Done(1));
    }

    async fn leases_leave_nothing_behind(ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        let _ = pay(&once, &key("done"), 7, &calls).await;
        let _ = pay(&once, &key("done"), 7, &calls).await;
        let failing = async || Err::<(Vec<Append>, usize), _>(Error::backend("the provider", true, "is down"));
        once.run(&key("failed"), &request(7), failing).await.unwrap_err();
        assert_eq!(ageing.leases().await, 0);
        // The lease of a process that was killed.
        let left = Claim::new("webhook", key("left"), "", Window::default());
        assert!(store.deduplication().unwrap().lease(&left, Uuid::new_v4(), AN_HOUR).await.unwrap());
        Once::sweep(&store, DEFAULT_SWEEP).await.unwrap();
        assert_eq!(ageing.leases().await, 1, "it has not ended");
        ageing.end_leases().await;
        Once::sweep(&store, DEFAULT_SWEEP).await.unwrap();
        assert_eq!(ageing.leases().await, 0);
    }

    async fn a_lease_lasts_as_long_as_the_work(ageing, store) {
        let (once, calls) = (Once::new(&store, "webhook").unwrap(), AtomicUsize::new(0));
        let started = Arc::new(Notify::new());
        let (go_on, waits) = (Arc::new(Notify::new()), Arc::clone(&started));
        let (working, goes_on) = (once.clone(), Arc::clone(&go_on));
        let work = tokio::spawn(async move {
            let work = async || {
                waits.notify_one();
                goes_on.notified().await;
                Ok::<_, Error>((paid(), 0_usize))
            };
            working.run(&key("k"), &request(7), work).await.unwrap()
        });
        started.notified().await;
        // The lease has ended. It is renewed, because the work goes on.
        ageing.end_leases().await;
        let elsewhere = Once::new(&store, "webhook").unwrap().answer_in_progress();
        while ageing.ended_leases().await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(pay(&elsewhere, &key("k"), 7, &calls).await, Answer::InProgress);
        go_on.notify_one();
        assert_eq!(work.await.unwrap(), Answer::Done(0));
        assert_eq!((calls.load(Ordering::SeqCst), payments(&store).await), (0, 1));
    }

    async fn a_caller_that_goes_away_frees_the_key(ageing, store) {
        let once = Once::new(&store, "webhook").unwrap();
        let (started, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (leaving, begins) = (once.clone(), Arc::clone(&begun));
        let caller = tokio::spawn(async move {
            let work = async || {
                begins.notify_one();
                started.notified().await;
                Ok::<_, Error>((paid(), 0_usize))
            };
            leaving.run(&key("k"), &request(7), work).await
        });
        begun.notified().await;
        assert_eq!(ageing.leases().await, 1);
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        // Another process need not wait for the lease's end.
        let elsewhere = Once::new(&connect(&ageing.url()).await.unwrap(), "webhook").unwrap();
        assert_eq!(pay(&elsewhere, &key("k"), 7, &AtomicUsize::new(0)).await, Answer::Done(0));
    }
}
