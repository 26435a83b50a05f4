//! Elastic groups: slots move between members, and no message is lost, has two effects, or is handled out of order.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use message_store::consumer::{
    Consumer, ConsumerHandle, ElasticGroup, MoveTo, OnFailure, PlantedBug, Positions, Process,
};
use message_store::testing::FaultyStore;
use message_store::{GroupMember, MessageStore, connect};
use message_store_tests::accounts::{balance, messages_of, send_deposits};
use message_store_tests::elastic::{self, LEASE, letters, status, until, until_divided, until_handled};
use message_store_tests::expire::AgeingStore;
use message_store_tests::marked::{Marked, planted};
use message_store_tests::on_both_stores;
use message_store_tests::random::{Random, setting};
use tokio::time::sleep;

type Store = Arc<dyn MessageStore>;

/// Starts a member, with a planted bug, if one is given.
async fn join(store: &Store, handler: &Marked, on_failure: OnFailure, bug: Option<PlantedBug>) -> ConsumerHandle {
    elastic::join_with(store, handler, on_failure, |consumer| planted(consumer, bug)).await
}

const ACCOUNTS: usize = 24;

/// Sends deposits to all accounts until it is told to stop. Returns the number of rounds.
async fn send_until(store: Store, is_over: Arc<AtomicBool>) -> u64 {
    let mut rounds = 0;
    while !is_over.load(Ordering::SeqCst) {
        for account in 0..ACCOUNTS {
            send_deposits(&store, "account:command", &account.to_string(), 1).await;
        }
        rounds += 1;
    }
    rounds
}

async fn assert_balances(store: &Store, deposits: u64) {
    for account in 0..ACCOUNTS {
        assert_eq!(balance(store, &account.to_string()).await, deposits, "of account {account}");
    }
}

