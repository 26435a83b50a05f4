//! A component moves to another store, and loses and repeats nothing. Tests are named after the numbers of the
//! scenarios.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::consumer::Consumer;
use message_store::operations::Transfer;
use message_store::testing::PlantedBug;
use message_store::{
    Category, Error, ExpectedVersion, Json, Message, MessageStore, MessageStoreExt as _, Metadata, NewMessage, Outcome,
    StreamName, connect,
};
use message_store_tests::accounts::{balance, member, messages_of, postgres, send_deposits, sqlite};
use message_store_tests::expire::AgeingStore;
use message_store_tests::message_db;

type Store = Arc<dyn MessageStore>;

async fn copy(from: &Store, to: &Store) -> Vec<u64> {
    let mut written = Vec::new();
    for category in ["account", "account:command"] {
        let mut last = None;
        let copied = Transfer::new(from, to)
            .copy(&Category::new(category).unwrap(), |progress| last = Some(progress.clone()))
            .await
            .unwrap();
        assert_eq!(copied.messages, copied.verified);
        assert_eq!(last.as_ref(), Some(&copied));
        written.push(copied.written);
    }
    written
}

async fn handle_all(store: &Store, bug: Option<PlantedBug>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for message in messages_of(store, "account:command").await {
        outcomes.push(member(store, bug).carry_out(&message).await.unwrap());
    }
    outcomes
}

