//! Moves on which stores meet again: there and back, or two copies of one store in a third. Another toolkit, or another
//! program, has worked in one of them meanwhile.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use message_store::operations::Transfer;
use message_store::{
    Append, Category, Error, GlobalPosition, Message, MessageStore, Metadata, NewMessage, Outcome, StreamName,
};
use message_store_tests::accounts::{Command, balance, member, messages_of, put, send, send_deposits, sqlite};
use message_store_tests::moving::copy;
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

async fn try_copy(from: &Store, to: &Store, category: &str) -> message_store::Result<()> {
    Transfer::new(from, to).copy(&Category::new(category).unwrap(), |_| ()).await.map(drop)
}

async fn same_in(store: &Store, message: &Message) -> Message {
    store.message(message.id).await.unwrap().unwrap()
}

/// Writes a message as Eventide does: it names its cause, without a stamp of this toolkit.
async fn put_of_eventide(store: &Store, stream: &str, message_type: &str, cause: &Message) {
    let followed = Metadata::follow(cause).to_json().unwrap();
    put(store, stream, message_type, cause.data.text(), followed.text()).await;
}

/// A deposit that Eventide carries out in the store, which is a copy of the one where the deposit was sent.
async fn carried_out_by_eventide(copied: &Store, deposit: &Message) {
    put_of_eventide(copied, "account-1", "Deposited", &same_in(copied, deposit).await).await;
}

/// Asserts that no handler carries the deposit out again.
async fn assert_known(store: &Store, deposit: &Message) {
    let outcome = member(store, None).carry_out(&same_in(store, deposit).await).await.unwrap();
    assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
    assert_eq!(balance(store, "1").await, 1);
}

/// Writes the copy that a transfer would write.
async fn put_copy(from: &Store, to: &Store, original: &Message) {
    let mut metadata = original.decode_metadata();
    metadata.origin = Some(original.sequence(from.store_id()));
    let message = NewMessage::again(original).with_metadata(&metadata).unwrap();
    to.append(Append::to(original.stream.clone()).message(message).into()).await.unwrap();
}

