//! Reservation: several messages, one intent, one effect.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::consumer::Consumer;
use message_store::intents::{Intent, reserve};
use message_store::testing::PlantedBug;
use message_store::{Message, MessageStore, Outcome, OutcomeKind};
use message_store_tests::accounts::{Command, balance, member, messages_of, send};
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

async fn deposit(store: &Store, account: &str, deposit_id: &str, amount: u64, time: &str) -> Message {
    let command = Command::DepositOnce { deposit_id: deposit_id.into(), amount, time: time.into() };
    send(store, "account:command", account, &command).await
}

fn intent(deposit_id: &str) -> Intent {
    Intent::new("accountTransaction", ["deposit", deposit_id]).ignoring(["time"])
}

/// Handles eight messages with one intent in concurrent processes. Returns the balance.
async fn eight_at_once(store: &Store, bug: Option<PlantedBug>) -> u64 {
    let mut handled = Vec::new();
    for number in 0..8 {
        let message = deposit(store, "1", "d1", 1, &number.to_string()).await;
        let member = member(store, bug);
        handled.push(tokio::spawn(async move { member.carry_out(&message).await.unwrap() }));
    }
    for handled in handled {
        let _ = handled.await.unwrap();
    }
    balance(store, "1").await
}

on_both_stores! {
    async fn each_of_the_four_outcomes_names_the_message_that_came_first(store) {
        let first = deposit(&store, "1", "d1", 10, "noon").await;
        let second = deposit(&store, "1", "d1", 10, "later").await;
        let other_amount = deposit(&store, "1", "d1", 99, "noon").await;
        let reserve = async |message: &Message| reserve(&store, &intent("d1"), "1", message).await.unwrap();

        let Outcome::Reserved { reservation } = reserve(&first).await else { panic!() };
        assert_eq!(reservation.stream.as_str(), "accountTransaction-1+deposit+d1");
        let original = first.reference();
        assert_eq!(reserve(&first).await, Outcome::Redelivered { original: original.clone() });
        assert_eq!(reserve(&second).await, Outcome::Duplicate { original: original.clone() });
        assert_eq!(reserve(&other_amount).await, Outcome::Conflict { original });
        assert_eq!(messages_of(&store, "accountTransaction").await.len(), 1);
    }

    async fn t5_of_64_messages_that_reserve_one_intent_at_once_one_holds_it_and_63_name_it(store) {
        let mut messages = Vec::new();
        for number in 0..64 {
            messages.push(deposit(&store, "1", "d1", 10, &number.to_string()).await);
        }
        let reserving: Vec<_> = messages.into_iter().map(|message| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let outcome = reserve(&store, &intent("d1"), "1", &message).await.unwrap();
                (message, outcome)
            })
        }).collect();
        let (mut holders, mut named) = (Vec::new(), Vec::new());
        for reserving in reserving {
            match reserving.await.unwrap() {
                (message, Outcome::Reserved { .. }) => holders.push(message.reference()),
                (_, Outcome::Duplicate { original }) => named.push(original),
                (_, other) => panic!("{other}"),
            }
        }
        assert_eq!((holders.len(), named.len()), (1, 63));
        assert!(named.iter().all(|original| *original == holders[0]));
    }

    async fn a_component_carries_out_an_intent_once_and_says_what_the_others_were(store) {
        let member = member(&store, None);
        let first = deposit(&store, "1", "d1", 10, "noon").await;
        let again = deposit(&store, "1", "d1", 10, "later").await;
        let other_amount = deposit(&store, "1", "d1", 99, "noon").await;
        let other_deposit = deposit(&store, "1", "d2", 10, "noon").await;
        let other_account = deposit(&store, "2", "d1", 10, "noon").await;

        assert!(matches!(member.carry_out(&first).await.unwrap(), Outcome::Handled { events: 1, .. }));
        let original = first.reference();
        assert_eq!(member.carry_out(&again).await.unwrap(), Outcome::Duplicate { original: original.clone() });
        assert_eq!(member.carry_out(&other_amount).await.unwrap(), Outcome::Conflict { original });
        assert!(matches!(member.carry_out(&first).await.unwrap(), Outcome::AlreadyProcessed { .. }));
        assert!(matches!(member.carry_out(&other_deposit).await.unwrap(), Outcome::Handled { .. }));
        assert!(matches!(member.carry_out(&other_account).await.unwrap(), Outcome::Handled { .. }));
        assert_eq!((balance(&store, "1").await, balance(&store, "2").await), (20, 10));
    }

    async fn an_intent_that_reaches_several_processes_at_once_has_one_effect(store) {
        assert_eq!(eight_at_once(&store, None).await, 1);
    }

    async fn twin_without_reservation_every_message_has_its_effect(store) {
        assert_eq!(eight_at_once(&store, Some(PlantedBug::NoReservation)).await, 8);
    }

    async fn the_message_of_a_reservation_without_events_is_carried_out(store) {
        let first = deposit(&store, "1", "d1", 10, "noon").await;
        let _ = reserve(&store, &intent("d1"), "1", &first).await.unwrap();
        let outcome = member(&store, None).carry_out(&first).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
        assert_eq!(balance(&store, "1").await, 10);
    }

    async fn two_hops_work_as_in_eventide(store) {
        for (deposit_id, time) in [("d1", "noon"), ("d1", "later"), ("d2", "noon")] {
            let message = deposit(&store, "1", deposit_id, 10, time).await;
            let _ = reserve(&store, &intent(deposit_id), "1", &message).await.unwrap();
        }
        let mut consumer = Consumer::new("accountTransaction", member(&store, None)).start(&store).await.unwrap();
        let last = messages_of(&store, "accountTransaction").await.last().unwrap().global_position;
        consumer.wait_for(last).await.unwrap();
        assert_eq!(consumer.stop().await.unwrap().of(OutcomeKind::Handled), 2);
        assert_eq!(balance(&store, "1").await, 20);
    }

    async fn t25_keys_that_differ_in_their_separators_alone_are_different_intents(store) {
        let member = member(&store, None);
        let ids = ["a+b", "a-b", "a:b", "a%2Bb", "a%b", "a b", "+", "-", ":"];
        for id in ids {
            let message = deposit(&store, "1", id, 1, "noon").await;
            assert!(matches!(member.carry_out(&message).await.unwrap(), Outcome::Handled { .. }), "{id}");
        }
        assert_eq!(balance(&store, "1").await, ids.len() as u64);
    }

    async fn an_intent_without_a_key_is_refused_and_has_no_effect(store) {
        let message = deposit(&store, "1", "", 1, "noon").await;
        let error = member(&store, None).carry_out(&message).await.unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
        assert_eq!(balance(&store, "1").await, 0);
    }
}