on_both_stores! {
    /// One member, then two, four, two and one. Each gets its share, and all messages are handled once.
    async fn slots_are_divided_again_when_members_come_and_go(store) {
        let is_over = Arc::new(AtomicBool::new(false));
        let sending = tokio::spawn(send_until(store.clone(), Arc::clone(&is_over)));
        let handlers: Vec<Marked> = (0..4).map(|_| Marked::new(&store, None)).collect();
        let mut members = Vec::new();
        for handler in &handlers {
            members.push(join(&store, handler, OnFailure::Stop, None).await);
            until_divided(&members.iter().collect::<Vec<_>>()).await;
        }
        assert!(status(&store).await.members.len() == 4);
        while members.len() > 1 {
            let _ = members.remove(0).stop().await.unwrap();
            until_divided(&members.iter().collect::<Vec<_>>()).await;
        }
        is_over.store(true, Ordering::SeqCst);
        let rounds = sending.await.unwrap();
        let last = messages_of(&store, "account:command").await.last().unwrap().global_position;
        members[0].wait_for(last).await.unwrap();
        let _ = members.remove(0).stop().await.unwrap();
        assert_balances(&store, rounds).await;
        assert_eq!(elastic::out_of_order(&store, ACCOUNTS).await, Vec::<String>::new());
        let repeats: usize = handlers.iter().map(|handler| handler.handled.lock().unwrap().len()).sum();
        assert_eq!(repeats as u64, rounds * ACCOUNTS as u64, "no member crashed, so no message was delivered twice");
        let status = status(&store).await;
        assert!(status.members.is_empty() && status.unowned().count() == 64);
    }

    async fn the_slots_of_a_member_that_crashed_are_taken_over(store) {
        let (first, second) = (Marked::new(&store, None), Marked::new(&store, None));
        let crashing = join(&store, &first, OnFailure::Stop, None).await;
        until_divided(&[&crashing]).await;
        drop(crashing);
        let sent = send_deposits(&store, "account:command", "1", 3).await;
        let mut other = join(&store, &second, OnFailure::Stop, None).await;
        // The first may still release half of its slots before it is gone.
        until_divided(&[&other]).await;
        other.wait_for(sent[2].global_position).await.unwrap();
        assert_eq!(balance(&store, "1").await, 3);
        assert!(status(&store).await.slots.iter().all(|slot| slot.epoch == 2));
        let _ = other.stop().await.unwrap();
    }

    async fn a_name_belongs_to_one_running_member(store) {
        let named = || ElasticGroup::new().lease(LEASE).member("one");
        let handler = Marked::new(&store, None);
        let first = elastic::join_with(&store, &handler, OnFailure::Stop, |consumer| consumer.elastic_group(named())).await;
        let consumer = Consumer::new("account:command", handler.clone()).identifier("g").elastic_group(named());
        let refused = consumer.start(&store).await.unwrap_err().to_string();
        assert!(refused.contains("\"one\"") && refused.contains("account:command+position-g"), "{refused}");
        // After a crash, the same name waits for the end of the lease.
        drop(first);
        let again = elastic::join_with(&store, &handler, OnFailure::Stop, |consumer| consumer.elastic_group(named())).await;
        until_divided(&[&again]).await;
        let _ = again.stop().await.unwrap();
    }

    async fn a_group_has_one_number_of_slots(store) {
        let handler = Marked::new(&store, None);
        let first = join(&store, &handler, OnFailure::Stop, None).await;
        let other = ElasticGroup::new().slots(8);
        let consumer = Consumer::new("account:command", handler.clone()).identifier("g").elastic_group(other);
        let refused = consumer.start(&store).await.unwrap_err().to_string();
        assert!(refused.contains("64 slots") && refused.contains('8'), "{refused}");
        let _ = first.stop().await.unwrap();
    }

    async fn a_group_of_a_fixed_size_becomes_elastic_without_a_loss(store) {
        let handler = Marked::new(&store, None);
        let sent = send_deposits(&store, "account:command", "1", 2).await;
        for account in 0..ACCOUNTS {
            send_deposits(&store, "account:command", &account.to_string(), 1).await;
        }
        let mut fixed = handler.start_group(&store, OnFailure::Stop, 2, None).await;
        let last = messages_of(&store, "account:command").await.last().unwrap().global_position;
        for member in &mut fixed {
            member.wait_for(last).await.unwrap();
        }
        let positions = Positions::of(&store, "account:command").unwrap();
        until("both members have saved", async || {
            positions.list().await.unwrap().iter().all(|saved| saved.position >= last)
        })
        .await;
        let running = fixed.pop().unwrap();
        let _ = fixed.pop().unwrap().stop().await.unwrap();
        let handled = handler.handled.lock().unwrap().len();
        let mut elastic = join(&store, &handler, OnFailure::Stop, None).await;
        let more = send_deposits(&store, "account:command", "1", 1).await;
        elastic.wait_for(more[0].global_position).await.unwrap();
        assert_eq!(balance(&store, "1").await, sent.len() as u64 + 2);
        assert!(elastic.startup_report().to_string().contains("elastic"));
        let taken = running.stop().await.unwrap_err().to_string();
        assert!(taken.contains("now kept by another consumer"), "{taken}");
        assert_eq!(handler.handled.lock().unwrap().len(), handled + 1, "nothing was delivered again");
        let _ = elastic.stop().await.unwrap();
    }

    async fn the_position_of_a_group_is_set_while_its_members_run(store) {
        let handler = Marked::new(&store, None);
        let sent = send_deposits(&store, "account:command", "1", 3).await;
        let mut running = join(&store, &handler, OnFailure::Stop, None).await;
        running.wait_for(sent[2].global_position).await.unwrap();
        until_handled(&store, sent[2].global_position).await;
        let positions = Positions::of(&store, "account:command").unwrap();
        let listed = positions.list().await.unwrap();
        assert_eq!((listed.len(), listed[0].slots, listed[0].is_stopped), (1, Some(64), false));
        let refused = positions.set(&listed[0], MoveTo::Beginning).await.unwrap_err().to_string();
        assert!(refused.contains("elastic group"), "{refused}");
        until("the position is set", async || {
            let read = positions.get(Some("g"), None).await.unwrap();
            positions.set_by_force(&read, MoveTo::Beginning).await.is_ok()
        })
        .await;
        until_handled(&store, sent[2].global_position).await;
        until("all messages were delivered again, or recognised", async || {
            running.counts().to_string().contains("already") || handler.handled.lock().unwrap().len() >= 3
        })
        .await;
        assert_eq!(balance(&store, "1").await, 3);
        let _ = running.stop().await.unwrap();
        let stopped = positions.get(Some("g"), None).await.unwrap();
        assert!(stopped.is_stopped);
        let end = positions.set(&stopped, MoveTo::End).await.unwrap();
        assert_eq!(positions.get(Some("g"), None).await.unwrap().position, end);
    }

    async fn messages_without_an_entity_belong_to_the_first_slot(store) {
        let handler = Marked::new(&store, None);
        let mut members = vec![join(&store, &handler, OnFailure::Park, None).await];
        members.push(join(&store, &handler, OnFailure::Park, None).await);
        until_divided(&members.iter().collect::<Vec<_>>()).await;
        let sent = message_store_tests::accounts::put(&store, "account:command", "Deposit", "{\"amount\":1}", "{}").await;
        // An account without an id cannot be handled, so the message has a letter.
        until("the message is parked", async || letters(&store).show(sent.id).await.ok().flatten().is_some()).await;
        for member in members {
            let _ = member.stop().await.unwrap();
        }
    }

    async fn a_member_writes_nothing_after_its_lease(store) {
        assert_eq!(written_after_the_lease(&store, None).await, (0, 0));
    }

    async fn twin_without_fences_a_member_writes_letters_after_its_lease(store) {
        assert_eq!(written_after_the_lease(&store, Some(PlantedBug::FencesLeftOut)).await.0, 1);
    }

    async fn an_entity_stays_held_when_its_slot_moves(store) {
        let moves = setting("MESSAGE_STORE_MOVES").unwrap_or(6);
        assert_eq!(held_through_moves(&store, usize::try_from(moves).unwrap(), None).await, 0);
        assert_eq!(letters(&store).list().await.unwrap().len() as u64, moves + 1);
    }

    /// The member knows no letter of the slots that it claims.
    async fn twin_when_letters_are_not_read_on_a_claim_an_entity_is_not_held(store) {
        assert!(held_through_moves(&store, 2, Some(PlantedBug::LettersNotReadOnClaim)).await > 0);
    }

    async fn a_letter_that_the_owner_before_left_undone_is_delivered(store) {
        assert_eq!(resumed(&store, None).await, 3);
    }

    async fn twin_when_letters_are_not_resumed_they_stay(store) {
        assert_eq!(resumed(&store, Some(PlantedBug::LettersNotResumed)).await, 0);
    }
}

