//! Elastic groups: letters and suspects when slots move, and failovers.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::{Consumer, ElasticGroup, OnFailure, Process};
use message_store::handling::{Context, Handler};
use message_store::testing::FaultyStore;
use message_store::{Message, MessageStore, Outcome, Source, connect};
use message_store_tests::accounts::{balance, send_deposits};
use message_store_tests::elastic::{
    LEASE, account_in, becomes, is_resolved, join, join_with, letters, member, resumed_with_a_refused_append, retry,
    until, until_divided, until_handled,
};
use message_store_tests::expire::AgeingStore;
use message_store_tests::marked::Marked;
use message_store_tests::on_both_stores;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

type Store = Arc<dyn MessageStore>;

on_both_stores! {
    /// The owner crashed during a redelivery. The next one resumes it, and one append fails for a passing reason.
    async fn a_resumed_letter_survives_a_transient_failure(store) {
        let sent = send_deposits(&store, "account:command", "1", 1).await;
        let second = resumed_with_a_refused_append(&store, &sent, OnFailure::Park).await;
        let is_resolved = becomes(async || is_resolved(&store, &sent[0]).await).await;
        let letter = letters(&store).show(sent[0].id).await.unwrap().unwrap();
        let can_be_retried = letters(&store).retry(&letter).await.unwrap();
        let _ = second.stop().await.unwrap();
        assert!(is_resolved, "the letter stays {:?}; an operator can retry it: {can_be_retried}", letter.state);
    }

    /// A slot is released while it has a suspect that was recorded.
    async fn a_release_keeps_the_suspects(store) {
        // Of the slots that a second member gets.
        let (deadly, slot) = (account_in(5..6), 5);
        let progress = async || {
            store.leases().unwrap().group("account:command+position-g").await.unwrap().slots[slot].progress.as_str().unwrap().to_owned()
        };
        let before = Marked::new(&store, None);
        let member = join(&store, &before, OnFailure::Park).await;
        until_divided(&[&member]).await;
        drop(member);
        let sent = send_deposits(&store, "account:command", deadly, 1).await.remove(0);
        // Members die of the message until it is recorded as a suspect: the second, or the third if the member above was
        // dropped before it had saved that it began.
        let mut recorded = String::new();
        for _ in 0..3 {
            let handler = Marked::new(&store, None);
            handler.deadly.lock().unwrap().insert(sent.id);
            let member = join(&store, &handler, OnFailure::Park).await;
            handler.dying.notified().await;
            drop(member);
            recorded = progress().await;
            if recorded.contains("suspect") {
                break;
            }
        }
        assert!(recorded.contains("suspect"), "{recorded}");
        // The next one has another message under way in its process, so the suspect waits for its turn.
        let process = Process::default();
        let busy = Marked::new(&store, None);
        let permits = busy.wait_in("busy");
        send_deposits(&store, "other", "busy", 1).await;
        let other = Consumer::new("other", busy.clone()).in_process(&process).start(&store).await.unwrap();
        busy.begun.notified().await;
        let handler = Marked::new(&store, None);
        handler.deadly.lock().unwrap().insert(sent.id);
        let third = join_with(&store, &handler, OnFailure::Park, |consumer| consumer.in_process(&process)).await;
        until("it owns all", async || third.slots().len() == 64).await;
        let fourth_handler = Marked::new(&store, None);
        fourth_handler.deadly.lock().unwrap().insert(sent.id);
        let fourth = join(&store, &fourth_handler, OnFailure::Park).await;
        until("the fourth has its share", async || fourth.slots().len() == 32).await;
        let is_moved = fourth.slots().contains(&5);
        let is_dying = becomes(async || timeout(Duration::from_millis(1), fourth_handler.dying.notified()).await.is_ok()).await;
        let now = progress().await;
        permits.add_permits(9);
        drop((fourth, third, other));
        assert!(is_moved && is_dying, "the attack did not work: moved {is_moved}, dying {is_dying}");
        assert!(now.contains("suspect"), "before: {recorded}, now: {now}");
    }

    /// A redelivery is under way when its slot is lost. Another member delivers the letter, and later messages of the entity.
    async fn a_redelivery_ends_when_its_slot_is_lost(store) {
        let slow = Tries::default();
        let quick = Tries::default();
        let sent = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        slow.fails.store(3, Ordering::SeqCst);
        slow.permits.add_permits(3);
        let consumer = member(slow.clone(), OnFailure::Park);
        let first = consumer.start(&shared).await.unwrap();
        until("it is parked", async || letters(&store).show(sent.id).await.ok().flatten().is_some()).await;
        until_handled(&store, sent.global_position).await;
        slow.fails.store(1, Ordering::SeqCst);
        retry(&store, &sent).await;
        until("the redelivery has begun", async || slow.begun.load(Ordering::SeqCst) == 4).await;
        faulty.lose_heartbeats(true);
        quick.permits.add_permits(99);
        let consumer = member(quick.clone(), OnFailure::Park);
        let second = consumer.start(&store).await.unwrap();
        until("the second delivers it", async || is_resolved(&store, &sent).await).await;
        faulty.lose_heartbeats(false);
        let later = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        until_handled(&store, later.global_position).await;
        let _ = second.stop().await.unwrap();
        until("the first has all slots again", async || first.slots().len() == 64).await;
        until_handled(&store, later.global_position).await;
        sleep(LEASE).await;
        // The letter is resolved, and a later message of the entity is handled.
        let before = slow.begun.load(Ordering::SeqCst);
        slow.permits.add_permits(99);
        sleep(LEASE * 2).await;
        let after = slow.begun.load(Ordering::SeqCst);
        let fenced = slow.fences.lock().unwrap().clone();
        let _ = first.stop().await.unwrap();
        assert_eq!(before, after, "the message was attempted again after it was handled elsewhere; epochs of the fences: {fenced:?}");
    }

    /// The consumer ends with an error while a letter is being redelivered.
    async fn a_member_that_ends_with_an_error_waits_for_its_redelivery(store) {
        let handler = Marked::new(&store, None);
        let sent = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let first = {
            handler.fail(&sent);
            let first = join(&store, &handler, OnFailure::Park).await;
            until("it is parked", async || letters(&store).show(sent.id).await.ok().flatten().is_some()).await;
            until_handled(&store, sent.global_position).await;
            let _ = first.stop().await.unwrap();
            handler.mend();
            join(&store, &handler, OnFailure::Stop).await
        };
        until_divided(&[&first]).await;
        let permits = handler.wait_in("1");
        retry(&store, &sent).await;
        handler.begun.notified().await;
        let permits_of_poison = handler.wait_in("2");
        let poison = send_deposits(&store, "account:command", "2", 1).await.remove(0);
        handler.fail(&poison);
        permits_of_poison.add_permits(9);
        let next = Marked::new(&store, None);
        let permits_of_next = next.wait_in("1");
        let second = join(&store, &next, OnFailure::Park).await;
        until("all other slots are taken over", async || second.slots().len() == 63).await;
        // The letter is still being delivered.
        assert!(timeout(LEASE * 2, next.begun.notified()).await.is_err(), "two members deliver one letter");
        permits.add_permits(9);
        let error = first.stop().await.unwrap_err().to_string();
        assert!(error.contains("a planted"), "{error}");
        until("the letter is resolved", async || is_resolved(&store, &sent).await).await;
        until("the last slot is taken over", async || second.slots().len() == 64).await;
        permits_of_next.add_permits(9);
        let _ = second.stop().await.unwrap();
        assert_eq!(next.times_handled(&sent), 0);
    }
}

