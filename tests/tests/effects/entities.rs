//! Entities: cached, current, never partly applied.
#![allow(missing_docs, clippy::unwrap_used)]

use message_store::entity::{EntityStore, Projection};
use message_store::{Error, ExpectedVersion, Json, MessageStoreExt as _, NewMessage, Position, StreamName, Version};
use message_store_tests::accounts::{Account, Event};
use message_store_tests::on_both_stores;

fn deposited(amount: u64) -> NewMessage {
    NewMessage::from_variant(&Event::Deposited { amount }).unwrap()
}

/// An account that ignores the events of another program.
#[derive(Clone, Debug, Default, PartialEq)]
struct Tolerant(Account);

impl Projection for Tolerant {
    const CATEGORY: &'static str = "account";
    type Event = Event;
    fn ignores(message_type: &str) -> bool {
        message_type == "Renamed"
    }
    fn apply(&mut self, event: &Event) {
        self.0.apply(event);
    }
}

on_both_stores! {
    async fn a_fetched_entity_is_up_to_date_also_when_others_have_written(store) {
        let stream = StreamName::new("account-1").unwrap();
        let entities = EntityStore::<Account>::new(&store);
        assert_eq!(entities.fetch("1").await.unwrap().version, Version::NO_STREAM);
        for (amount, balance) in [(1, 1), (10, 11), (100, 111)] {
            store.append_to(&stream, ExpectedVersion::Any, vec![deposited(amount)]).await.unwrap();
            assert_eq!(entities.fetch("1").await.unwrap().state.balance, balance);
        }
    }

    async fn a_refresh_that_fails_half_way_changes_nothing_and_fails_again(store) {
        let stream = StreamName::new("account-1").unwrap();
        let entities = EntityStore::<Account>::new(&store);
        store.append_to(&stream, ExpectedVersion::Any, vec![deposited(1)]).await.unwrap();
        let before = entities.fetch("1").await.unwrap();
        let bad = NewMessage::new("Deposited", Json::parse(r#"{"amount":"much"}"#).unwrap());
        store.append_to(&stream, ExpectedVersion::Any, vec![deposited(10), bad]).await.unwrap();
        for _ in 0..2 {
            match entities.fetch("1").await {
                Err(Error::Undecodable { stream: named, position, reason, .. }) => {
                    assert_eq!((named, position), (stream.clone(), Position::new(2)));
                    assert!(reason.contains("much"), "{reason}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(before.state.balance, 1, "what was handed out does not change");
    }

    async fn an_event_of_an_unknown_type_is_an_error_that_names_it(store) {
        let stream = StreamName::new("account-1").unwrap();
        let unknown = NewMessage::new("Renamed", Json::NULL);
        let id = unknown.id;
        store.append_to(&stream, ExpectedVersion::Any, vec![deposited(1), unknown, deposited(2)]).await.unwrap();
        let entities = EntityStore::<Account>::new(&store);
        for _ in 0..2 {
            match entities.fetch("1").await {
                Err(Error::UnknownEvent { event, message_type, projection }) => {
                    assert_eq!((event.id, event.position, event.stream), (id, Position::new(1), stream.clone()));
                    assert_eq!((message_type.as_str(), projection), ("Renamed", "account"));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn an_event_that_the_projection_ignores_is_counted(store) {
        let stream = StreamName::new("account-1").unwrap();
        let messages = vec![deposited(1), NewMessage::new("Renamed", Json::NULL), deposited(2)];
        store.append_to(&stream, ExpectedVersion::Any, messages).await.unwrap();
        let account = EntityStore::<Tolerant>::new(&store).fetch("1").await.unwrap();
        assert_eq!((account.state.0.balance, account.ignored, account.version), (3, 1, Version::at(Position::new(2))));
    }

    async fn a_cache_that_is_too_small_for_all_entities_still_gives_the_right_ones(store) {
        let entities = EntityStore::<Account>::with_cache(&store, 2);
        for round in 1..=3 {
            for account in 0..6 {
                let stream = StreamName::new(format!("account-{account}")).unwrap();
                store.append_to(&stream, ExpectedVersion::Any, vec![deposited(1)]).await.unwrap();
                assert_eq!(entities.fetch(&account.to_string()).await.unwrap().state.balance, round);
            }
        }
    }
}
