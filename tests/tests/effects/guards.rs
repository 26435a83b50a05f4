//! The guard: payouts through the HTTP API of a provider that has no keys and can fail after it has paid.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::{Consumer, ConsumerHandle, DeadLetters, OnFailure};
use message_store::handling::{CallError, Context, External, Found, Guard, GuardBug, Guarded, Handler};
use message_store::testing::FaultyStore;
use message_store::{
    Append, Error, ExpectedVersion, Json, Key, Message, MessageStore, MessageStoreExt as _, NewMessage, Outcome,
    Source, StreamName,
};
use message_store_tests::accounts::messages_of;
use message_store_tests::on_both_stores;
use message_store_tests::payment_api::{Fate, Provider, http};
use serde::Serialize;
use tokio::sync::Notify;

/// The lease of the guards in these tests.
const LEASE: Duration = Duration::from_mins(10);

#[derive(Serialize, Clone, Debug)]
struct Payout {
    to: String,
    amount: u64,
}

/// A client of the provider's HTTP API.
struct Payments(SocketAddr);

#[async_trait]
impl External for Payments {
    type Request = Payout;
    type Response = String;

    async fn call(&self, _key: &Key, request: &Payout) -> Result<String, CallError> {
        match http(self.0, "POST", &request.to).await {
            Ok((201, receipt)) => Ok(receipt),
            Ok((402, reason)) => Err(CallError::NoEffect(reason.into())),
            // This answer does not tell whether the provider has paid.
            Ok((status, _)) => Err(CallError::Ambiguous(format!("status {status}").into())),
            Err(error) => Err(CallError::Ambiguous(error.into())),
        }
    }

    async fn find(&self, _key: &Key, request: &Payout) -> Result<Found<String>, Source> {
        Ok(match http(self.0, "GET", &request.to).await? {
            (200, receipt) => Found::Effect(receipt),
            (404, _) => Found::Nothing,
            (_, reason) => Found::Inconclusive(reason),
        })
    }
}

/// A provider, its address, and a store whose clock a test can advance.
struct World {
    provider: Arc<Provider>,
    address: SocketAddr,
    clock: Arc<FaultyStore>,
    bug: Option<GuardBug>,
}

impl World {
    async fn new(store: &Arc<dyn MessageStore>) -> Self {
        let provider = Arc::new(Provider::default());
        let address = provider.serve().await;
        Self { provider, address, clock: FaultyStore::new(store), bug: None }
    }

    fn leases_end(&self) {
        self.clock.pass(LEASE);
    }

    fn guard(&self) -> Guard<Payments> {
        let store: Arc<dyn MessageStore> = self.clock.clone();
        planted(Guard::new(&store, "payout", Payments(self.address)).unwrap(), self.bug)
    }

    /// Runs a payout in a process that may end during its call.
    async fn run(&self, to: &str) -> Option<Guarded<String>> {
        let (guard, key, to) = (self.guard(), Key::new(to).unwrap(), payout(to));
        let mut running = tokio::spawn(async move { guard.run(&key, &to).await.unwrap() });
        tokio::select! {
            guarded = &mut running => Some(guarded.unwrap()),
            () = self.provider.caller_ends.notified() => {
                running.abort();
                // Wait until all tasks of the process have ended.
                assert!(running.await.is_err());
                None
            }
        }
    }
}

fn planted<X: External>(guard: Guard<X>, bug: Option<GuardBug>) -> Guard<X> {
    let guard = guard.lease(LEASE);
    match bug {
        Some(bug) => guard.plant(bug),
        None => guard,
    }
}

/// A slow external system that counts concurrent calls.
#[derive(Clone, Default)]
struct Slow {
    calls: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
    has_effect: bool,
}

#[async_trait]
impl External for Slow {
    type Request = Payout;
    type Response = String;

