//! Sequential idempotence: a command that comes again has one effect, and so has a command that comes late. Each
//! scenario also runs with its protection switched off, and must then fail.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::testing::FaultyStore;
use message_store::testing::PlantedBug;
use message_store::{
    Category, Error, ExpectedVersion, GlobalPosition, Json, MessageStore, MessageStoreExt as _, Metadata, NewMessage,
    Outcome, Position, Sequence, StoreId, StreamName,
};
use message_store_tests::accounts::{Command, balance, member, send, send_deposits};
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

fn account_stream() -> StreamName {
    StreamName::new("account-1").unwrap()
}

/// Delivers five deposits three times each, to processes with empty caches. Returns the balance.
async fn redelivered(store: &Store, bug: Option<PlantedBug>) -> u64 {
    for message in send_deposits(store, "account:command", "1", 5).await {
        for _ in 0..3 {
            let _ = member(store, bug).carry_out(&message).await.unwrap();
        }
    }
    balance(store, "1").await
}

/// Sends ten deposits for one account to each of two categories. The second category is handled completely before the
/// first. Returns the balance.
async fn from_two_categories(store: &Store, bug: Option<PlantedBug>) -> u64 {
    let first = send_deposits(store, "account:command", "1", 10).await;
    let second = send_deposits(store, "teller:command", "1", 10).await;
    let member = member(store, bug);
    for message in second.iter().chain(&first) {
        let _ = member.carry_out(message).await.unwrap();
    }
    balance(store, "1").await
}

/// Sends twenty deposits to one account. One member of a wrongly partitioned group handles nine of them, and then the
/// other member handles the remaining eleven, which are lower. Returns the balance.
async fn over_two_members(store: &Store, bug: Option<PlantedBug>) -> u64 {
    let deposits = send_deposits(store, "account:command", "1", 20).await;
    let (ahead, lagging): (Vec<_>, Vec<_>) = deposits.iter().enumerate().partition(|(number, _)| number % 20 >= 11);
    for share in [ahead, lagging] {
        let member = member(store, bug);
        for (_, message) in share {
            let _ = member.carry_out(message).await.unwrap();
        }
    }
    balance(store, "1").await
}

