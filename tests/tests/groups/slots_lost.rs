//! Elastic groups: slots are lost, leases end and members stop at awkward times.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::{Consumer, ConsumerHandle, OnFailure, OutcomeCounts, Process};
use message_store::handling::{Context, Fault, Handler};
use message_store::testing::FaultyStore;
use message_store::{Append, Json, Message, MessageStore, NewMessage, Outcome, Source, StreamName};
use message_store_tests::accounts::{balance, put, send_deposits};
use message_store_tests::elastic::{
    LEASE, becomes, is_resolved, join, letters, member, resumed_with_a_refused_append, retry, status, until,
    until_divided, until_handled,
};
use message_store_tests::marked::Marked;
use message_store_tests::on_both_stores;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

type Store = Arc<dyn MessageStore>;

on_both_stores! {
    /// The lease ends while a letter is redelivered (an outage of the heartbeats). The group heals. A later retry must be
    /// delivered.
    async fn letters_are_delivered_after_a_redelivery_lost_its_slot(store) {
        let handler = Marked::new(&store, None);
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let sent = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let other = send_deposits(&store, "account:command", "2", 1).await.remove(0);
        handler.fail(&sent);
        handler.fail(&other);
        let member = join(&shared, &handler, OnFailure::Park).await;
        until_divided(&[&member]).await;
        until_handled(&store, other.global_position).await;
        handler.mend();
        let permits = handler.wait_in("1");
        retry(&store, &sent).await;
        handler.begun.notified().await;
        faulty.lose_heartbeats(true);
        until("the lease has ended", async || status(&store).await.unowned().count() == 64).await;
        permits.add_permits(99);
        sleep(LEASE).await;
        faulty.lose_heartbeats(false);
        until_divided(&[&member]).await;
        until("the store shows the owner", async || status(&store).await.unowned().count() == 0).await;
        retry(&store, &other).await;
        let is_other_closed = becomes(async || is_resolved(&store, &other).await).await;
        let is_first_closed = becomes(async || is_resolved(&store, &sent).await).await;
        let outage = member.outage();
        let stopped = member.stop_within(Duration::from_secs(1)).await.map(drop);
        assert!(is_other_closed && is_first_closed, "closed: {is_first_closed} {is_other_closed}; outage {outage:?}; stopped {stopped:?}");
    }

    /// The owner crashed during a redelivery. The next one resumes it, and one append fails for a passing reason.
    async fn a_resumed_letter_survives_an_outage(store) {
        let sent = send_deposits(&store, "account:command", "1", 2).await;
        let second = resumed_with_a_refused_append(&store, &sent, OnFailure::Hold).await;
        let is_empty = becomes(async || letters(&store).list().await.unwrap().is_empty()).await;
        let listed = letters(&store).list().await.unwrap();
        let stopped = second.stop().await.map(drop);
        assert!(is_empty, "stopped {stopped:?}, letters {listed:?}");
        assert_eq!(balance(&store, "1").await, 2);
    }

    /// A letter is due after the lease has ended.
    async fn a_member_goes_on_if_a_letter_was_due_after_its_lease(store) {
        let handler = Again(Arc::default());
        let sent = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let consumer = member(handler.clone(), OnFailure::Park);
        let mut member = consumer.start(&shared).await.unwrap();
        until("a letter is written", async || letters(&store).show(sent.id).await.ok().flatten().is_some()).await;
        faulty.lose_heartbeats(true);
        let ended = timeout(Duration::from_secs(5), member.ended()).await;
        faulty.lose_heartbeats(false);
        assert!(ended.is_err(), "the member ended: {ended:?}");
        until("it is delivered", async || is_resolved(&store, &sent).await).await;
        let _ = member.stop().await.unwrap();
    }

    /// A handler's fenced write is refused, under `Stop`.
    async fn a_member_goes_on_if_a_fenced_write_was_refused_under_stop(store) {
        let handler = Fenced(Arc::default(), Arc::default());
        let sent = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let consumer = member(handler.clone(), OnFailure::Stop);
        let mut member = consumer.start(&shared).await.unwrap();
        until("it begins", async || handler.0.load(Ordering::SeqCst) == 1).await;
        faulty.lose_heartbeats(true);
        until("the lease has ended", async || status(&store).await.unowned().count() == 64).await;
        handler.1.notify_one();
        let ended = timeout(LEASE, member.ended()).await;
        faulty.lose_heartbeats(false);
        assert!(ended.is_err(), "the member ended: {ended:?}");
        handler.1.notify_one();
        until("it is handled", async || { handler.1.notify_one(); handler.0.load(Ordering::SeqCst) >= 2 }).await;
        until_handled(&store, sent.global_position).await;
        let _ = member.stop().await.unwrap();
    }

    /// Streams with an empty id.
    async fn streams_with_an_empty_id(store) {
        let handler = Counts(Arc::default());
        let consumer = member(handler.clone(), OnFailure::Stop);
        let mut last = None;
        for _ in 0..3 {
            put(&store, "account:command", "Deposit", "{\"amount\":1}", "{}").await;
            last = Some(put(&store, "account:command-", "Deposit", "{\"amount\":1}", "{}").await);
        }
        let last = last.unwrap();
        let member = consumer.start(&store).await.unwrap();
        until_divided(&[&member]).await;
        let is_handled = becomes(async || handler.0.load(Ordering::SeqCst) >= 6).await;
        let is_saved = becomes(async || status(&store).await.slots.iter().all(|slot| slot.position >= last.global_position)).await;
        let behind: Vec<_> = status(&store).await.slots.iter().filter(|slot| slot.position < last.global_position).map(|s| (s.number, s.position)).collect();
        let _ = member.stop().await;
        assert!(is_handled && is_saved, "handled {is_handled}, saved {is_saved}: {behind:?}");
    }

    /// The same after the slot is lost, and claimed again.
    async fn streams_with_an_empty_id_after_a_move(store) {
        let handler = Counts(Arc::default());
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let gate = handler.clone();
        let slow = SlowFirst(gate, Arc::new(Semaphore::new(0)));
        let consumer = member(slow.clone(), OnFailure::Stop);
        let mut last = None;
        for _ in 0..3 {
            last = Some(put(&store, "account:command-", "Deposit", "{\"amount\":1}", "{}").await);
        }
        let last = last.unwrap();
        let member = consumer.start(&shared).await.unwrap();
        until_divided(&[&member]).await;
        sleep(LEASE).await;
        faulty.lose_heartbeats(true);
        until("the lease has ended", async || status(&store).await.unowned().count() == 64).await;
        // Another member takes the slots.
        let other = join(&store, &Marked::new(&store, None), OnFailure::Park).await;
        drop(other);
        faulty.lose_heartbeats(false);
        slow.1.add_permits(99);
        sleep(LEASE * 4).await;
        until_divided(&[&member]).await;
        let is_saved = becomes(async || status(&store).await.slots.iter().all(|slot| slot.position >= last.global_position)).await;
        let behind: Vec<_> = status(&store).await.slots.iter().filter(|slot| slot.position < last.global_position).map(|s| (s.number, s.position)).collect();
        let handled = handler.0.load(Ordering::SeqCst);
        let _ = member.stop().await;
        assert!(is_saved, "handled {handled}, saved {is_saved}: {behind:?}");
    }

    /// A member is asked to stop while one handler is slow. Its other entities go to the other member.
    async fn the_idle_slots_of_a_member_that_stops_are_taken_over(store) {
        let next = Marked::new(&store, None);
        let (permits, stopping, second) = one_stops_and_one_runs(&store, &next).await;
        for account in 2..40 {
            send_deposits(&store, "account:command", &account.to_string(), 1).await;
        }
        let are_handled = becomes(async || next.handled.lock().unwrap().len() == 38).await;
        let handled = next.handled.lock().unwrap().len();
        permits.add_permits(9);
        let _ = stopping.await.unwrap().unwrap();
        let _ = second.stop().await.unwrap();
        assert!(are_handled, "only {handled} of 38 were handled");
    }

    /// A member stops, and waits for one slow handler. The other member leaves.
    async fn a_member_that_stops_claims_no_slots(store) {
        let (permits, stopping, second) = one_stops_and_one_runs(&store, &Marked::new(&store, None)).await;
        let _ = second.stop().await.unwrap();
        sleep(LEASE * 2).await;
        let next = Marked::new(&store, None);
        let third = join(&store, &next, OnFailure::Park).await;
        for account in 2..40 {
            send_deposits(&store, "account:command", &account.to_string(), 1).await;
        }
        let are_handled = becomes(async || next.handled.lock().unwrap().len() == 38).await;
        let (handled, slots) = (next.handled.lock().unwrap().len(), third.slots().len());
        let owners: std::collections::BTreeMap<_, usize> = status(&store).await.slots.iter().fold(std::collections::BTreeMap::default(), |mut owners, slot| {
            *owners.entry(slot.owner.clone()).or_default() += 1;
            owners
        });
        permits.add_permits(9);
        let _ = stopping.await.unwrap().unwrap();
        let _ = third.stop().await.unwrap();
        assert!(are_handled, "the running member has {slots} slots, and handled {handled} of 38; owners {owners:?}");
    }

    /// A consumer without a group starts while the elastic group runs.
    async fn a_single_consumer_is_refused_while_the_group_runs(store) {
        let handler = Marked::new(&store, None);
        let member = join(&store, &handler, OnFailure::Park).await;
        until_divided(&[&member]).await;
        let single = Marked::new(&store, None);
        let consumer = Consumer::new("account:command", single.clone()).identifier("g").in_process(&Process::default());
        let started = consumer.start(&store).await;
        let sent = send_deposits(&store, "account:command", "1", 5).await;
        until_handled(&store, sent[4].global_position).await;
        sleep(LEASE).await;
        let both = (handler.handled.lock().unwrap().len(), single.handled.lock().unwrap().len());
        let is_refused = started.is_err();
        drop(started);
        let _ = member.stop().await.unwrap();
        assert!(is_refused, "both handle the messages: {both:?}");
    }

    /// The store has another history, and has lost messages.
    async fn a_member_goes_on_in_another_history(store) {
        let handler = Marked::new(&store, None);
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let sent = send_deposits(&store, "account:command", "1", 3).await;
        let mut member = join(&shared, &handler, OnFailure::Park).await;
        until_divided(&[&member]).await;
        until_handled(&store, sent[2].global_position).await;
        for round in 0..3 {
            faulty.change_history();
            let more = send_deposits(&store, "account:command", "1", 1).await.remove(0);
            let ended = timeout(Duration::from_secs(1), member.ended()).await;
            assert!(ended.is_err(), "round {round}: the member ended: {ended:?}");
            until_handled(&store, more.global_position).await;
        }
        assert_eq!(balance(&store, "1").await, 6);
        let _ = member.stop().await.unwrap();
    }
}