    async fn call(&self, _key: &Key, _request: &Payout) -> Result<String, CallError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        self.begun.notify_one();
        self.go_on.notified().await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        Ok("paid".into())
    }

    async fn find(&self, _key: &Key, _request: &Payout) -> Result<Found<String>, Source> {
        Ok(if self.has_effect { Found::Effect("found".into()) } else { Found::Nothing })
    }
}

/// The append of one runner is written and answered after its lease. A second runner takes over and calls. Returns the
/// number of concurrent calls.
async fn an_append_that_is_answered_after_its_lease(store: &Arc<dyn MessageStore>, bug: Option<GuardBug>) -> usize {
    let (clock, slow) = (FaultyStore::new(store), Slow::default());
    let guard = || {
        let store: Arc<dyn MessageStore> = clock.clone();
        planted(Guard::new(&store, "slow", slow.clone()).unwrap(), bug)
    };
    let run = || {
        let guard = guard();
        tokio::spawn(async move { guard.run(&Key::new("k").unwrap(), &payout("ann")).await })
    };
    clock.delay_answers(1);
    let first = run();
    clock.answer_is_delayed().await;
    clock.pass(LEASE);
    let second = run();
    slow.begun.notified().await;
    clock.release_answer();
    if bug.is_some() {
        slow.begun.notified().await;
    } else {
        let first = first.await.unwrap().unwrap();
        assert!(matches!(first, Guarded::InProgress { .. }), "{first}");
    }
    slow.go_on.notify_one();
    slow.go_on.notify_waiters();
    if bug.is_none() {
        assert!(matches!(second.await.unwrap().unwrap(), Guarded::Confirmed { earlier: false, .. }));
    }
    slow.most_at_once.load(Ordering::SeqCst)
}

/// While a call is under way, the store gets another history, in which `step`, if it is given, is the last one of the
/// call.
async fn the_history_changes_during_a_call(
    store: &Arc<dyn MessageStore>,
    step: Option<NewMessage>,
) -> Result<Guarded<String>, Error> {
    let (faulty, slow) = (FaultyStore::new(store), Slow::default());
    let shared: Arc<dyn MessageStore> = faulty.clone();
    let guard = planted(Guard::new(&shared, "slow", slow.clone()).unwrap(), None);
    let running = tokio::spawn(async move { guard.run(&Key::new("k").unwrap(), &payout("ann")).await });
    slow.begun.notified().await;
    faulty.change_history();
    if let Some(step) = step {
        let claim = messages_of(store, "guard:slow").await.remove(0);
        store.append_to(&claim.stream, ExpectedVersion::Any, vec![step]).await.unwrap();
    }
    slow.go_on.notify_one();
    running.await.unwrap()
}

fn payout(to: &str) -> Payout {
    Payout { to: to.into(), amount: 7 }
}