#[derive(Clone)]
struct Tries {
    begun: Arc<AtomicUsize>,
    fails: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
    fences: Arc<std::sync::Mutex<Vec<i64>>>,
}

impl Default for Tries {
    fn default() -> Self {
        Self {
            begun: Arc::default(),
            fails: Arc::default(),
            permits: Arc::new(Semaphore::new(0)),
            fences: Arc::default(),
        }
    }
}

#[async_trait]
impl Handler for Tries {
    fn name(&self) -> &'static str {
        "Tries"
    }
    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }
    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        if message.position.get() > 0 {
            return Ok(Outcome::Ignored);
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.fences.lock().unwrap().push(context.fence().unwrap().epoch);
        self.permits.acquire().await?.forget();
        if self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err("it fails".into());
        }
        Ok(Outcome::Ignored)
    }
}

/// A failover to a server that lacks the last messages and saves.
async fn lost_messages(place: AgeingStore, is_slow: bool) {
    let store = connect(&place.url()).await.unwrap();
    let handler = Marked::new(&store, None);
    let faulty = FaultyStore::new(&store);
    let shared: Store = faulty.clone();
    let sent = send_deposits(&store, "account:command", "1", 3).await;
    let mut member = join(&shared, &handler, OnFailure::Park).await;
    until_divided(&[&member]).await;
    until_handled(&store, sent[2].global_position).await;
    sleep(Duration::from_millis(300)).await;
    place
        .execute(
            "CREATE TABLE public.copied AS SELECT * FROM message_store.group_slots",
            "CREATE TABLE copied AS SELECT * FROM group_slots",
        )
        .await;
    let kept = message_store_tests::accounts::messages_of(&store, "account").await.last().unwrap().global_position;
    let more = send_deposits(&store, "account:command", "2", 5).await;
    until_handled(&store, more[4].global_position).await;
    sleep(Duration::from_millis(300)).await;
    let permits = is_slow.then(|| handler.wait_in("9"));
    if is_slow {
        send_deposits(&store, "account:command", "9", 1).await;
        handler.begun.notified().await;
    }
    faulty.set_unavailable(true);
    sleep(Duration::from_millis(200)).await;
    place.restore(kept).await;
    place.execute("UPDATE message_store.group_slots s SET progress = c.progress, saves = c.saves FROM public.copied c WHERE c.number = s.number AND c.group_name = s.group_name",
        "UPDATE group_slots SET progress = (SELECT c.progress FROM copied c WHERE c.number = group_slots.number)").await;
    faulty.change_history();
    faulty.set_unavailable(false);
    if let Some(permits) = permits {
        sleep(Duration::from_secs(3)).await;
        permits.add_permits(99);
    }
    let ended = timeout(Duration::from_secs(4), member.ended()).await;
    assert!(ended.is_err(), "the member ended: {ended:?}");
    let again = send_deposits(&store, "account:command", "3", 1).await.remove(0);
    until_handled(&store, again.global_position).await;
    assert_eq!(balance(&store, "3").await, 1);
    let _ = member.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_that_lost_messages_on_postgres() {
    lost_messages(AgeingStore::postgres().await, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_that_lost_messages_on_sqlite() {
    lost_messages(AgeingStore::sqlite(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_that_lost_messages_with_a_slow_handler_on_postgres() {
    lost_messages(AgeingStore::postgres().await, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_that_lost_messages_with_a_slow_handler_on_sqlite() {
    lost_messages(AgeingStore::sqlite(), true).await;
}

/// A message that kills each process. Returns the number of processes that died before it was parked, up to 10.
async fn deaths(store: &Store, is_elastic: bool) -> usize {
    let sent = send_deposits(store, "account:command", "1", 1).await.remove(0);
    for deaths in 0..10 {
        let handler = Marked::new(store, None);
        handler.deadly.lock().unwrap().insert(sent.id);
        let consumer = Consumer::new("account:command", handler.clone()).concurrency(8).on_failure(OnFailure::Park);
        let consumer = consumer.identifier("g").in_process(&Process::default());
        let consumer = if is_elastic { consumer.elastic_group(ElasticGroup::new().lease(LEASE)) } else { consumer };
        let member = consumer.start(store).await.unwrap();
        tokio::select! {
            () = handler.dying.notified() => drop(member),
            () = until("it is parked", async || letters(store).show(sent.id).await.ok().flatten().is_some()) => return deaths,
        }
    }
    10
}

mod deadly {
    use super::*;
    on_both_stores! {
        async fn a_message_that_kills_each_process_is_parked_by_a_single_consumer(store) {
            assert!(deaths(&store, false).await <= 5);
        }

        async fn a_message_that_kills_each_process_is_parked_by_a_group(store) {
            assert!(deaths(&store, true).await <= 5);
        }
    }
}
