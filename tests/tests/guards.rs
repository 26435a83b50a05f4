//! The guard: paying out through the HTTP API of a provider that can break off after it has paid, and knows no keys.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use message_store::idempotence::{CallError, External, Found, Guard, Guarded, Key};
use message_store::{Error, MessageStore, Source};
use message_store_tests::accounts::messages_of;
use message_store_tests::on_both_stores;
use message_store_tests::payment_api::{Fate, Provider, http};
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

/// The provider, by its HTTP API.
struct Payments(SocketAddr);

#[async_trait]
impl External for Payments {
    type Request = Payout;
    type Response = String;

    async fn call(&self, _key: &Key, request: &Payout) -> Result<String, CallError> {
        match http(self.0, "POST", &request.to).await {
            Ok((201, receipt)) => Ok(receipt),
            Ok((402, reason)) => Err(CallError::Definite(reason.into())),
            // Whether it has paid, nobody can tell from this.
            Ok((status, _)) => Err(CallError::Ambiguous(format!("status {status}").into())),
            Err(error) => Err(CallError::Ambiguous(error.into())),
        }
    }

    async fn find(&self, _key: &Key, request: &Payout) -> Result<Found<String>, Source> {
        Ok(match http(self.0, "GET", &request.to).await? {
            (200, receipt) => Found::Effect(receipt),
            (404, _) => Found::Nothing,
            (_, reason) => Found::CannotTell(reason),
        })
    }
}

/// A provider, where it is to be reached, and the time that its guards go by.
struct World {
    provider: Arc<Provider>,
    address: SocketAddr,
    clock: Clock,
}

impl World {
    async fn new() -> Self {
        let provider = Arc::new(Provider::default());
        let address = provider.serve().await;
        Self { provider, address, clock: Clock::default() }
    }

    fn guard(&self, store: &Arc<dyn MessageStore>) -> Guard<Payments> {
        let clock = self.clock.clone();
        let guard = Guard::new(store, "payout", Payments(self.address)).unwrap();
        guard.lease(Duration::from_mins(10)).clock(move || clock.now())
    }

    /// Runs a payout in a process that may end while it calls.
    async fn run(&self, store: &Arc<dyn MessageStore>, to: &str) -> Option<Guarded<String>> {
        let (guard, key, to) = (self.guard(store), Key::new(to).unwrap(), payout(to));
        let mut running = tokio::spawn(async move { guard.run(&key, &to).await.unwrap() });
        tokio::select! {
            guarded = &mut running => Some(guarded.unwrap()),
            () = self.provider.caller_ends.notified() => {
                running.abort();
                // The process has ended when nothing of it runs any more.
                assert!(running.await.is_err());
                None
            }
        }
    }
}

fn payout(to: &str) -> Payout {
    Payout { to: to.into(), amount: 7 }
}

