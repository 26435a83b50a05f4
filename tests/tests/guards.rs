//! The guard: paying out through a payment provider that can time out after it has paid, and knows no keys.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use message_store::idempotence::{CallError, External, Found, Guard, Guarded, Key};
use message_store::{Error, MessageStore, Source};
use message_store_tests::accounts::messages_of;
use message_store_tests::on_both_stores;
use serde::Serialize;
use tokio::sync::Notify;

/// Seconds that have passed for the guards of a test: leases end when it says so.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn leases_end(&self) {
        self.0.fetch_add(3600, Ordering::SeqCst);
    }
}

#[derive(Serialize, Clone, Debug)]
struct Payout {
    to: String,
    amount: u64,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Paid,
    PaidAndNoAnswer,
    LostOnTheWay,
    Refused,
    /// The caller dies: before the provider has heard of it, or after it has paid.
    DiesBefore,
    DiesAfter,
}

/// The provider: a list of payments, and no memory of keys.
#[derive(Default)]
struct Provider {
    payments: Mutex<BTreeMap<String, u64>>,
    calls: AtomicUsize,
    fates: Mutex<BTreeMap<String, Vec<Fate>>>,
    /// Its list ends after the last thousand, say: a search cannot tell.
    is_blind: std::sync::atomic::AtomicBool,
    dying: Notify,
    clock: Clock,
}

struct Payments(Arc<Provider>);

impl Provider {
    fn pay(&self, to: &str) -> String {
        *self.payments.lock().unwrap().entry(to.to_owned()).or_default() += 1;
        format!("receipt of {to}")
    }

    fn next_fate(&self, to: &str) -> Fate {
        let mut fates = self.fates.lock().unwrap();
        fates
            .get_mut(to)
            .and_then(|fates| if fates.is_empty() { None } else { Some(fates.remove(0)) })
            .unwrap_or(Fate::Paid)
    }

    fn set(&self, to: &str, fates: &[Fate]) {
        self.fates.lock().unwrap().insert(to.to_owned(), fates.to_vec());
    }

    fn paid(&self, to: &str) -> u64 {
        self.payments.lock().unwrap().get(to).copied().unwrap_or_default()
    }
}

#[async_trait]
impl External for Payments {
    type Request = Payout;
    type Response = String;

    async fn call(&self, _key: &Key, request: &Payout) -> Result<String, CallError> {
        let provider = &self.0;
        provider.calls.fetch_add(1, Ordering::SeqCst);
        match provider.next_fate(&request.to) {
            Fate::Paid => Ok(provider.pay(&request.to)),
            Fate::PaidAndNoAnswer => {
                provider.pay(&request.to);
                Err(CallError::Ambiguous("timed out".into()))
            }
            Fate::LostOnTheWay => Err(CallError::Ambiguous("connection reset".into())),
            Fate::Refused => Err(CallError::Definite("insufficient funds".into())),
            fate @ (Fate::DiesBefore | Fate::DiesAfter) => {
                if fate == Fate::DiesAfter {
                    provider.pay(&request.to);
                }
                provider.dying.notify_one();
                std::future::pending().await
            }
        }
    }

    async fn find(&self, _key: &Key, request: &Payout) -> Result<Found<String>, Source> {
        if self.0.is_blind.load(Ordering::SeqCst) {
            return Ok(Found::CannotTell("the list holds the last 1000 payments only".into()));
        }
        Ok(if self.0.paid(&request.to) > 0 {
            Found::Effect(format!("receipt of {}", request.to))
        } else {
            Found::Nothing
        })
    }
}

fn payout(to: &str) -> Payout {
    Payout { to: to.into(), amount: 7 }
}

fn guard(store: &Arc<dyn MessageStore>, provider: &Arc<Provider>) -> Guard<Payments> {
    let clock = provider.clock.clone();
    let guard = Guard::new(store, "payout", Payments(Arc::clone(provider))).unwrap();
    guard.lease(Duration::from_mins(10)).clock(move || clock.now())
}

/// Runs a payout in a process that may die while it calls.
async fn run(store: &Arc<dyn MessageStore>, provider: &Arc<Provider>, to: &str) -> Option<Guarded<String>> {
    let (guard, key, to) = (guard(store, provider), Key::new(to).unwrap(), payout(to));
    let mut running = tokio::spawn(async move { guard.run(&key, &to).await.unwrap() });
    tokio::select! {
        guarded = &mut running => Some(guarded.unwrap()),
        () = provider.dying.notified() => {
            running.abort();
            None
        }
    }
}

