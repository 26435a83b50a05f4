//! The first start of an elastic group, and members that cannot keep their lease.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::{ElasticGroup, MoveTo, PlantedBug, Positions};
use message_store::service::Service;
use message_store::testing::FaultyStore;
use message_store::{Error, GlobalPosition, GroupMember, MessageStore, connect};
use message_store_tests::accounts::send_deposits;
use message_store_tests::elastic::{LEASE, until};
use message_store_tests::on_both_stores;
use message_store_tests::work::Work;
use tokio::time::timeout;

type Store = Arc<dyn MessageStore>;

/// A group of three has passed over all messages long ago. A group of two came after it, and begins at the beginning. Then
/// a first start of an elastic group ends after each of its steps in turn, and another one follows. Returns the number of
/// cases in which that one does not begin at the beginning.
async fn begins_after_a_start_that_ended(bug: Option<PlantedBug>) -> usize {
    let mut wrong = 0;
    for steps in (1..).step_by(if bug.is_some() { 3 } else { 1 }) {
        let store = connect("sqlite::memory:").await.unwrap();
        let _ = send_deposits(&store, "account:command", "1", 3).await;
        let positions = Positions::of(&store, "account:command").unwrap();
        for (size, to) in [(3, MoveTo::End), (2, MoveTo::Beginning)] {
            for number in 0..size {
                let member = GroupMember::new(number, size).unwrap();
                positions.set(&positions.get(Some("w"), Some(member)).await.unwrap(), to).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let consumer = || {
            let consumer = Work::default().consumer().elastic_group(ElasticGroup::new().lease(LEASE));
            match bug {
                Some(bug) => consumer.plant(bug),
                None => consumer,
            }
        };
        faulty.die_after(steps);
        let has_started = tokio::select! {
            started = consumer().start(&shared) => { drop(started.unwrap()); true }
            () = faulty.has_died() => false,
        };
        if has_started {
            return wrong;
        }
        let next = consumer().start(&store).await.unwrap();
        // Its slots are claimed later, so nothing is handled yet.
        let group = positions.get(Some("w"), None).await.unwrap();
        wrong += usize::from(group.position != GlobalPosition::ZERO);
        drop(next);
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_first_start_that_ended_half_way_changes_no_beginning() {
    assert_eq!(begins_after_a_start_that_ended(None).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_when_take_overs_count_messages_are_passed_over() {
    assert!(begins_after_a_start_that_ended(Some(PlantedBug::TakeOversCount)).await > 0);
}

on_both_stores! {
    async fn a_group_without_slots_is_refused(store) {
        let refused = Work::default().consumer().elastic_group(ElasticGroup::new().slots(0)).start(&store).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }

    /// The heartbeats of the only member fail, and everything else works.
    async fn a_member_that_cannot_keep_its_lease_is_not_ready_and_says_why(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let work = Work::default();
        let consumer = work.consumer().elastic_group(ElasticGroup::new().lease(LEASE));
        let handle = Service::new(&shared).consumer(consumer).start().await.unwrap();
        let _ = send_deposits(&store, "account:command", "1", 1).await;
        until("the first is handled", async || work.handled() == 1).await;
        faulty.lose_heartbeats(true);
        until("health is red", async || !handle.health().is_ready).await;
        // It stays so, although the other calls are answered.
        for _ in 0..20 {
            tokio::time::sleep(LEASE / 10).await;
            let health = handle.health();
            assert!(!health.is_ready && health.to_string().contains("lease"), "{health}");
        }
        faulty.lose_heartbeats(false);
        until("health is green", async || handle.health().is_ready).await;
        let _ = send_deposits(&store, "account:command", "2", 1).await;
        until("the second is handled", async || work.handled() == 2).await;
        handle.stop();
        timeout(Duration::from_mins(1), handle.ended()).await.unwrap().unwrap();
    }
}
