//! Messages whose metadata names an origin that is not theirs: copied from another message, forged, or of a store that
//! they came back to.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::entity::Projection;
use message_store::handling::{CommandHandler, Decider};
use message_store::{MessageStore, Outcome, connect};
use message_store_tests::accounts::{Command, balance, member, put, send, send_deposits, sqlite};
use message_store_tests::expire::AgeingStore;
use message_store_tests::moving::copy;
use message_store_tests::on_both_stores;

/// A second decider of the same commands and entities.
#[derive(Clone, Default)]
struct Bonus;

#[derive(serde::Serialize, serde::Deserialize)]
enum BonusEvent {
    BonusGiven {},
}

impl Projection for Bonus {
    const CATEGORY: &'static str = "account";
    type Event = BonusEvent;
    fn apply(&mut self, _: &BonusEvent) {}
    fn ignores(_: &str) -> bool {
        true
    }
}

impl Decider for Bonus {
    type Command = Command;
    const NAME: &'static str = "bonus";
    fn decide(&self, _: &Command) -> Vec<BonusEvent> {
        vec![BonusEvent::BonusGiven {}]
    }
}

/// Each of two deciders carries it out, once.
async fn both_carry_it_out(store: &Arc<dyn MessageStore>, command: &message_store::Message) {
    let first = member(store, None);
    assert!(matches!(first.carry_out(command).await.unwrap(), Outcome::Handled { .. }));
    // Of another process, which reads what the first has written.
    let second = CommandHandler::<Bonus>::new(store);
    let outcome = second.carry_out(command).await.unwrap();
    assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome:?}");
    for outcome in [
        member(store, None).carry_out(command).await.unwrap(),
        CommandHandler::<Bonus>::new(store).carry_out(command).await.unwrap(),
        second.carry_out(command).await.unwrap(),
    ] {
        assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome:?}");
    }
}

fn with_origin(store: &Arc<dyn MessageStore>, category: &str, position: i64) -> String {
    let id = store.store_id();
    format!(
        r#"{{"messageStore":{{"origin":{{"storeId":"{id}","category":"{category}","globalPosition":{position}}}}}}}"#
    )
}

on_both_stores! {
    async fn each_decider_carries_out_a_command_that_names_another_origin(store) {
        for (number, (category, position)) in
            [("account:command", 900), ("account:command", 0), ("account:command", -5), ("account:command", i64::MAX), ("other", 900)]
                .into_iter()
                .enumerate()
        {
            let metadata = with_origin(&store, category, position);
            let stream = format!("account:command-{number}");
            let command = put(&store, &stream, "Deposit", r#"{"amount":1}"#, &metadata).await;
            both_carry_it_out(&store, &command).await;
        }
    }

    async fn an_intent_is_carried_out_once_when_a_moved_command_is_repeated_with_its_metadata(new) {
        let old = sqlite().await;
        let command = Command::DepositOnce { deposit_id: "d1".into(), amount: 10, time: "noon".into() };
        let first = send(&old, "account:command", "1", &command).await;
        copy(&old, &new, &["account:command"]).await;
        let first = new.message(first.id).await.unwrap().unwrap();
        assert!(matches!(member(&new, None).carry_out(&first).await.unwrap(), Outcome::Handled { .. }));
        let data = first.data.text();
        let again = put(&new, "account:command-1", "DepositOnce", data, first.metadata.text()).await;
        let outcome = member(&new, None).carry_out(&again).await.unwrap();
        assert!(matches!(outcome, Outcome::Duplicate { .. }), "{outcome:?}");
        let data = data.replace("10", "99");
        let other = put(&new, "account:command-1", "DepositOnce", &data, first.metadata.text()).await;
        let outcome = member(&new, None).carry_out(&other).await.unwrap();
        assert!(matches!(outcome, Outcome::Conflict { .. }), "{outcome:?}");
        let redelivered = member(&new, None).carry_out(&first).await.unwrap();
        assert!(matches!(redelivered, Outcome::AlreadyProcessed { .. }), "{redelivered:?}");
        assert_eq!(balance(&new, "1").await, 10);
    }

    async fn an_event_of_another_writer_with_a_forged_origin_makes_no_command_late(store) {
        let id = store.store_id();
        let metadata = format!(
            r#"{{"causationMessageStreamName":"account:command-1","causationMessageGlobalPosition":900000000,
            "messageStore":{{"origin":{{"storeId":"{id}","category":"account","globalPosition":{}}}}}}}"#,
            i64::MAX
        );
        put(&store, "account-1", "Deposited", r#"{"amount":1}"#, &metadata).await;
        let command = put(&store, "account:command-1", "Deposit", r#"{"amount":1}"#, "null").await;
        let outcome = member(&store, None).carry_out(&command).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { late: false, .. }), "{outcome:?}");
    }
}

async fn there_and_back(place: AgeingStore) {
    let store = connect(&place.url()).await.unwrap();
    send_deposits(&store, "elsewhere", "1", 5).await;
    let command = send_deposits(&store, "account:command", "1", 1).await.remove(0);
    let other = sqlite().await;
    copy(&store, &other, &["account:command"]).await;
    place.delete_messages("stream_name LIKE 'account%'").await;
    copy(&other, &store, &["account:command"]).await;
    let back = store.message(command.id).await.unwrap().unwrap();
    both_carry_it_out(&store, &back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_decider_carries_out_a_command_that_came_back_to_its_store_on_postgres() {
    there_and_back(AgeingStore::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_decider_carries_out_a_command_that_came_back_to_its_store_on_sqlite() {
    there_and_back(AgeingStore::sqlite()).await;
}