on_both_stores! {
    async fn a_call_is_made_once_and_its_answer_is_kept(store) {
        let world = World::new(&store).await;
        let provider = Arc::clone(&world.provider);
        for earlier in [false, true, true] {
            let response = "receipt of ann".to_owned();
            assert_eq!(world.run("ann").await, Some(Guarded::Confirmed { response, earlier }));
        }
        assert_eq!((provider.paid("ann"), provider.calls()), (1, 1));
        let other = world.guard().run(&Key::new("ann").unwrap(), &Payout { to: "ann".into(), amount: 8 }).await;
        assert_eq!(other.unwrap(), Guarded::Conflict);
    }

    async fn a_call_that_was_refused_is_tried_again(store) {
        let world = World::new(&store).await;
        let provider = Arc::clone(&world.provider);
        provider.set("ann", &[Fate::Refused]);
        assert_eq!(world.run("ann").await, Some(Guarded::Failed { reason: "insufficient funds".into() }));
        assert!(matches!(world.run("ann").await, Some(Guarded::Confirmed { .. })));
        assert_eq!(provider.paid("ann"), 1);
    }

    async fn t41_a_call_that_paid_and_whose_caller_died_is_found_and_not_made_again(store) {
        let world = World::new(&store).await;
        let provider = Arc::clone(&world.provider);
        provider.set("ann", &[Fate::CallerEndsAfter]);
        provider.set("bob", &[Fate::CallerEndsBefore]);
        assert_eq!(world.run("ann").await, None);
        assert_eq!(world.run("bob").await, None);
        assert!(matches!(world.run("ann").await, Some(Guarded::InProgress { .. })), "its lease has not ended");
        world.leases_end();
        for to in ["ann", "bob"] {
            assert!(matches!(world.run(to).await, Some(Guarded::Confirmed { earlier: false, .. })));
            assert_eq!(provider.paid(to), 1, "{to}");
        }
    }

    async fn t42_after_an_inconclusive_search_the_call_is_not_repeated_but_reported(store) {
        let world = World::new(&store).await;
        let provider = Arc::clone(&world.provider);
        provider.set("ann", &[Fate::PaidAndNoAnswer]);
        provider.is_blind.store(true, Ordering::SeqCst);
        assert!(matches!(world.run("ann").await, Some(Guarded::Unknown { .. })));
        for _ in 0..3 {
            world.leases_end();
            let Some(Guarded::Unknown { reason }) = world.run("ann").await else { panic!() };
            assert!(reason.contains("1000"), "{reason}");
        }
        assert_eq!((provider.paid("ann"), provider.calls()), (1, 1));
        provider.is_blind.store(false, Ordering::SeqCst);
        world.leases_end();
        assert!(matches!(world.run("ann").await, Some(Guarded::Confirmed { .. })));
        assert_eq!(provider.calls(), 1, "found, not called");
    }

    async fn t43_an_overtaken_runner_gets_an_error(store) {
        let (clock, slow) = (FaultyStore::new(&store), Slow { has_effect: true, ..Slow::default() });
        let guard = || {
            let store: Arc<dyn MessageStore> = clock.clone();
            planted(Guard::new(&store, "slow", slow.clone()).unwrap(), None)
        };
        let key = Key::new("k").unwrap();
        let first = tokio::spawn({
            let (guard, key) = (guard(), key.clone());
            async move { guard.run(&key, &payout("ann")).await }
        });
        slow.begun.notified().await;
        clock.pass(LEASE);
        let second = guard().run(&key, &payout("ann")).await.unwrap();
        assert_eq!(second, Guarded::Confirmed { response: "found".into(), earlier: false });
        slow.go_on.notify_one();
        assert!(matches!(first.await.unwrap(), Err(Error::WrongExpectedVersion { .. })), "it must not confirm");
    }

    async fn the_result_of_a_call_is_recorded_even_if_the_history_has_changed(store) {
        let guarded = the_history_changes_during_a_call(&store, None).await.unwrap();
        assert_eq!(guarded.to_string(), "the call had its effect");
        assert_eq!(messages_of(&store, "guard:slow").await.last().unwrap().message_type, "Confirmed");
    }

    async fn a_runner_whose_claim_is_not_the_last_step_of_the_new_history_is_told(store) {
        let data = Json::parse(r#"{"attempt":1,"request":"r","lease":60000}"#).unwrap();
        let other = NewMessage::new("Prepared", data);
        let error = the_history_changes_during_a_call(&store, Some(other)).await.unwrap_err();
        assert!(matches!(error, Error::WrongExpectedVersion { .. }), "to try again would call again: {error}");
    }

    async fn a_runner_whose_append_was_answered_after_its_lease_does_not_call_beside_another(store) {
        assert_eq!(an_append_that_is_answered_after_its_lease(&store, None).await, 1);
    }

    async fn twin_when_the_lease_is_not_asked_for_after_the_append_two_call_at_once(store) {
        assert_eq!(an_append_that_is_answered_after_its_lease(&store, Some(GuardBug::LeaseUnchecked)).await, 2);
    }

    async fn a_runner_with_too_little_left_of_its_lease_prepares_its_call_again(store) {
        let world = World::new(&store).await;
        world.clock.delay_answers(1);
        let running = { let guard = world.guard(); tokio::spawn(async move { guard.run(&Key::new("ann").unwrap(), &payout("ann")).await }) };
        world.clock.answer_is_delayed().await;
        world.clock.pass(LEASE / 2);
        world.clock.release_answer();
        assert!(matches!(running.await.unwrap().unwrap(), Guarded::Confirmed { earlier: false, .. }));
        assert_eq!(world.provider.calls(), 1);
        let steps: Vec<String> =
            messages_of(&store, "guard:payout").await.into_iter().map(|step| step.message_type).collect();
        assert_eq!(steps, ["Prepared", "Prepared", "Confirmed"]);
    }

    async fn while_every_append_takes_longer_than_its_lease_allows_nothing_is_called(store) {
        let world = World::new(&store).await;
        world.clock.delay_answers(5);
        let running = { let guard = world.guard(); tokio::spawn(async move { guard.run(&Key::new("ann").unwrap(), &payout("ann")).await }) };
        for _ in 0..5 {
            world.clock.answer_is_delayed().await;
            world.clock.pass(LEASE);
            world.clock.release_answer();
        }
        let error = running.await.unwrap().unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("lease"), "{error}");
        assert_eq!(world.provider.calls(), 0);
        // The next run finds that the call had no effect, and calls again.
        world.leases_end();
        assert!(matches!(world.run("ann").await, Some(Guarded::Confirmed { .. })));
        assert_eq!(world.provider.paid("ann"), 1);
    }

    async fn a_call_that_takes_too_long_is_searched_for_only_when_its_lease_has_ended(store) {
        struct Silent(AtomicUsize);

        #[async_trait]
        impl External for Silent {
            type Request = u32;
            type Response = String;
            async fn call(&self, _: &Key, _: &u32) -> Result<String, CallError> { std::future::pending().await }
            async fn find(&self, _: &Key, _: &u32) -> Result<Found<String>, Source> {
                self.0.fetch_add(1, Ordering::SeqCst);
                Ok(Found::Inconclusive("a lag".into()))
            }
        }

        let clock = FaultyStore::new(&store);
        let shared: Arc<dyn MessageStore> = clock.clone();
        let lease = Duration::from_secs(6);
        let guard = Guard::new(&shared, "silent", Silent(AtomicUsize::new(0))).unwrap().lease(lease);
        let key = Key::new("k").unwrap();
        assert!(matches!(guard.run(&key, &7).await.unwrap(), Guarded::Unknown { .. }));
        let meanwhile = guard.run(&key, &7).await.unwrap();
        let Guarded::InProgress { lease_left } = meanwhile else { panic!("it may still be under way: {meanwhile}") };
        assert!(lease_left <= lease && lease_left > lease / 4, "{lease_left:?}");
        assert_eq!(guard.external().0.load(Ordering::SeqCst), 0);
        clock.pass(lease);
        assert!(matches!(guard.run(&key, &7).await.unwrap(), Guarded::Unknown { .. }));
        assert_eq!(guard.external().0.load(Ordering::SeqCst), 1);
    }

    async fn of_runners_that_begin_at_once_one_calls(store) {
        let world = World::new(&store).await;
        let provider = Arc::clone(&world.provider);
        let running: Vec<_> = (0..16).map(|_| {
            let guard = world.guard();
            tokio::spawn(async move { guard.run(&Key::new("ann").unwrap(), &payout("ann")).await.unwrap() })
        }).collect();
        for running in running {
            assert!(matches!(running.await.unwrap(), Guarded::Confirmed { .. } | Guarded::InProgress { .. }));
        }
        assert_eq!((provider.paid("ann"), provider.calls()), (1, 1));
    }

    async fn a_payment_whose_runner_was_killed_is_confirmed_after_the_lease_and_not_parked(store) {
        for (policy, to, fate) in [
            (OnFailure::Stop, "ann", Fate::CallerEndsAfter),
            (OnFailure::Park, "bob", Fate::CallerEndsAfter),
            (OnFailure::Hold, "cid", Fate::CallerEndsBefore),
            (OnFailure::Stop, "dan", Fate::Refused),
        ] {
            let world = World::new(&store).await;
            world.provider.set(to, &[fate]);
            let command = StreamName::new(format!("payment:command-{to}")).unwrap();
            let pay = NewMessage::new("Pay", Json::NULL);
            let sent = store.append_to(&command, ExpectedVersion::Any, vec![pay]).await.unwrap().written[0];
            let consumer = world.start(policy).await;
            if fate != Fate::Refused {
                world.provider.caller_ends.notified().await;
            }
            drop(consumer);
            let mut next = world.start(policy).await;
            next.wait_for(sent.global_position).await.unwrap();
            let payment = StreamName::new(format!("payment-{to}")).unwrap();
            assert_eq!(store.version(&payment).await.unwrap().position(), None, "{to}");
            let _ = next.stop().await.unwrap();
            world.leases_end();
            let last = world.start(policy).await;
            while store.version(&payment).await.unwrap().position().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(world.provider.paid(to), 1, "{to}");
            let letters = DeadLetters::of(&store, "payment:command", None).unwrap();
            while !letters.list().await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let _ = last.stop().await.unwrap();
        }
    }
}

