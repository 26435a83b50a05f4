//! The positions of consumers, for operators: list, get, set.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::consumer::{Consumer, ConsumerHandle, MoveTo, Positions};
use message_store::testing::FaultyStore;
use message_store::{Error, GlobalPosition, GroupMember, Message, MessageStore, OutcomeKind};
use message_store_tests::accounts::{balance, member, messages_of, put, send_deposits};
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

async fn start(store: &Store, identifier: &str, group: Option<GroupMember>) -> ConsumerHandle {
    let consumer = Consumer::new("account:command", member(store, None)).identifier(identifier);
    match group {
        Some(group) => consumer.group(group),
        None => consumer,
    }
    .start(store)
    .await
    .unwrap()
}

/// Handles all messages, and stops.
async fn run_through(store: &Store, identifier: &str, last: &Message) -> message_store::consumer::OutcomeCounts {
    let mut consumer = start(store, identifier, None).await;
    consumer.wait_for(last.global_position).await.unwrap();
    consumer.stop().await.unwrap()
}

fn positions(store: &Store) -> Positions {
    Positions::of(store, "account:command").unwrap()
}

on_both_stores! {
    async fn a_position_that_is_set_back_delivers_messages_again_and_nothing_is_done_twice(store) {
        let sent = send_deposits(&store, "account:command", "1", 5).await;
        let _ = run_through(&store, "a", &sent[4]).await;
        let positions = positions(&store);
        let saved = positions.get(Some("a"), None).await.unwrap();
        assert_eq!((saved.position, saved.is_stopped), (sent[4].global_position, true));
        for (to, again) in [
            (MoveTo::Beginning, 5),
            (MoveTo::Position(sent[1].global_position), 3),
            (MoveTo::End, 0),
        ] {
            let saved = positions.get(Some("a"), None).await.unwrap();
            let position = positions.set(&saved, to).await.unwrap();
            let moved = positions.get(Some("a"), None).await.unwrap();
            assert_eq!(moved.position, position);
            assert_eq!(positions.backlog(&moved).await.unwrap().messages, again);
            let counts = run_through(&store, "a", &sent[4]).await;
            assert_eq!((counts.messages(), counts.of(OutcomeKind::AlreadyProcessed)), (again, again), "{to:?}");
        }
        assert_eq!(balance(&store, "1").await, 5);
    }

    async fn a_position_can_be_set_to_a_time(store) {
        let clock = FaultyStore::new(&store);
        let shared: Store = clock.clone();
        let hour = std::time::Duration::from_hours(1);
        let mut sent = Vec::new();
        for _ in 0..6 {
            sent.extend(send_deposits(&shared, "account:command", "1", 2).await);
            let _ = send_deposits(&shared, "other", "1", 1).await;
            clock.pass(hour);
        }
        let sent: Vec<Message> = messages_of(&shared, "account:command").await;
        let positions = positions(&shared);
        let microsecond = std::time::Duration::from_micros(1);
        for (number, message) in sent.iter().enumerate() {
            // The times of two messages of one hour may be equal.
            let first = sent.iter().position(|other| other.time >= message.time).unwrap();
            let before = first.checked_sub(1).map_or(GlobalPosition::ZERO, |last| sent[last].global_position);
            let found = positions.resolve(MoveTo::Time(message.time)).await.unwrap();
            let between = |at: GlobalPosition| at >= before && at < sent[first].global_position;
            assert!(between(found), "{number}: {found}");
            let after = positions.resolve(MoveTo::Time(message.time + microsecond)).await.unwrap();
            assert!(after >= message.global_position, "{number}: {after}");
        }
        let later = positions.resolve(MoveTo::Time(sent[11].time + hour * 9)).await.unwrap();
        assert!(later >= sent[11].global_position);
        let earlier = positions.resolve(MoveTo::Time(sent[0].time - hour)).await.unwrap();
        assert!(earlier < sent[0].global_position);
    }

    async fn the_position_of_a_consumer_that_runs_is_set_only_by_force_and_ends_it(store) {
        let sent = send_deposits(&store, "account:command", "1", 2).await;
        let mut consumer = start(&store, "a", None).await;
        consumer.wait_for(sent[1].global_position).await.unwrap();
        let positions = positions(&store);
        let error = loop {
            let saved = positions.get(Some("a"), None).await.unwrap();
            assert!(!saved.is_stopped);
            match positions.set(&saved, MoveTo::Beginning).await {
                Err(error @ Error::Invalid { .. }) => break error,
                Err(Error::PositionTaken { .. }) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(error.to_string().contains("runs, or has crashed"), "{error}");
        while let Err(error) =
            positions.set_by_force(&positions.get(Some("a"), None).await.unwrap(), MoveTo::Beginning).await
        {
            assert!(matches!(error, Error::PositionTaken { .. }), "{error}");
        }
        let more = send_deposits(&store, "account:command", "1", 1).await;
        let far = GlobalPosition::new(more[0].global_position.get() + 1_000_000);
        let error = consumer.wait_for(far).await.unwrap_err();
        assert!(matches!(error, Error::PositionTaken { .. }), "{error}");
        let counts = run_through(&store, "a", &more[0]).await;
        assert_eq!((counts.messages(), balance(&store, "1").await), (3, 3));
    }

    async fn two_operators_do_not_overwrite_each_other(store) {
        let sent = send_deposits(&store, "account:command", "1", 2).await;
        let _ = run_through(&store, "a", &sent[1]).await;
        let positions = positions(&store);
        let saved = positions.get(Some("a"), None).await.unwrap();
        assert_eq!(positions.set(&saved, MoveTo::Position(sent[0].global_position)).await.unwrap(), sent[0].global_position);
        let error = positions.set(&saved, MoveTo::Beginning).await.unwrap_err();
        assert!(matches!(error, Error::PositionTaken { .. }), "{error}");
    }

    /// Another program has written records of another shape.
    async fn a_record_of_another_shape_is_ignored(store) {
        let first = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let _ = run_through(&store, "w", &first).await;
        for data in ["{}", "null", "[]", r#"{"position":"12"}"#, r#"{"position":-5}"#] {
            put(&store, "account:command+position-w", "Recorded", data, "{}").await;
            let listed = Positions::of(&store, "account:command").unwrap().list().await.unwrap();
            assert_eq!(listed[0].position, first.global_position, "{data}");
        }
        let next = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let counts = run_through(&store, "w", &next).await;
        assert_eq!(counts.of(OutcomeKind::Handled), 1);
    }

    async fn a_position_beyond_the_last_one_of_the_store_is_refused(store) {
        let sent = send_deposits(&store, "account:command", "1", 1).await;
        let positions = positions(&store);
        let saved = positions.get(Some("new"), None).await.unwrap();
        let beyond = MoveTo::Position(GlobalPosition::new(sent[0].global_position.get() + 1_000));
        let error = positions.set(&saved, beyond).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert_eq!(positions.get(Some("new"), None).await.unwrap().saved_at, None);
    }

    async fn a_consumer_that_has_never_run_can_begin_at_the_end(store) {
        let _ = send_deposits(&store, "account:command", "1", 3).await;
        let positions = positions(&store);
        let saved = positions.get(Some("new"), None).await.unwrap();
        positions.set(&saved, MoveTo::End).await.unwrap();
        let next = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let counts = run_through(&store, "new", &next).await;
        assert_eq!((counts.messages(), balance(&store, "1").await), (1, 1));
    }

    async fn the_list_names_each_consumer_and_each_member_with_its_backlog(store) {
        let sent = send_deposits(&store, "account:command", "1", 2).await;
        assert!(positions(&store).list().await.unwrap().is_empty());
        let _ = run_through(&store, "a-b", &sent[1]).await;
        for number in 0..2 {
            let group = GroupMember::new(number, 2).unwrap();
            let _ = start(&store, "g", Some(group)).await.stop().await.unwrap();
        }
        let _ = send_deposits(&store, "account:command", "2", 3).await;
        let positions = positions(&store);
        let mut named = Vec::new();
        for saved in positions.list().await.unwrap() {
            let again = positions.get(saved.identifier.as_deref(), saved.member).await.unwrap();
            assert_eq!((&again.stream, again.position), (&saved.stream, saved.position));
            assert!(saved.is_stopped && saved.saved_at.is_some());
            assert!(positions.backlog(&saved).await.unwrap().messages >= 3);
            named.push((saved.identifier.unwrap(), saved.member.map(|member| (member.number(), member.size()))));
        }
        assert_eq!(named, [("a-b".to_owned(), None), ("g".to_owned(), Some((0, 2))), ("g".to_owned(), Some((1, 2)))]);
    }
}