/// The account comes from another store with high positions. In this store, positions begin at 1. Returns the balance.
async fn positions_restarted(store: &Store, bug: Option<PlantedBug>, stamp: Metadata) -> u64 {
    let moved = NewMessage::new("Deposited", Json::parse(r#"{"amount":100}"#).unwrap()).with_metadata(&stamp).unwrap();
    store.append_to(&account_stream(), ExpectedVersion::NoStream, vec![moved]).await.unwrap();
    for message in send_deposits(store, "account:command", "1", 5).await {
        let _ = member(store, bug).carry_out(&message).await.unwrap();
    }
    balance(store, "1").await
}

/// Metadata with the stamp of this library's runtime in the other store.
fn our_stamp() -> Metadata {
    let command = Category::new("account:command").unwrap();
    let mut metadata = Metadata::default();
    metadata.sequence = Some(Sequence::new(StoreId::new(), command, GlobalPosition::new(1_000_000)).into());
    metadata
}

/// Metadata with Eventide's stamp, which does not say in which store the position was.
fn eventide_stamp() -> Metadata {
    let mut metadata = Metadata::default();
    metadata.causation_message_stream_name = Some("account:command-1".into());
    metadata.causation_message_position = Some(Position::new(77));
    metadata.causation_message_global_position = Some(GlobalPosition::new(1_000_000));
    metadata
}

/// The append is written, and its answer is lost. Returns the balance.
async fn answer_lost(store: &Store, bug: Option<PlantedBug>) -> u64 {
    let message = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let faulty = FaultyStore::new(store);
    faulty.lose_answers(1);
    let outcome = member(&(faulty as Store), bug).carry_out(&message).await;
    assert!(bug.is_some() || matches!(outcome, Ok(Outcome::Handled { events: 1, late: false })), "{outcome:?}");
    balance(store, "1").await
}

on_both_stores! {
    async fn a_command_that_is_delivered_again_writes_nothing(store) {
        assert_eq!(redelivered(&store, None).await, 5);
    }

    async fn twin_without_sequences_a_redelivered_command_is_carried_out_again(store) {
        assert_eq!(redelivered(&store, Some(PlantedBug::NoSequences)).await, 15);
    }

    async fn t13_two_categories_that_feed_one_entity_lose_nothing(store) {
        assert_eq!(from_two_categories(&store, None).await, 20);
    }

    async fn twin_with_one_mark_for_all_origins_the_lagging_category_is_lost(store) {
        assert_eq!(from_two_categories(&store, Some(PlantedBug::OneMark)).await, 10);
    }

    async fn t12_commands_of_one_entity_that_reach_it_over_two_members_are_all_carried_out(store) {
        assert_eq!(over_two_members(&store, None).await, 20);
    }

    async fn twin_with_the_mark_alone_the_lagging_member_drops_its_commands(store) {
        assert_eq!(over_two_members(&store, Some(PlantedBug::MarkAlone)).await, 9);
    }

    async fn positions_that_restart_lower_lose_nothing(store) {
        assert_eq!(positions_restarted(&store, None, our_stamp()).await, 105);
    }

    async fn positions_that_restart_lower_lose_nothing_also_when_eventide_stamped_the_events(store) {
        assert_eq!(positions_restarted(&store, None, eventide_stamp()).await, 105);
    }

    async fn twin_with_one_mark_all_commands_are_lost_after_a_move(store) {
        assert_eq!(positions_restarted(&store, Some(PlantedBug::OneMark), our_stamp()).await, 100);
    }

    async fn a_commit_whose_answer_was_lost_is_decided_again_and_counts_once(store) {
        assert_eq!(answer_lost(&store, None).await, 1);
    }

    async fn twin_without_sequences_a_lost_answer_doubles_the_effect(store) {
        assert_eq!(answer_lost(&store, Some(PlantedBug::NoSequences)).await, 2);
    }

    async fn twin_without_a_second_decision_a_lost_answer_is_an_error(store) {
        let message = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let faulty = FaultyStore::new(&store);
        faulty.lose_answers(1);
        let outcome = member(&(faulty as Store), Some(PlantedBug::NoSecondDecision)).carry_out(&message).await;
        assert!(matches!(outcome, Err(Error::CommitUnknown { .. })), "{outcome:?}");
    }

    async fn a_late_command_is_distinguished_from_a_repeat_and_counted(store) {
        let deposits = send_deposits(&store, "account:command", "1", 2).await;
        let member = member(&store, None);
        assert!(matches!(member.carry_out(&deposits[1]).await.unwrap(), Outcome::Handled { late: false, .. }));
        assert!(matches!(member.carry_out(&deposits[0]).await.unwrap(), Outcome::Handled { late: true, .. }));
        for deposit in &deposits {
            let outcome = member.carry_out(deposit).await.unwrap();
            let Outcome::AlreadyProcessed { original } = outcome else { panic!("{outcome}") };
            assert_eq!(original.stream, account_stream());
        }
    }

    async fn a_command_that_eventide_has_carried_out_is_known_by_its_causation(store) {
        let deposits = send_deposits(&store, "account:command", "1", 2).await;
        let theirs = NewMessage::new("Deposited", Json::parse(r#"{"amount":1}"#).unwrap())
            .with_metadata(&Metadata::follow(&deposits[0]))
            .unwrap();
        store.append_to(&account_stream(), ExpectedVersion::NoStream, vec![theirs]).await.unwrap();
        let member = member(&store, None);
        let outcome = member.carry_out(&deposits[0]).await.unwrap();
        assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
        assert!(matches!(member.carry_out(&deposits[1]).await.unwrap(), Outcome::Handled { .. }));
        assert_eq!(balance(&store, "1").await, 2);
    }

    async fn members_that_write_to_one_entity_at_once_decide_again_until_all_is_written(store) {
        let deposits = send_deposits(&store, "account:command", "1", 40).await;
        let members = (0..4).map(|number| {
            let (member, deposits) = (member(&store, None), deposits.clone());
            tokio::spawn(async move {
                for message in deposits.iter().skip(number * 7).chain(deposits.iter().take(number * 7)) {
                    let _ = member.carry_out(message).await.unwrap();
                }
            })
        });
        for member in members.collect::<Vec<_>>() {
            member.await.unwrap();
        }
        assert_eq!(balance(&store, "1").await, 40);
    }

    async fn a_command_that_comes_again_after_the_stores_identity_was_rotated_is_known_by_its_id(store) {
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        assert!(matches!(member(&store, None).carry_out(&deposit).await.unwrap(), Outcome::Handled { .. }));
        store.rotate_store_id().await.unwrap();
        let outcome = member(&store, None).carry_out(&deposit).await.unwrap();
        assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
        assert_eq!(balance(&store, "1").await, 1);
    }

    async fn a_decision_on_an_old_state_is_made_again(store) {
        let deposits = send_deposits(&store, "account:command", "1", 3).await;
        let (stale, other) = (member(&store, None), member(&store, None));
        let _ = stale.carry_out(&deposits[0]).await.unwrap();
        let _ = other.carry_out(&deposits[1]).await.unwrap();
        assert!(matches!(stale.carry_out(&deposits[2]).await.unwrap(), Outcome::Handled { late: false, .. }));
        assert_eq!(balance(&store, "1").await, 3);
    }

    async fn twin_without_a_second_decision_an_old_state_is_an_error(store) {
        let deposits = send_deposits(&store, "account:command", "1", 3).await;
        let (stale, other) = (member(&store, Some(PlantedBug::NoSecondDecision)), member(&store, None));
        let _ = stale.carry_out(&deposits[0]).await.unwrap();
        let _ = other.carry_out(&deposits[1]).await.unwrap();
        assert!(matches!(stale.carry_out(&deposits[2]).await, Err(Error::WrongExpectedVersion { .. })));
    }

    async fn t53_a_command_that_leads_to_nothing_is_decided_again(store) {
        let look = send(&store, "account:command", "1", &Command::Look).await;
        let member = member(&store, None);
        for _ in 0..2 {
            assert_eq!(member.carry_out(&look).await.unwrap(), Outcome::Ignored);
        }
    }

    async fn a_command_without_an_entity_or_with_bad_data_is_a_typed_error_and_an_unknown_one_is_unhandled(store) {
        let write = async |stream: &str, message_type: &str, data: &str| {
            let message = NewMessage::new(message_type, Json::parse(data).unwrap());
            let id = message.id;
            let stream = StreamName::new(stream).unwrap();
            store.append_to(&stream, ExpectedVersion::Any, vec![message]).await.unwrap();
            store.message(id).await.unwrap().unwrap()
        };
        let member = member(&store, None);
        let nobodys = write("account:command", "Deposit", r#"{"amount":1}"#).await;
        assert!(matches!(member.carry_out(&nobodys).await, Err(Error::Invalid { .. })));
        let bad = write("account:command-1", "Deposit", r#"{"amount":"much"}"#).await;
        let error = member.carry_out(&bad).await.unwrap_err();
        assert!(matches!(&error, Error::Undecodable { stream, .. } if *stream == bad.stream), "{error}");
        let unknown = write("account:command-1", "Frobnicate", "null").await;
        assert_eq!(member.carry_out(&unknown).await.unwrap(), Outcome::Unhandled);
    }

    // Each deposit counts once, with any number and order of deliveries, in any process. The message of a failure
    // contains the seed.
    async fn t14_any_order_and_number_of_deliveries_ends_in_the_same_balance(store) {
        for seed in 0..12_u64 {
            let account = seed.to_string();
            let mut deposits = send_deposits(&store, "account:command", &account, 15).await;
            deposits.extend(send_deposits(&store, "teller:command", &account, 15).await);
            let mut random = seed;
            let mut next = |below: usize| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(random >> 33).unwrap() % below
            };
            let mut deliveries: Vec<usize> = (0..30).chain((0..30).map(|_| next(30))).collect();
            for at in (1..deliveries.len()).rev() {
                deliveries.swap(at, next(at + 1));
            }
            let members = [member(&store, None), member(&store, None)];
            for delivery in deliveries {
                let _ = members[next(2)].carry_out(&deposits[delivery]).await.unwrap();
            }
            assert_eq!(balance(&store, &account).await, 30, "seed {seed}");
        }
    }
}