/// Makes a thousand payouts, each with its own series of faults. No payee is paid twice, and each is paid in the end.
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
    let world = World::new(&store).await;
    let provider = Arc::clone(&world.provider);
    let names: Vec<String> = (0..1_000).map(|number| format!("payee{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        provider.set(name, &[MISHAPS[number % 6], MISHAPS[number / 6 % 6], MISHAPS[number / 36 % 6]]);
    }
    let mut open = names.clone();
    for _ in 0..10 {
        let mut still_open = Vec::new();
        for name in open {
            match world.run(&name).await {
                Some(Guarded::Confirmed { .. }) => {}
                _ => still_open.push(name),
            }
        }
        open = still_open;
        world.leases_end();
    }
    assert!(open.is_empty(), "{} are open", open.len());
    for name in &names {
        assert_eq!(provider.paid(name), 1, "{name}");
    }
    let unknown = messages_of(&store, "guard:payout").await;
    assert!(unknown.iter().any(|message| message.message_type == "Unknown"), "each doubt is on record");
}

/// The provider pays and breaks the connection, and the guard runs again. Returns the number of payments.
async fn paid_without_an_answer(bug: Option<GuardBug>) -> u64 {
    let store = message_store_tests::accounts::sqlite().await;
    let world = World { bug, ..World::new(&store).await };
    world.provider.set("ann", &[Fate::CallerEndsAfter]);
    while !matches!(world.run("ann").await, Some(Guarded::Confirmed { .. })) {
        world.leases_end();
    }
    world.provider.paid("ann")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_guard_searches_before_it_calls_again() {
    assert_eq!(paid_without_an_answer(None).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_without_a_search_before_the_next_call_a_payee_is_paid_twice() {
    assert_eq!(paid_without_an_answer(Some(GuardBug::NoSearch)).await, 2);
}

/// Pays for each message.
struct Pays(Guard<Payments>);

#[async_trait]
impl Handler for Pays {
    fn name(&self) -> &'static str {
        "Pays"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Pay"]
    }

    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        let to = message.stream.id().unwrap_or_default();
        let receipt = self.0.run(&Key::new(to)?, &payout(to)).await?.or_again_after(LEASE)?;
        let paid = Append::to(StreamName::new(format!("payment-{to}"))?);
        Ok(context.write("paid", paid.message(NewMessage::new("Paid", Json::encode(&receipt)?))).await?)
    }
}

impl World {
    async fn start(&self, policy: OnFailure) -> ConsumerHandle {
        let store: Arc<dyn MessageStore> = self.clock.clone();
        Consumer::new("payment:command", Pays(self.guard())).on_failure(policy).start(&store).await.unwrap()
    }
}
