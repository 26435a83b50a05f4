//! The outcomes of a consumer are counted with its position, and its last repeats are remembered.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use message_store::consumer::{Consumer, ElasticGroup, MoveTo, OnFailure, Positions, SavedPosition};
use message_store::{Append, Json, MessageStore, NewMessage, OutcomeKind, StreamName};
use message_store_tests::accounts::{Command, member, send, send_deposits};
use message_store_tests::elastic::member as group_member;
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
}

async fn saved(store: &Store, identifier: Option<&str>) -> SavedPosition {
    Positions::of(store, "account:command").unwrap().get(identifier, None).await.unwrap()
}

async fn run_through(store: &Store, through: message_store::GlobalPosition) {
    let mut consumer = Consumer::new("account:command", member(store, None)).start(store).await.unwrap();
    consumer.wait_for(through).await.unwrap();
    let _ = consumer.stop().await.unwrap();
}

fn once(id: &str, amount: u64) -> Command {
    Command::DepositOnce { amount, deposit_id: id.to_owned(), time: String::new() }
}

on_both_stores! {
    async fn the_counts_go_on_after_a_restart_and_stay_when_the_position_is_set(store) {
        let sent = send_deposits(&store, "account:command", "1", 3).await;
        run_through(&store, sent[2].global_position).await;
        assert_eq!(saved(&store, None).await.outcomes, counts(&[("handled", 3)]));
        let last = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        run_through(&store, last.global_position).await;
        let position = saved(&store, None).await;
        assert_eq!(position.outcomes, counts(&[("handled", 4)]));
        Positions::of(&store, "account:command").unwrap().set(&position, MoveTo::Beginning).await.unwrap();
        assert_eq!(saved(&store, None).await.outcomes, counts(&[("handled", 4)]));
        run_through(&store, last.global_position).await;
        assert_eq!(saved(&store, None).await.outcomes, counts(&[("handled", 4), ("already processed", 4)]));
    }

    async fn the_counts_of_a_group_are_those_of_its_slots(store) {
        let mut last = None;
        for account in ["1", "2", "3", "4", "5"] {
            last = send_deposits(&store, "account:command", account, 2).await.pop();
        }
        let last = last.unwrap().global_position;
        for round in 1..=2 {
            let consumer = group_member(member(&store, None), OnFailure::Park);
            let mut consumer = consumer.elastic_group(ElasticGroup::new().slots(4)).start(&store).await.unwrap();
            while consumer.slots().len() < 4 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            consumer.wait_for(last).await.unwrap();
            let _ = consumer.stop().await.unwrap();
            let position = saved(&store, Some("g")).await;
            let expected: &[(&str, u64)] = if round == 1 { &[("handled", 10)] } else { &[("handled", 10), ("already processed", 10)] };
            assert_eq!(position.outcomes, counts(expected));
            Positions::of(&store, "account:command").unwrap().set(&position, MoveTo::Beginning).await.unwrap();
        }
    }

    /// A later version of the library may count kinds that this one does not know.
    async fn counts_of_another_version_are_kept(store) {
        let recorded = r#"{"position":0,"stopped":true,"counted":{"handled":5,"foreseen":7}}"#;
        let position = NewMessage::new("Recorded", Json::parse(recorded).unwrap());
        let stream = StreamName::new("account:command+position").unwrap();
        store.append(Append::to(stream).message(position).into()).await.unwrap();
        let sent = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        run_through(&store, sent.global_position).await;
        assert_eq!(saved(&store, None).await.outcomes, counts(&[("foreseen", 7), ("handled", 6)]));
    }

    async fn the_last_repeats_are_remembered_with_their_originals(store) {
        let first = send(&store, "account:command", "1", &once("d1", 1)).await;
        let mut repeats = Vec::new();
        for number in 0..30 {
            repeats.push(send(&store, "account:command", "1", &once("d1", 1 + number % 2)).await);
        }
        let mut consumer = Consumer::new("account:command", member(&store, None)).start(&store).await.unwrap();
        consumer.wait_for(repeats[29].global_position).await.unwrap();
        let counts = consumer.stop().await.unwrap();
        let remembered: Vec<_> = counts.repeats().collect();
        assert_eq!(remembered.len(), 20);
        for (repeat, sent) in remembered.iter().zip(repeats.iter().rev()) {
            assert_eq!((repeat.message.id, repeat.original.id), (sent.id, first.id));
        }
        assert_eq!((remembered[0].kind, remembered[1].kind), (OutcomeKind::Conflict, OutcomeKind::Duplicate));
    }
}