/// A member loses its lease while it handles a message, and another member takes its slots over. Then the first fails.
/// Returns the number of letters, and the slots whose progress or owner changed after the other member had taken over.
async fn written_after_the_lease(store: &Store, bug: Option<PlantedBug>) -> (usize, usize) {
    let (slow, quick) = (Marked::new(store, None), Marked::new(store, None));
    let permits = slow.wait_in("1");
    let sent = send_deposits(store, "account:command", "1", 1).await.remove(0);
    slow.fail(&sent);
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    // A save would show the consumer that its slots are lost.
    let never_saves = |consumer: Consumer<Marked>| planted(consumer.save_after(1_000, Duration::from_hours(1)), bug);
    let first = elastic::join_with(&shared, &slow, OnFailure::Park, never_saves).await;
    slow.begun.notified().await;
    faulty.lose_heartbeats(true);
    let mut second = join(store, &quick, OnFailure::Park, None).await;
    until_divided(&[&second]).await;
    second.wait_for(sent.global_position).await.unwrap();
    until_handled(store, sent.global_position).await;
    let _ = second.stop().await.unwrap();
    let before = status(store).await;
    permits.add_permits(9);
    if bug.is_some() {
        until("a letter is written", async || !letters(store).list().await.unwrap().is_empty()).await;
    } else {
        until("all attempts have failed", async || permits.available_permits() <= 6).await;
        sleep(LEASE).await;
    }
    // It cannot end its lease, which has ended.
    let _ = first.stop_within(Duration::from_secs(2)).await;
    let after = status(store).await;
    let is_changed = |(before, after): &(message_store::consumer::SlotStatus, message_store::consumer::SlotStatus)| {
        (before.epoch, before.position, before.saved_at) != (after.epoch, after.position, after.saved_at)
    };
    let changed = before.slots.into_iter().zip(after.slots).filter(is_changed).count();
    let parked = letters(store).list().await.unwrap().len();
    assert_eq!(balance(store, "1").await, 1);
    (parked, changed)
}

