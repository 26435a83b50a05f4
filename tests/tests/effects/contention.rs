//! Several writers append to one entity at once. Contention is not an error, and ends no consumer.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::consumer::Consumer;
use message_store::testing::FaultyStore;
use message_store::testing::PlantedBug;
use message_store::{Append, Error, Message, MessageStore, NewMessage, Outcome, OutcomeKind, Result, StreamName};
use message_store_tests::accounts::{Event, balance, member, send_deposits};
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

/// The number of times that another writer is faster.
const RIVALS: usize = 25;

/// Handles a deposit. Another writer is faster at every append except the last.
async fn after_rivals(store: &Store, bug: Option<PlantedBug>) -> Result<Outcome> {
    let deposit = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let faulty = FaultyStore::new(store);
    faulty.append_before((0..RIVALS).map(|_| {
        let other = NewMessage::from_variant(&Event::Deposited { amount: 10 }).unwrap();
        Append::to(StreamName::new("account-1").unwrap()).message(other)
    }));
    member(&(faulty as Store), bug).carry_out(&deposit).await
}

/// Handles the backlogs of several categories, for one entity, each with its own consumer and runtime.
async fn backlogs(store: &Store, categories: &[&str], each: usize) {
    let mut last = Vec::new();
    for category in categories {
        last.push(send_deposits(store, category, "1", each).await.pop().unwrap());
    }
    let mut running = Vec::new();
    for category in categories {
        running.push(Consumer::new(*category, member(store, None)).start(store).await.unwrap());
    }
    for (consumer, last) in running.iter_mut().zip(&last) {
        consumer.wait_for(last.global_position).await.unwrap();
    }
    for consumer in running {
        let counts = consumer.stop().await.unwrap();
        assert_eq!(counts.of(OutcomeKind::Handled), each as u64, "{counts}");
    }
}

on_both_stores! {
    async fn a_command_that_comes_second_many_times_is_carried_out_in_the_end(store) {
        let outcome = after_rivals(&store, None).await;
        assert!(matches!(outcome, Ok(Outcome::Handled { events: 1, late: false })), "{outcome:?}");
        assert_eq!(balance(&store, "1").await, 1 + 10 * RIVALS as u64);
    }

    async fn twin_with_ten_attempts_a_command_that_comes_second_many_times_is_an_error(store) {
        let outcome = after_rivals(&store, Some(PlantedBug::TenAttempts)).await;
        assert!(matches!(outcome, Err(Error::WrongExpectedVersion { .. })), "{outcome:?}");
    }

    async fn a_command_that_another_process_carries_out_meanwhile_is_already_processed(store) {
        let deposit: Message = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let (slow, quick) = (FaultyStore::new(&store), member(&store, None));
        let decide = member(&(slow.clone() as Store), None);
        // The cache has the account before the deposit.
        let _ = decide.entities().fetch("1").await.unwrap();
        let _ = quick.carry_out(&deposit).await.unwrap();
        let outcome = decide.carry_out(&deposit).await.unwrap();
        assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
        assert_eq!(balance(&store, "1").await, 1);
    }

    async fn two_three_and_four_categories_that_feed_one_busy_entity_end_no_consumer(store) {
        let categories = ["account:command", "teller:command", "branch:command", "web:command"];
        let mut expected = 0;
        for count in 2..=4 {
            backlogs(&store, &categories[..count], 60).await;
            expected += 60 * count as u64;
            assert_eq!(balance(&store, "1").await, expected);
        }
    }
}