/// Fills the old store, at high positions, with ten deposits. Six of them are carried out, one by Eventide.
async fn old_store(old: &Store) -> Vec<Message> {
    send_deposits(old, "elsewhere", "1", 200).await;
    let deposits = send_deposits(old, "account:command", "1", 10).await;
    for deposit in &deposits[..5] {
        let _ = member(old, None).carry_out(deposit).await.unwrap();
    }
    let theirs = NewMessage::new("Deposited", Json::parse(r#"{"amount":1}"#).unwrap())
        .with_metadata(&Metadata::follow(&deposits[5]))
        .unwrap();
    old.append_to(&StreamName::new("account-1").unwrap(), ExpectedVersion::Any, vec![theirs]).await.unwrap();
    deposits
}

/// T16, T18: handled commands are recognised, and the others are carried out, also new commands at lower positions.
/// Returns the balance.
async fn moved(old: &Store, new: &Store, bug: Option<PlantedBug>) -> u64 {
    old_store(old).await;
    copy(old, new).await;
    send_deposits(new, "account:command", "1", 3).await;
    handle_all(new, bug).await;
    balance(new, "1").await
}

/// A consumer has handled all messages in the old store. Its position is copied by hand, twice, with or without its
/// origin. Meanwhile other messages and then three commands are written to the new store. Returns how many of the
/// commands a consumer carries out there.
async fn carried_out_beside_a_copied_position(old: &Store, new: &Store, is_marked: bool) -> u64 {
    send_deposits(old, "elsewhere", "1", 20).await;
    let last = send_deposits(old, "account:command", "2", 1).await.remove(0);
    let mut consumer = Consumer::new("account:command", member(old, None)).start(old).await.unwrap();
    consumer.wait_for(last.global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    // The consumer has run in the new store before, and handled nothing.
    Consumer::new("account:command", member(new, None)).start(new).await.unwrap().stop().await.unwrap();
    for position in messages_of(old, "account:command+position").await {
        let mut copy = NewMessage::new(&position.message_type, position.data.clone());
        if is_marked {
            let mut metadata = Metadata::default();
            metadata.origin = Some(position.sequence(old.store_id()));
            copy = copy.with_metadata(&metadata).unwrap();
        }
        new.append_to(&position.stream, ExpectedVersion::Any, vec![copy]).await.unwrap();
    }
    let deposits = send_deposits(new, "account:command", "1", 3).await;
    send_deposits(new, "elsewhere", "1", 40).await;
    let mut consumer = Consumer::new("account:command", member(new, None)).start(new).await.unwrap();
    consumer.wait_for(deposits[2].global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    balance(new, "1").await
}

macro_rules! between_all_stores {
    ($(async fn $name:ident($old:ident, $new:ident) $body:block)*) => {
        $(async fn $name($old: Store, $new: Store) $body)*
        between_all_stores! { @pair postgres_to_sqlite postgres sqlite; $($name)* }
        between_all_stores! { @pair sqlite_to_postgres sqlite postgres; $($name)* }
        between_all_stores! { @pair postgres_to_postgres postgres postgres; $($name)* }
        between_all_stores! { @pair sqlite_to_sqlite sqlite sqlite; $($name)* }
    };
    (@pair $module:ident $from:ident $to:ident; $($name:ident)*) => {
        mod $module {
            use super::{postgres, sqlite};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() { super::$name($from().await, $to().await).await; })*
            #[allow(unused)]
            async fn both() { let _ = (postgres().await, sqlite().await); }
        }
    };
}

between_all_stores! {
    async fn t16_copied_commands_that_were_done_are_known_and_the_others_are_carried_out(old, new) {
        let deposits = old_store(&old).await;
        assert_eq!(copy(&old, &new).await, [6, 10]);
        let outcomes = handle_all(&new, None).await;
        let known = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::AlreadyProcessed { .. })).count();
        assert_eq!((known, outcomes.len()), (6, 10), "{outcomes:?}");
        assert_eq!(balance(&new, "1").await, 10);

        let copied = messages_of(&new, "account:command").await;
        assert_eq!(copied[9].id, deposits[9].id);
        assert_eq!(
            copied[9].sequence(new.store_id()),
            deposits[9].sequence(old.store_id()),
            "a copy keeps its origin"
        );
    }

    async fn t17_the_tail_that_is_copied_after_native_traffic_is_carried_out(old, new) {
        old_store(&old).await;
        copy(&old, &new).await;
        send_deposits(&new, "account:command", "1", 5).await;
        handle_all(&new, None).await;
        send_deposits(&old, "account:command", "1", 2).await;
        assert_eq!(copy(&old, &new).await, [0, 2]);
        handle_all(&new, None).await;
        assert_eq!(balance(&new, "1").await, 17);
    }

    async fn t18_native_commands_at_positions_below_the_old_marks_are_carried_out(old, new) {
        assert_eq!(moved(&old, &new, None).await, 13);
    }

    async fn twin_with_one_mark_native_commands_are_lost(old, new) {
        assert!(moved(&old, &new, Some(PlantedBug::OneMark)).await < 13);
    }

    async fn t19_a_copy_that_runs_twice_copies_once(old, new) {
        old_store(&old).await;
        assert_eq!(copy(&old, &new).await, [6, 10]);
        assert_eq!(copy(&old, &new).await, [0, 0]);
        assert_eq!(messages_of(&new, "account:command").await.len(), 10);
    }

    async fn a_copy_that_goes_on_from_a_copy_keeps_the_first_origin(old, new) {
        let deposits = old_store(&old).await;
        let between = sqlite().await;
        copy(&old, &between).await;
        copy(&between, &new).await;
        let copied = messages_of(&new, "account:command").await;
        assert_eq!(copied[0].sequence(new.store_id()), deposits[0].sequence(old.store_id()));
        handle_all(&new, None).await;
        assert_eq!(balance(&new, "1").await, 10);
    }

    async fn what_another_toolkit_carried_out_in_a_store_between_is_known_in_the_last_one(old, new) {
        let first = send_deposits(&old, "account:command", "1", 3).await.remove(0);
        let between = sqlite().await;
        send_deposits(&between, "elsewhere", "1", 50).await;
        copy(&old, &between).await;
        // As Eventide stamps it: with its place in the intermediate store.
        let copied = messages_of(&between, "account:command").await.remove(0);
        assert_eq!(copied.id, first.id);
        let theirs = NewMessage::new("Deposited", Json::parse(r#"{"amount":1}"#).unwrap());
        let theirs = theirs.with_metadata(&Metadata::follow(&copied)).unwrap();
        between.append_to(&StreamName::new("account-1").unwrap(), ExpectedVersion::Any, vec![theirs]).await.unwrap();
        copy(&between, &new).await;
        handle_all(&new, None).await;
        assert_eq!(balance(&new, "1").await, 3);
    }

    async fn a_new_command_that_carries_the_metadata_of_a_copy_is_carried_out(old, new) {
        send_deposits(&old, "account:command", "1", 1).await;
        copy(&old, &new).await;
        let first = messages_of(&new, "account:command").await.remove(0);
        let decide = member(&new, None);
        let _ = decide.carry_out(&first).await.unwrap();
        // Its author has reused the metadata of a message that was read.
        let again = NewMessage::new("Deposit", Json::parse(r#"{"amount":5}"#).unwrap());
        let again = again.with_metadata(&first.decode_metadata()).unwrap();
        new.append_to(&first.stream, ExpectedVersion::Any, vec![again]).await.unwrap();
        let second = messages_of(&new, "account:command").await.remove(1);
        for is_first in [true, false] {
            let outcome = decide.carry_out(&second).await.unwrap();
            assert_eq!(matches!(outcome, Outcome::Handled { late: true, .. }), is_first, "{outcome}");
        }
        assert!(matches!(decide.carry_out(&first).await.unwrap(), Outcome::AlreadyProcessed { .. }));
        assert_eq!(balance(&new, "1").await, 6);
    }

    async fn a_position_that_was_copied_from_another_store_skips_nothing(old, new) {
        assert_eq!(carried_out_beside_a_copied_position(&old, &new, true).await, 3);
    }

    async fn twin_a_copied_position_without_an_origin_skips_the_messages_below_it(old, new) {
        assert_eq!(carried_out_beside_a_copied_position(&old, &new, false).await, 0);
    }

    async fn the_positions_of_consumers_are_not_transferred(old, new) {
        let positions = Category::new("account:command+position").unwrap();
        let refused = Transfer::new(&old, &new).copy(&positions, |_| ()).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }

    async fn an_id_that_the_new_store_has_for_something_else_is_a_conflict(old, new) {
        let deposits = old_store(&old).await;
        let other = NewMessage::new("Other", Json::NULL).with_id(deposits[7].id);
        new.append_to(&StreamName::new("other-1").unwrap(), ExpectedVersion::Any, vec![other]).await.unwrap();
        let command = Category::new("account:command").unwrap();
        let result = Transfer::new(&old, &new).copy(&command, |_| ()).await;
        assert!(matches!(&result, Err(Error::IdConflict { id, .. }) if *id == deposits[7].id), "{result:?}");
    }
}

/// Twin of the verification: it notices a copy with a changed or lost message.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_a_copy_that_is_not_as_its_original_is_noticed() {
    for (sabotage, said) in [
        (
            "UPDATE message_store.messages SET data = '{\"amount\": 2}' WHERE stream_name = 'account:command-1' AND position = 3",
            "taken",
        ),
        (
            "UPDATE message_store.messages SET global_position = 9999 WHERE stream_name = 'account:command-1' AND position = 3",
            "out of order",
        ),
    ] {
        let old = sqlite().await;
        send_deposits(&old, "account:command", "1", 6).await;
        let ageing = AgeingStore::postgres().await;
        let new = connect(&ageing.url()).await.unwrap();
        let command = Category::new("account:command").unwrap();
        Transfer::new(&old, &new).copy(&command, |_| ()).await.unwrap();
        message_db::connect(&ageing.url(), None).await.batch_execute(sabotage).await.unwrap();
        let error = Transfer::new(&old, &new).copy(&command, |_| ()).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error} should say {said}");
    }
}

async fn clone_goes_live(original: AgeingStore, clone: AgeingStore) {
    let (first, url) = (connect(&original.url()).await.unwrap(), clone.url());
    let deposits = send_deposits(&first, "account:command", "1", 2).await;
    drop(connect(&url).await.unwrap());
    let id = first.store_id().as_uuid();
    let postgres = format!("UPDATE message_store.store_identity SET store_id = '{id}'");
    clone.execute(&postgres, &format!("UPDATE store_identity SET store_id = x'{}'", id.simple())).await;
    let second = connect(&url).await.unwrap();
    let command = Category::new("account:command").unwrap();
    let refused = Transfer::new(&first, &second).copy(&command, |_| ()).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");

    second.rotate_store_id().await.unwrap();
    let copied = Transfer::new(&first, &second).copy(&command, |_| ()).await.unwrap();
    assert_eq!((copied.verified, copied.written), (2, 2));
    // Their positions may be equal, but their origins differ.
    let native = send_deposits(&second, "account:command", "1", 1).await.remove(0);
    assert_ne!(native.sequence(second.store_id()).origin, deposits[0].sequence(first.store_id()).origin);
    handle_all(&second, None).await;
    assert_eq!(balance(&second, "1").await, 3);
}

async fn restored_behind_its_consumer(ageing: AgeingStore) {
    let store = connect(&ageing.url()).await.unwrap();
    let deposits = send_deposits(&store, "account:command", "1", 5).await;
    let start = async || Consumer::new("account:command", member(&store, None)).start(&store).await;
    let mut consumer = start().await.unwrap();
    consumer.wait_for(deposits[4].global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    start().await.unwrap().stop().await.unwrap();

    // The store was restored to an earlier time; the position was not.
    let position = NewMessage::new("Recorded", Json::parse(r#"{"position":1000000}"#).unwrap());
    let positions = StreamName::new("account:command+position").unwrap();
    store.append_to(&positions, ExpectedVersion::Any, vec![position]).await.unwrap();
    let error = start().await.err().unwrap();
    assert!(matches!(error, Error::StoreBehind { .. }), "{error}");
    assert!(error.to_string().contains("account:command+position"), "{error}");
}

mod on_postgres {
    use super::{AgeingStore, clone_goes_live, restored_behind_its_consumer};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn t20_a_consumer_refuses_a_store_that_ends_before_what_it_has_handled() {
        restored_behind_its_consumer(AgeingStore::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn t21_a_clone_that_goes_live_has_an_identity_of_its_own() {
        clone_goes_live(AgeingStore::postgres().await, AgeingStore::postgres().await).await;
    }
}

mod on_sqlite {
    use super::{AgeingStore, clone_goes_live, restored_behind_its_consumer};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn t20_a_consumer_refuses_a_store_that_ends_before_what_it_has_handled() {
        restored_behind_its_consumer(AgeingStore::sqlite()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn t21_a_clone_that_goes_live_has_an_identity_of_its_own() {
        clone_goes_live(AgeingStore::sqlite(), AgeingStore::sqlite()).await;
    }
}