on_both_stores! {
    async fn a_call_is_made_once_and_its_answer_is_kept(store) {
        let world = World::new().await;
        let provider = Arc::clone(&world.provider);
        for earlier in [false, true, true] {
            let response = "receipt of ann".to_owned();
            assert_eq!(world.run(&store, "ann").await, Some(Guarded::Confirmed { response, earlier }));
        }
        assert_eq!((provider.paid("ann"), provider.calls()), (1, 1));
        let other = world.guard(&store).run(&Key::new("ann").unwrap(), &Payout { to: "ann".into(), amount: 8 }).await;
        assert_eq!(other.unwrap(), Guarded::Conflict);
    }

    async fn a_call_that_was_refused_is_tried_again(store) {
        let world = World::new().await;
        let provider = Arc::clone(&world.provider);
        provider.set("ann", &[Fate::Refused]);
        assert_eq!(world.run(&store, "ann").await, Some(Guarded::Failed { reason: "insufficient funds".into() }));
        assert!(matches!(world.run(&store, "ann").await, Some(Guarded::Confirmed { .. })));
        assert_eq!(provider.paid("ann"), 1);
    }

    async fn t41_a_call_that_paid_and_whose_caller_died_is_found_and_not_made_again(store) {
        let world = World::new().await;
        let provider = Arc::clone(&world.provider);
        provider.set("ann", &[Fate::CallerEndsAfter]);
        provider.set("bob", &[Fate::CallerEndsBefore]);
        assert_eq!(world.run(&store, "ann").await, None);
        assert_eq!(world.run(&store, "bob").await, None);
        assert_eq!(world.run(&store, "ann").await, Some(Guarded::InProgress), "its lease has not ended");
        world.clock.leases_end();
        for to in ["ann", "bob"] {
            assert!(matches!(world.run(&store, to).await, Some(Guarded::Confirmed { earlier: false, .. })));
            assert_eq!(provider.paid(to), 1, "{to}");
        }
    }

    async fn t42_what_the_search_cannot_tell_is_not_called_again_but_reported(store) {
        let world = World::new().await;
        let provider = Arc::clone(&world.provider);
        provider.set("ann", &[Fate::PaidAndNoAnswer]);
        provider.is_blind.store(true, Ordering::SeqCst);
        assert!(matches!(world.run(&store, "ann").await, Some(Guarded::Unknown { .. })));
        for _ in 0..3 {
            world.clock.leases_end();
            let Some(Guarded::Unknown { reason }) = world.run(&store, "ann").await else { panic!() };
            assert!(reason.contains("1000"), "{reason}");
        }
        assert_eq!((provider.paid("ann"), provider.calls()), (1, 1));
        provider.is_blind.store(false, Ordering::SeqCst);
        world.clock.leases_end();
        assert!(matches!(world.run(&store, "ann").await, Some(Guarded::Confirmed { .. })));
        assert_eq!(provider.calls(), 1, "found, not called");
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
        let world = World::new().await;
        let provider = Arc::clone(&world.provider);
        let running: Vec<_> = (0..16).map(|_| {
            let guard = world.guard(&store);
            tokio::spawn(async move { guard.run(&Key::new("ann").unwrap(), &payout("ann")).await.unwrap() })
        }).collect();
        for running in running {
            assert!(matches!(running.await.unwrap(), Guarded::Confirmed { .. } | Guarded::InProgress));
        }
        assert_eq!((provider.paid("ann"), provider.calls()), (1, 1));
    }
}

/// A thousand payouts, each with its own series of mishaps: none is paid twice, and each ends paid.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_payouts_with_mishaps_at_every_step_are_each_paid_once() {
    const MISHAPS: [Fate; 6] = [
        Fate::PaidAndNoAnswer,
        Fate::LostOnTheWay,
        Fate::Refused,
        Fate::CallerEndsBefore,
        Fate::CallerEndsAfter,
        Fate::Paid,
    ];
    let store = message_store_tests::accounts::sqlite().await;
    let world = World::new().await;
    let provider = Arc::clone(&world.provider);
    let names: Vec<String> = (0..1_000).map(|number| format!("payee{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        provider.set(name, &[MISHAPS[number % 6], MISHAPS[number / 6 % 6], MISHAPS[number / 36 % 6]]);
    }
    let mut open = names.clone();
    for _ in 0..10 {
        let mut still_open = Vec::new();
        for name in open {
            match world.run(&store, &name).await {
                Some(Guarded::Confirmed { .. }) => {}
                _ => still_open.push(name),
            }
        }
        open = still_open;
        world.clock.leases_end();
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
    let world = World::new().await;
    let provider = Arc::clone(&world.provider);
    provider.set("ann", &[Fate::PaidAndNoAnswer]);
    let payments = Payments(world.address);
    while payments.call(&Key::new("ann").unwrap(), &payout("ann")).await.is_err() {}
    assert_eq!(provider.paid("ann"), 2);
}