/// Handlers block all threads of a runtime for ten leases. Returns the number of slots that were lost.
fn lost_while_blocked(url: &str, bug: Option<PlantedBug>) -> usize {
    use async_trait::async_trait;
    use message_store::handling::{Context, Handler};
    use message_store::{Message, Outcome, Source};

    struct Blocks(Arc<AtomicUsize>);

    #[async_trait]
    impl Handler for Blocks {
        fn name(&self) -> &'static str {
            "Blocks"
        }

        fn message_types(&self) -> Vec<&'static str> {
            vec!["Deposit"]
        }

        async fn handle(&self, _: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(LEASE * 10);
            Ok(Outcome::Ignored)
        }
    }

    let runtime =
        |threads| tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    let (blocked, other) = (runtime(2), runtime(2));
    let begun = Arc::new(AtomicUsize::new(0));
    let handler = Blocks(Arc::clone(&begun));
    let running = blocked.block_on(async {
        let store = connect(url).await.unwrap();
        for account in 0..4 {
            send_deposits(&store, "account:command", &account.to_string(), 1).await;
        }
        let consumer = Consumer::new("account:command", handler).identifier("g").concurrency(4);
        let consumer = consumer.elastic_group(ElasticGroup::new().lease(LEASE)).in_process(&Process::default());
        let consumer = match bug {
            Some(bug) => consumer.plant(bug),
            None => consumer,
        };
        consumer.start(&store).await.unwrap()
    });
    let lost = other.block_on(async {
        let store = connect(url).await.unwrap();
        until("two handlers block", async || begun.load(Ordering::SeqCst) >= 2).await;
        let mut lost = 0;
        for _ in 0..40 {
            sleep(LEASE / 5).await;
            lost = lost.max(status(&store).await.unowned().count());
        }
        lost
    });
    drop(running);
    blocked.shutdown_background();
    other.shutdown_background();
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_block_all_threads_cost_no_slot_on_postgres() {
    let place = AgeingStore::postgres().await;
    let url = place.url();
    assert_eq!(tokio::task::spawn_blocking(move || lost_while_blocked(&url, None)).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_block_all_threads_cost_no_slot_on_sqlite() {
    let place = AgeingStore::sqlite();
    let url = place.url();
    assert_eq!(tokio::task::spawn_blocking(move || lost_while_blocked(&url, None)).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twin_when_the_keeper_is_a_task_handlers_that_block_cost_all_slots() {
    let place = AgeingStore::sqlite();
    let url = place.url();
    let lost = tokio::task::spawn_blocking(move || lost_while_blocked(&url, Some(PlantedBug::KeeperInRuntime)));
    assert_eq!(lost.await.unwrap(), 64);
}

/// A message fails and holds its entity, and the slots move `moves` times. Returns the balance of the entity, to which a
/// deposit is sent before each move.
async fn held_through_moves(store: &Store, moves: usize, bug: Option<PlantedBug>) -> u64 {
    let handler = Marked::new(store, None);
    let sent = send_deposits(store, "account:command", "1", 1).await.remove(0);
    handler.fail(&sent);
    let mut running = join(store, &handler, OnFailure::Hold, bug).await;
    running.wait_for(sent.global_position).await.unwrap();
    for _ in 0..moves {
        let next = join(store, &handler, OnFailure::Hold, bug).await;
        let _ = running.stop().await.unwrap();
        running = next;
        until_divided(&[&running]).await;
        let held = send_deposits(store, "account:command", "1", 1).await.remove(0);
        running.wait_for(held.global_position).await.unwrap();
    }
    let _ = running.stop().await.unwrap();
    balance(store, "1").await
}

/// A member crashes after a retry of its letter was requested, and another takes over. Returns the balance.
async fn resumed(store: &Store, bug: Option<PlantedBug>) -> u64 {
    let handler = Marked::new(store, None);
    let sent = send_deposits(store, "account:command", "1", 3).await;
    handler.fail(&sent[0]);
    let mut first = join(store, &handler, OnFailure::Hold, None).await;
    first.wait_for(sent[2].global_position).await.unwrap();
    drop(first);
    handler.mend();
    let letter = letters(store).show(sent[0].id).await.unwrap().unwrap();
    assert!(letters(store).retry(&letter).await.unwrap());
    let mut second = join(store, &handler, OnFailure::Hold, bug).await;
    until_divided(&[&second]).await;
    let mark = send_deposits(store, "account:command", "2", 1).await.remove(0);
    second.wait_for(mark.global_position).await.unwrap();
    if bug.is_none() {
        until("the letters are delivered", async || letters(store).list().await.unwrap().is_empty()).await;
    } else {
        sleep(Duration::from_millis(500)).await;
    }
    let _ = second.stop().await.unwrap();
    balance(store, "1").await
}

/// Members come, go and crash at random under load.
async fn at_random(place: AgeingStore, seed: u64, changes: usize) {
    let store = connect(&place.url()).await.unwrap();
    let mut random = Random(seed);
    let is_over = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(send_until(store.clone(), Arc::clone(&is_over)));
    let mut members: Vec<ConsumerHandle> = Vec::new();
    for change in 0..changes {
        let wanted = [4, 2, 1, 4][change % 4];
        while members.len() < wanted {
            let own = connect(&place.url()).await.unwrap();
            members.push(join(&own, &Marked::new(&own, None), OnFailure::Park, None).await);
        }
        while members.len() > wanted {
            let gone = members.remove(random.below(members.len()));
            if random.below(3) == 0 {
                drop(gone);
            } else {
                let _ = gone.stop().await.unwrap();
            }
        }
        sleep(Duration::from_millis(random.below(600) as u64)).await;
    }
    is_over.store(true, Ordering::SeqCst);
    let rounds = sending.await.unwrap();
    let last = messages_of(&store, "account:command").await.last().unwrap().global_position;
    until_handled(&store, last).await;
    for member in members {
        let _ = member.stop().await.unwrap();
    }
    println!("seed {seed}: {changes} changes, {rounds} rounds of {ACCOUNTS} deposits");
    assert_balances(&store, rounds).await;
    assert_eq!(elastic::out_of_order(&store, ACCOUNTS).await, Vec::<String>::new());
}

/// The number of changes (12; for a long run, `MESSAGE_STORE_GROUP_CHANGES`), and the seed.
fn changes_and_seed() -> (usize, u64) {
    let changes = setting("MESSAGE_STORE_GROUP_CHANGES").unwrap_or(12);
    (usize::try_from(changes).unwrap(), setting("MESSAGE_STORE_GROUP_SEED").unwrap_or(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_that_change_at_random_lose_and_double_nothing_on_postgres() {
    let (changes, seed) = changes_and_seed();
    at_random(AgeingStore::postgres().await, seed, changes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_that_change_at_random_lose_and_double_nothing_on_sqlite() {
    let (changes, seed) = changes_and_seed();
    at_random(AgeingStore::sqlite(), seed, changes).await;
}

#[tokio::test]
async fn a_group_is_either_elastic_or_of_a_fixed_size() {
    let store = connect("sqlite::memory:").await.unwrap();
    let consumer = Consumer::new("account:command", Marked::new(&store, None)).identifier("g");
    let consumer = consumer.group(GroupMember::new(0, 2).unwrap()).elastic_group(ElasticGroup::new());
    assert!(consumer.start(&store).await.unwrap_err().to_string().contains("fixed size"));
}