/// Asks for another delivery at first.
#[derive(Clone)]
struct Again(Arc<AtomicUsize>);

#[async_trait]
impl Handler for Again {
    fn name(&self) -> &'static str {
        "Again"
    }
    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }
    async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(Fault::again_after(LEASE * 2, "not yet").into());
        }
        Ok(Outcome::Ignored)
    }
}

/// Writes with the fence.
#[derive(Clone)]
struct Fenced(Arc<AtomicUsize>, Arc<tokio::sync::Notify>);

#[async_trait]
impl Handler for Fenced {
    fn name(&self) -> &'static str {
        "Fenced"
    }
    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }
    async fn handle(&self, _: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.notified().await;
        let append = Append::to(StreamName::new("fenced-1")?).message(NewMessage::new("Written", Json::NULL));
        let request = message_store::AppendRequest::from(append).fenced_by(context.fence().unwrap().clone());
        context.store().append(request).await?;
        Ok(Outcome::Ignored)
    }
}

#[derive(Clone)]
struct Counts(Arc<AtomicUsize>);

#[async_trait]
impl Handler for Counts {
    fn name(&self) -> &'static str {
        "Counts"
    }
    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }
    async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Outcome::Ignored)
    }
}

#[derive(Clone)]
struct SlowFirst(Counts, Arc<Semaphore>);

#[async_trait]
impl Handler for SlowFirst {
    fn name(&self) -> &'static str {
        "SlowFirst"
    }
    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }
    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        self.1.acquire().await?.forget();
        self.0.handle(message, context).await
    }
}

/// A member is stopping, and waits for a permit to end the delivery of one message. A second member runs.
async fn one_stops_and_one_runs(
    store: &Store,
    running: &Marked,
) -> (Arc<Semaphore>, JoinHandle<message_store::Result<OutcomeCounts>>, ConsumerHandle) {
    let handler = Marked::new(store, None);
    let permits = handler.wait_in("1");
    let first = join(store, &handler, OnFailure::Park).await;
    until_divided(&[&first]).await;
    send_deposits(store, "account:command", "1", 1).await;
    handler.begun.notified().await;
    let second = join(store, running, OnFailure::Park).await;
    until_divided(&[&first, &second]).await;
    let stopping = tokio::spawn(first.stop());
    sleep(Duration::from_millis(300)).await;
    (permits, stopping, second)
}