on_both_stores! {
    async fn what_another_toolkit_did_at_the_target_is_known_after_the_way_back(a) {
        let b = sqlite().await;
        let deposit = send_deposits(&a, "account:command", "1", 1).await.remove(0);
        send_deposits(&b, "elsewhere", "1", 3).await;
        copy(&a, &b, &["account:command"]).await;
        carried_out_by_eventide(&b, &deposit).await;
        copy(&b, &a, &["account", "account:command"]).await;
        assert_known(&a, &deposit).await;
    }

    async fn what_another_toolkit_did_in_one_copy_is_known_where_two_copies_meet(c) {
        let (a, b) = (sqlite().await, sqlite().await);
        let deposit = send_deposits(&a, "account:command", "1", 1).await.remove(0);
        copy(&a, &c, &["account:command"]).await;
        send_deposits(&b, "elsewhere", "1", 3).await;
        copy(&a, &b, &["account:command"]).await;
        carried_out_by_eventide(&b, &deposit).await;
        copy(&b, &c, &["account", "account:command"]).await;
        assert_known(&c, &deposit).await;
    }

    async fn what_another_toolkit_did_is_known_after_a_copy_that_ran_twice_and_over_two_stores(a) {
        let (b, between) = (sqlite().await, sqlite().await);
        let deposit = send_deposits(&a, "account:command", "1", 1).await.remove(0);
        send_deposits(&b, "elsewhere", "1", 3).await;
        copy(&a, &b, &["account:command"]).await;
        carried_out_by_eventide(&b, &deposit).await;
        copy(&b, &between, &["account", "account"]).await;
        copy(&between, &a, &["account", "account"]).await;
        assert_eq!(messages_of(&a, "account").await.len(), 1);
        assert_known(&a, &deposit).await;
    }

    async fn an_event_of_another_toolkit_is_copied_when_its_cause_is_not_there_any_more(b) {
        let a = sqlite().await;
        let cause = send_deposits(&sqlite().await, "account:command", "1", 3).await.remove(2);
        put_of_eventide(&a, "account-1", "Deposited", &cause).await;
        send_deposits(&a, "account:command", "1", 1).await;
        copy(&a, &b, &["account"]).await;
        let copied = messages_of(&b, "account").await.remove(0).decode_metadata();
        assert_eq!(copied.cause(b.store_id()).unwrap().origin.store_id, a.store_id());
    }

    /// The first of Eventide's two hops has reserved the intent. The copied reservation still names the command.
    async fn what_another_toolkit_reserved_at_the_target_is_carried_out_after_the_way_back(a) {
        let b = sqlite().await;
        let once = Command::DepositOnce { deposit_id: "d".into(), amount: 1, time: "noon".into() };
        let command = send(&a, "account:command", "1", &once).await;
        send_deposits(&b, "elsewhere", "1", 3).await;
        copy(&a, &b, &["account:command"]).await;
        let there = same_in(&b, &command).await;
        put_of_eventide(&b, "accountTransaction-1+deposit+d", "DepositOnce", &there).await;
        copy(&b, &a, &["account", "accountTransaction", "account:command"]).await;
        let outcome = member(&a, None).carry_out(&same_in(&a, &command).await).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
        assert_eq!(balance(&a, "1").await, 1);
    }

    async fn a_move_there_and_back_while_both_stores_are_written_is_verified(b) {
        let a = sqlite().await;
        send_deposits(&a, "account:command", "1", 1).await;
        copy(&a, &b, &["account:command"]).await;
        send_deposits(&b, "account:command", "2", 1).await;
        send_deposits(&a, "account:command", "3", 1).await;
        copy(&a, &b, &["account:command"]).await;
        for _ in 0..2 {
            copy(&b, &a, &["account:command"]).await;
            copy(&a, &b, &["account:command"]).await;
        }
    }

    async fn two_stores_of_which_one_was_moved_to_the_other_are_merged_in_a_third(c) {
        let (a, b) = (sqlite().await, sqlite().await);
        send_deposits(&a, "account:command", "1", 1).await;
        copy(&a, &b, &["account:command"]).await;
        send_deposits(&b, "account:command", "2", 1).await;
        send_deposits(&a, "account:command", "3", 1).await;
        copy(&a, &b, &["account:command"]).await;
        for from in [&a, &b, &a] {
            copy(from, &c, &["account:command"]).await;
        }
    }

    async fn copies_from_one_store_in_another_order_are_an_error(b) {
        let a = sqlite().await;
        let sent = send_deposits(&a, "account:command", "1", 3).await;
        put_copy(&a, &b, &sent[1]).await;
        let error = try_copy(&a, &b, "account:command").await.unwrap_err();
        assert!(matches!(&error, Error::Invalid { .. }) && error.to_string().contains("out of order"), "{error}");
    }

    async fn a_message_that_claims_to_be_a_copy_hides_no_other_order(b) {
        let a = sqlite().await;
        let sent = send_deposits(&a, "account:command", "1", 3).await;
        let claim = |position: i64| {
            let mut metadata = Metadata::new();
            metadata.origin = Some(sent[0].sequence(a.store_id()));
            metadata.origin.as_mut().unwrap().global_position = GlobalPosition::new(position);
            metadata.to_json().unwrap()
        };
        for position in [i64::MAX, 2, 900] {
            put(&b, "account:command-2", "Deposit", r#"{"amount":1}"#, claim(position).text()).await;
        }
        for _ in 0..2 {
            copy(&a, &b, &["account:command"]).await;
        }
        let b = sqlite().await;
        put(&b, "account:command-2", "Deposit", r#"{"amount":1}"#, claim(i64::MAX).text()).await;
        put_copy(&a, &b, &sent[2]).await;
        assert!(try_copy(&a, &b, "account:command").await.unwrap_err().to_string().contains("out of order"));
    }

    async fn a_message_that_is_missing_in_the_target_is_never_verified(b) {
        let a = sqlite().await;
        let other = NewMessage::again(&send_deposits(&a, "account:command", "1", 1).await[0]);
        b.append(Append::to(StreamName::new("account:command-2").unwrap()).message(other).into()).await.unwrap();
        let error = try_copy(&a, &b, "account:command").await.unwrap_err();
        assert!(matches!(error, Error::IdConflict { .. }), "{error}");
    }

    async fn an_event_that_names_a_place_behind_it_is_no_sign_of_the_message_that_is_copied_there_later(b) {
        let (a, c) = (sqlite().await, sqlite().await);
        let deposit = send_deposits(&a, "account:command", "1", 1).await.remove(0);
        let before = put(&b, "other-1", "Other", "{}", "null").await.global_position.get();
        put(&b, "account-1", "Deposited", r#"{"amount":100}"#, &causation(Some(0), before + 2)).await;
        copy(&a, &b, &["account:command"]).await;
        assert_eq!(same_in(&b, &deposit).await.global_position.get(), before + 2);
        copy(&b, &c, &["account", "account:command"]).await;
        let outcome = member(&c, None).carry_out(&same_in(&c, &deposit).await).await.unwrap();
        assert!(matches!(outcome, Outcome::Handled { .. }), "{outcome}");
    }

    async fn a_cause_that_is_named_by_its_global_position_alone_is_known_after_the_way_back(a) {
        let b = sqlite().await;
        let deposit = send_deposits(&a, "account:command", "1", 1).await.remove(0);
        send_deposits(&b, "elsewhere", "1", 3).await;
        copy(&a, &b, &["account:command"]).await;
        let there = same_in(&b, &deposit).await.global_position.get();
        put(&b, "account-1", "Deposited", r#"{"amount":1}"#, &causation(None, there)).await;
        copy(&b, &a, &["account", "account:command"]).await;
        assert_known(&a, &deposit).await;
    }
}

/// Metadata that names a command of account 1 as its cause.
fn causation(position: Option<i64>, global_position: i64) -> String {
    let position = position.map(|position| format!(r#""causationMessagePosition":{position},"#)).unwrap_or_default();
    format!(
        r#"{{"causationMessageStreamName":"account:command-1",{position}"causationMessageGlobalPosition":{global_position}}}"#
    )
}