on_both_stores! {
    async fn a_call_is_made_once_and_its_answer_is_kept(store) {
        let provider = Arc::new(Provider::default());
        for earlier in [false, true, true] {
            let response = "receipt of ann".to_owned();
            assert_eq!(run(&store, &provider, "ann").await, Some(Guarded::Confirmed { response, earlier }));
        }
        assert_eq!((provider.paid("ann"), provider.calls.load(Ordering::SeqCst)), (1, 1));
        let other = guard(&store, &provider).run(&Key::new("ann").unwrap(), &Payout { to: "ann".into(), amount: 8 }).await;
        assert_eq!(other.unwrap(), Guarded::Conflict);
    }

    async fn a_call_that_was_refused_is_tried_again(store) {
        let provider = Arc::new(Provider::default());
        provider.set("ann", &[Fate::Refused]);
        assert_eq!(run(&store, &provider, "ann").await, Some(Guarded::Failed { reason: "insufficient funds".into() }));
        assert!(matches!(run(&store, &provider, "ann").await, Some(Guarded::Confirmed { .. })));
        assert_eq!(provider.paid("ann"), 1);
    }

    async fn t41_a_call_that_paid_and_whose_caller_died_is_found_and_not_made_again(store) {
        let provider = Arc::new(Provider::default());
        provider.set("ann", &[Fate::DiesAfter]);
        provider.set("bob", &[Fate::DiesBefore]);
        assert_eq!(run(&store, &provider, "ann").await, None);
        assert_eq!(run(&store, &provider, "bob").await, None);
        assert_eq!(run(&store, &provider, "ann").await, Some(Guarded::InProgress), "its lease has not ended");
        provider.clock.leases_end();
        for to in ["ann", "bob"] {
            assert!(matches!(run(&store, &provider, to).await, Some(Guarded::Confirmed { earlier: false, .. })));
            assert_eq!(provider.paid(to), 1, "{to}");
        }
    }

    async fn t42_what_the_search_cannot_tell_is_not_called_again_but_reported(store) {
        let provider = Arc::new(Provider::default());
        provider.set("ann", &[Fate::PaidAndNoAnswer]);
        provider.is_blind.store(true, Ordering::SeqCst);
        assert!(matches!(run(&store, &provider, "ann").await, Some(Guarded::Unknown { .. })));
        for _ in 0..3 {
            provider.clock.leases_end();
            let Some(Guarded::Unknown { reason }) = run(&store, &provider, "ann").await else { panic!() };
            assert!(reason.contains("1000"), "{reason}");
        }
        assert_eq!((provider.paid("ann"), provider.calls.load(Ordering::SeqCst)), (1, 1));
        provider.is_blind.store(false, Ordering::SeqCst);
        provider.clock.leases_end();
        assert!(matches!(run(&store, &provider, "ann").await, Some(Guarded::Confirmed { .. })));
        assert_eq!(provider.calls.load(Ordering::SeqCst), 1, "found, not called");
    }

    async fn t43_a_runner_that_was_overtaken_is_told(store) {
        #[derive(Clone, Default)]
        struct Slow {
            begun: Arc<Notify>,
            go_on: Arc<Notify>,
            clock: Clock,
        }

        #[async_trait]
        impl External for Slow {
            type Request = Payout;
            type Response = String;
            async fn call(&self, _key: &Key, _request: &Payout) -> Result<String, CallError> {
                self.begun.notify_one();
                self.go_on.notified().await;
                Ok("late".into())
            }
            async fn find(&self, _key: &Key, _request: &Payout) -> Result<Found<String>, Source> {
                Ok(Found::Effect("found".into()))
            }
        }

        let slow = Slow::default();
        let guard = || {
            let clock = slow.clock.clone();
            Guard::new(&store, "slow", slow.clone()).unwrap().lease(Duration::from_mins(10)).clock(move || clock.now())
        };
        let key = Key::new("k").unwrap();
        let first = tokio::spawn({
            let (guard, key) = (guard(), key.clone());
            async move { guard.run(&key, &payout("ann")).await }
        });
        slow.begun.notified().await;
        slow.clock.leases_end();
        let second = guard().run(&key, &payout("ann")).await.unwrap();
        assert_eq!(second, Guarded::Confirmed { response: "found".into(), earlier: false });
        slow.go_on.notify_one();
        assert!(matches!(first.await.unwrap(), Err(Error::WrongExpectedVersion { .. })), "it must not confirm");
    }

    async fn of_runners_that_begin_at_once_one_calls(store) {
        let provider = Arc::new(Provider::default());
        let running: Vec<_> = (0..16).map(|_| {
            let guard = guard(&store, &provider);
            tokio::spawn(async move { guard.run(&Key::new("ann").unwrap(), &payout("ann")).await.unwrap() })
        }).collect();
        for running in running {
            assert!(matches!(running.await.unwrap(), Guarded::Confirmed { .. } | Guarded::InProgress));
        }
        assert_eq!((provider.paid("ann"), provider.calls.load(Ordering::SeqCst)), (1, 1));
    }
}

/// A thousand payouts, each with its own series of mishaps: none is paid twice, and each ends paid.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_payouts_with_mishaps_at_every_step_are_each_paid_once() {
    const MISHAPS: [Fate; 6] =
        [Fate::PaidAndNoAnswer, Fate::LostOnTheWay, Fate::Refused, Fate::DiesBefore, Fate::DiesAfter, Fate::Paid];
    let store = message_store_tests::accounts::sqlite().await;
    let provider = Arc::new(Provider::default());
    let names: Vec<String> = (0..1_000).map(|number| format!("payee{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        provider.set(name, &[MISHAPS[number % 6], MISHAPS[number / 6 % 6], MISHAPS[number / 36 % 6]]);
    }
    let mut open = names.clone();
    for _ in 0..10 {
        let mut still_open = Vec::new();
        for name in open {
            match run(&store, &provider, &name).await {
                Some(Guarded::Confirmed { .. }) => {}
                _ => still_open.push(name),
            }
        }
        open = still_open;
        provider.clock.leases_end();
    }
    assert!(open.is_empty(), "{} are open", open.len());
    for name in &names {
        assert_eq!(provider.paid(name), 1, "{name}");
    }
    let unknown = messages_of(&store, "guard:payout").await;
    assert!(unknown.iter().any(|message| message.message_type == "Unknown"), "each doubt is on record");
}

/// The same without the guard's search: twin of the thousand.
#[tokio::test]
async fn twin_without_a_search_before_the_next_call_a_payee_is_paid_twice() {
    let provider = Arc::new(Provider::default());
    provider.set("ann", &[Fate::PaidAndNoAnswer]);
    let payments = Payments(Arc::clone(&provider));
    while payments.call(&Key::new("ann").unwrap(), &payout("ann")).await.is_err() {}
    assert_eq!(provider.paid("ann"), 2);
}
