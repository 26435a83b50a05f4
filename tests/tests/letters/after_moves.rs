//! Dead letters that are moved to another store in parts, and in both directions, while both stores are written to.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::{ConsumerHandle, DeadLetter, DeadLetters, LetterState, OnFailure};
use message_store::{Message, MessageStore, StreamName};
use message_store_tests::accounts::{balance, messages_of, put, send_deposits, sqlite};
use message_store_tests::marked::Marked;
use message_store_tests::moving::copy;
use message_store_tests::on_both_stores;
use message_store_tests::warnings::Warnings;

type Store = Arc<dyn MessageStore>;

const COMMANDS: &str = "account:command";
const LETTERS: &str = "account:command+deadLetter+g";

fn letters(store: &Store) -> DeadLetters {
    DeadLetters::of(store, COMMANDS, Some("g")).unwrap()
}

async fn letter_of(store: &Store, message: &Message) -> DeadLetter {
    letters(store).show(message.id).await.unwrap().unwrap()
}

async fn retry(store: &Store, message: &Message) {
    assert!(letters(store).retry(&letter_of(store, message).await).await.unwrap());
}

async fn discard(store: &Store, message: &Message) {
    assert!(letters(store).discard(&letter_of(store, message).await, "bad").await.unwrap());
}

async fn assert_discarded(store: &Store, message: &Message) {
    let state = letter_of(store, message).await.state;
    assert!(matches!(state, LetterState::Discarded(_)), "{state:?}");
}

async fn start(store: &Store, policy: OnFailure) -> ConsumerHandle {
    Marked::new(store, None).start_group(store, policy, 1, None).await.remove(0)
}

/// Waits until a consumer has handled a message, which was sent to this store or copied here.
async fn until_handled(consumer: &mut ConsumerHandle, store: &Store, message: &Message) {
    let here = store.message(message.id).await.unwrap().unwrap();
    consumer.wait_for(here.global_position).await.unwrap();
}

async fn stop(consumer: ConsumerHandle) {
    let _ = consumer.stop().await.unwrap();
}

/// Sends deposits of account 1. The first fails and is set aside. Under `Hold`, the others wait behind it.
async fn set_aside(store: &Store, policy: OnFailure, count: usize) -> Vec<Message> {
    let sent = send_deposits(store, COMMANDS, "1", count).await;
    let handler = Marked::new(store, None);
    handler.fail(&sent[0]);
    let mut consumer = handler.start_group(store, policy, 1, None).await.remove(0);
    until_handled(&mut consumer, store, &sent[count - 1]).await;
    stop(consumer).await;
    sent
}

/// Waits until account 1 has this balance. The consumer runs meanwhile.
async fn until_balance(store: &Store, expected: u64) {
    for _ in 0..2000 {
        if balance(store, "1").await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let steps = messages_of(store, LETTERS).await;
    let steps: Vec<_> = steps.iter().map(|step| format!("{} {}", step.message_type, step.reference())).collect();
    panic!("the balance is {}, and not {expected}: {steps:#?}", balance(store, "1").await);
}

async fn until_no_letter_is_open(store: &Store) {
    for _ in 0..2000 {
        if letters(store).list().await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:#?} are open", letters(store).list().await);
}

/// Waits until the running consumer has handled every step of its letters, and knows every letter.
async fn until_letters_are_read(consumer: &mut ConsumerHandle, store: &Store) {
    let last = messages_of(store, LETTERS).await.last().unwrap().global_position.get();
    let positions = StreamName::new(format!("{LETTERS}+position-g+0+1")).unwrap();
    let is_read = async || {
        let recorded = store.last_message(&positions, Some("Recorded")).await.unwrap().unwrap();
        recorded.decode_data::<serde_json::Value>().unwrap()["position"].as_i64().unwrap() >= last
    };
    while !is_read().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The consumer reads the changes of letters before it delivers a message.
    let other = send_deposits(store, COMMANDS, "2", 1).await.remove(0);
    until_handled(consumer, store, &other).await;
}

/// A consumer with this policy dies while it delivers a message.
async fn die(store: &Store, policy: OnFailure, message: &Message) {
    let dying = Marked::new(store, None);
    dying.deadly.lock().unwrap().insert(message.id);
    let consumer = dying.start_group(store, policy, 1, None).await;
    dying.dying.notified().await;
    drop(consumer);
}

on_both_stores! {
    async fn a_retry_that_a_crash_broke_off_before_the_move_is_delivered_after_it(new) {
        for is_stopped_between in [true, false] {
            let (old, new) = (sqlite().await, if is_stopped_between { sqlite().await } else { Arc::clone(&new) });
            let bad = set_aside(&old, OnFailure::Park, 1).await.remove(0);
            retry(&old, &bad).await;
            die(&old, OnFailure::Park, &bad).await;
            let mut running = start(&new, OnFailure::Park).await;
            copy(&old, &new, &["account", LETTERS]).await;
            until_letters_are_read(&mut running, &new).await;
            if is_stopped_between {
                stop(running).await;
                copy(&old, &new, &[COMMANDS]).await;
                running = start(&new, OnFailure::Park).await;
            } else {
                copy(&old, &new, &[COMMANDS]).await;
            }
            until_balance(&new, 1).await;
            stop(running).await;
        }
    }

    async fn what_follows_a_letter_and_was_broken_off_by_a_crash_before_the_move_is_delivered_after_it(new) {
        let old = sqlite().await;
        let sent = set_aside(&old, OnFailure::Hold, 3).await;
        retry(&old, &sent[0]).await;
        die(&old, OnFailure::Hold, &sent[1]).await;
        let mut running = start(&new, OnFailure::Hold).await;
        copy(&old, &new, &["account", LETTERS]).await;
        until_letters_are_read(&mut running, &new).await;
        copy(&old, &new, &[COMMANDS]).await;
        until_balance(&new, 3).await;
        stop(running).await;
    }

    async fn a_discard_at_the_target_outlasts_a_retry_at_the_source(new) {
        let old = sqlite().await;
        let bad = set_aside(&old, OnFailure::Park, 1).await.remove(0);
        copy(&old, &new, &[LETTERS, COMMANDS]).await;
        let mut running = start(&new, OnFailure::Park).await;
        until_handled(&mut running, &new, &bad).await;
        retry(&old, &bad).await;
        discard(&new, &bad).await;
        copy(&old, &new, &[LETTERS]).await;
        until_letters_are_read(&mut running, &new).await;
        stop(running).await;
        assert_eq!(balance(&new, "1").await, 0);
        assert_discarded(&new, &bad).await;
    }

    async fn a_discard_at_the_target_outlasts_a_delivery_at_the_source(new) {
        let old = sqlite().await;
        let bad = set_aside(&old, OnFailure::Park, 1).await.remove(0);
        let mut running = start(&new, OnFailure::Park).await;
        copy(&old, &new, &[LETTERS]).await;
        let letter = letters(&new).list().await.unwrap().remove(0);
        assert!(letters(&new).discard(&letter, "bad").await.unwrap());
        retry(&old, &bad).await;
        let delivering = start(&old, OnFailure::Park).await;
        until_balance(&old, 1).await;
        stop(delivering).await;
        copy(&old, &new, &[LETTERS]).await;
        until_letters_are_read(&mut running, &new).await;
        copy(&old, &new, &[COMMANDS]).await;
        until_handled(&mut running, &new, &bad).await;
        stop(running).await;
        assert_eq!(balance(&new, "1").await, 0);
        assert_discarded(&new, &bad).await;
    }

    async fn a_discard_at_the_target_outlasts_the_letter_of_the_source(new) {
        let old = sqlite().await;
        let sent = set_aside(&old, OnFailure::Hold, 2).await;
        copy(&old, &new, &[COMMANDS]).await;
        let handler = Marked::new(&new, None);
        handler.fail(&sent[0]);
        let mut running = handler.start_group(&new, OnFailure::Hold, 1, None).await.remove(0);
        until_handled(&mut running, &new, &sent[1]).await;
        discard(&new, &sent[0]).await;
        until_balance(&new, 1).await;
        copy(&old, &new, &[LETTERS]).await;
        until_letters_are_read(&mut running, &new).await;
        assert_discarded(&new, &sent[0]).await;
        send_deposits(&new, COMMANDS, "1", 1).await;
        until_balance(&new, 2).await;
        stop(running).await;
    }

    async fn a_broken_message_among_the_letters_stops_nothing(store) {
        let sent = set_aside(&store, OnFailure::Park, 1).await;
        let of_the_letter = messages_of(&store, LETTERS).await.remove(0).stream;
        let broken = [("Other", "{}"), ("Attempted", "null"), ("Discarded", "{}"), ("Resolved", "[]"), ("Parked", "5")];
        for stream in [of_the_letter.as_str(), &format!("{LETTERS}-1+x")] {
            for (message_type, data) in broken {
                put(&store, stream, message_type, data, "null").await;
                let mut running = start(&store, OnFailure::Park).await;
                let after = send_deposits(&store, COMMANDS, "2", 1).await.remove(0);
                until_handled(&mut running, &store, &after).await;
                assert_eq!(letters(&store).list().await.unwrap().len(), 1, "{message_type} {data}");
                stop(running).await;
            }
        }
        let running = start(&store, OnFailure::Park).await;
        retry(&store, &sent[0]).await;
        until_balance(&store, 1).await;
        stop(running).await;
    }

    async fn a_broken_step_of_a_letter_is_named_in_a_warning(store) {
        set_aside(&store, OnFailure::Park, 1).await;
        let letter = messages_of(&store, LETTERS).await.remove(0).stream;
        let broken = put(&store, letter.as_str(), "Attempted", "null", "null").await;
        let warnings = Warnings::default();
        let collecting = warnings.collect();
        assert_eq!(letters(&store).list().await.unwrap().len(), 1);
        drop(collecting);
        let name = format!("the Attempted at position {} of {letter}", broken.position);
        assert!(warnings.so_far().iter().any(|warning| warning.contains(&name)), "{:?}", warnings.so_far());
    }

    async fn a_broken_discard_lets_nothing_follow(store) {
        set_aside(&store, OnFailure::Hold, 2).await;
        let letter = messages_of(&store, LETTERS).await.remove(0).stream;
        put(&store, letter.as_str(), "Discarded", "{}", "null").await;
        let mut running = start(&store, OnFailure::Park).await;
        until_letters_are_read(&mut running, &store).await;
        stop(running).await;
        assert_eq!(balance(&store, "1").await, 0);
    }

    async fn letters_without_their_messages_are_listed_last(new) {
        let old = sqlite().await;
        let first = set_aside(&old, OnFailure::Hold, 1).await.remove(0);
        let slice = sqlite().await;
        copy(&old, &slice, &[COMMANDS]).await;
        let second = hold_another(&old).await;
        send_deposits(&new, "elsewhere", "1", 9).await;
        copy(&old, &new, &[LETTERS]).await;
        copy(&slice, &new, &[COMMANDS]).await;
        let listed: Vec<_> = letters(&new).list().await.unwrap().iter().map(|letter| letter.message.id).collect();
        assert_eq!(listed, [first.id, second.id]);
    }

    async fn nothing_waits_for_a_message_that_is_not_copied_yet(new) {
        let old = sqlite().await;
        let first = set_aside(&old, OnFailure::Hold, 1).await.remove(0);
        let slice = sqlite().await;
        copy(&old, &slice, &[COMMANDS]).await;
        hold_another(&old).await;
        send_deposits(&new, "elsewhere", "1", 9).await;
        let mut running = start(&new, OnFailure::Hold).await;
        copy(&old, &new, &[LETTERS]).await;
        copy(&slice, &new, &[COMMANDS]).await;
        until_handled(&mut running, &new, &first).await;
        retry(&new, &first).await;
        until_balance(&new, 1).await;
        until_letters_are_read(&mut running, &new).await;
        let between = send_deposits(&new, COMMANDS, "1", 1).await.remove(0);
        until_handled(&mut running, &new, &between).await;
        assert_eq!(balance(&new, "1").await, 2);
        copy(&old, &new, &[COMMANDS]).await;
        until_balance(&new, 3).await;
        stop(running).await;
    }

    async fn a_retry_releases_an_entity_whose_letters_come_after_its_messages_were_handled(new) {
        for is_retried_at_the_source in [true, false] {
            let (old, new) = (sqlite().await, if is_retried_at_the_source { sqlite().await } else { Arc::clone(&new) });
            let sent = set_aside(&old, OnFailure::Hold, 2).await;
            if is_retried_at_the_source {
                retry(&old, &sent[0]).await;
            }
            copy(&old, &new, &[COMMANDS]).await;
            let mut running = start(&new, OnFailure::Hold).await;
            until_handled(&mut running, &new, &sent[1]).await;
            copy(&old, &new, &[LETTERS]).await;
            if !is_retried_at_the_source {
                retry(&new, &sent[0]).await;
            }
            // No later message is needed to release the entity.
            until_no_letter_is_open(&new).await;
            send_deposits(&new, COMMANDS, "1", 1).await;
            until_balance(&new, 3).await;
            stop(running).await;
        }
    }

    async fn what_waits_follows_beside_a_letter_that_holds_nothing_back(new) {
        let old = sqlite().await;
        let sent = set_aside(&old, OnFailure::Hold, 2).await;
        discard(&old, &sent[0]).await;
        set_aside(&new, OnFailure::Park, 1).await;
        let mut running = start(&new, OnFailure::Park).await;
        copy(&old, &new, &["account", LETTERS]).await;
        until_letters_are_read(&mut running, &new).await;
        copy(&old, &new, &[COMMANDS]).await;
        until_balance(&new, 1).await;
        stop(running).await;
    }

    async fn what_is_held_follows_beside_a_letter_that_was_parked_under_another_policy(store) {
        set_aside(&store, OnFailure::Park, 1).await;
        let sent = set_aside(&store, OnFailure::Hold, 2).await;
        let running = start(&store, OnFailure::Hold).await;
        retry(&store, &sent[0]).await;
        until_balance(&store, 2).await;
        stop(running).await;
    }

    async fn what_waits_behind_a_letter_follows_after_the_policy_was_stop_for_a_while(new) {
        let old = sqlite().await;
        let sent = set_aside(&old, OnFailure::Hold, 3).await;
        discard(&old, &sent[0]).await;
        let mut running = start(&new, OnFailure::Hold).await;
        copy(&old, &new, &[LETTERS]).await;
        until_letters_are_read(&mut running, &new).await;
        stop(running).await;
        copy(&old, &new, &[COMMANDS]).await;
        let mut stopping = start(&new, OnFailure::Stop).await;
        until_handled(&mut stopping, &new, &sent[2]).await;
        stop(stopping).await;
        let running = start(&new, OnFailure::Hold).await;
        until_balance(&new, 2).await;
        stop(running).await;
    }

    async fn a_discard_outlasts_a_delivery_that_was_copied_before_it(third) {
        let (old, new) = (sqlite().await, sqlite().await);
        let sent = set_aside(&old, OnFailure::Park, 1).await;
        copy(&old, &new, &[LETTERS, COMMANDS]).await;
        discard(&new, &sent[0]).await;
        retry(&old, &sent[0]).await;
        let at_old = start(&old, OnFailure::Park).await;
        until_balance(&old, 1).await;
        stop(at_old).await;
        let mut running = start(&third, OnFailure::Park).await;
        copy(&old, &third, &[LETTERS]).await;
        until_letters_are_read(&mut running, &third).await;
        copy(&new, &third, &[LETTERS]).await;
        until_letters_are_read(&mut running, &third).await;
        copy(&new, &third, &[COMMANDS]).await;
        until_handled(&mut running, &third, &sent[0]).await;
        stop(running).await;
        assert_discarded(&third, &sent[0]).await;
        assert_eq!(balance(&third, "1").await, 0);
    }

    async fn what_waits_follows_when_its_letter_was_delivered_in_the_other_store(new) {
        let old = sqlite().await;
        let sent = set_aside(&old, OnFailure::Hold, 1).await;
        copy(&old, &new, &["account", LETTERS, COMMANDS]).await;
        let handler = failing_at(&new, &sent[0]).await;
        let mut running = handler.start_group(&new, OnFailure::Hold, 1, None).await.remove(0);
        let waiting = send_deposits(&new, COMMANDS, "1", 1).await.remove(0);
        running.wait_for(waiting.global_position).await.unwrap();
        fail_again(&old, &new, &sent[0]).await;
        let at_old = start(&old, OnFailure::Hold).await;
        until_balance(&old, 1).await;
        stop(at_old).await;
        handler.mend();
        copy(&old, &new, &["account", LETTERS]).await;
        until_balance(&new, 2).await;
        stop(running).await;
    }

    async fn a_letter_that_failed_again_can_be_decided_after_the_other_store_began_a_delivery(new) {
        let old = sqlite().await;
        let sent = set_aside(&old, OnFailure::Park, 1).await;
        copy(&old, &new, &["account", LETTERS, COMMANDS]).await;
        let handler = failing_at(&new, &sent[0]).await;
        let mut running = handler.start_group(&new, OnFailure::Park, 1, None).await.remove(0);
        until_handled(&mut running, &new, &sent[0]).await;
        fail_again(&old, &new, &sent[0]).await;
        die(&old, OnFailure::Park, &sent[0]).await;
        copy(&old, &new, &[LETTERS]).await;
        handler.mend();
        retry(&new, &sent[0]).await;
        until_balance(&new, 1).await;
        stop(running).await;
    }
}

/// A handler that fails at a message that was copied to the store.
async fn failing_at(store: &Store, message: &Message) -> Marked {
    let handler = Marked::new(store, None);
    handler.fail(&store.message(message.id).await.unwrap().unwrap());
    handler
}

/// Requests a retry in the old store, and copies the request. The delivery in the new store fails again.
async fn fail_again(old: &Store, new: &Store, message: &Message) {
    let before = letter_of(new, message).await.attempts;
    retry(old, message).await;
    copy(old, new, &[LETTERS]).await;
    for _ in 0..3_000 {
        let letter = letter_of(new, message).await;
        if letter.state == LetterState::Parked && letter.attempts > before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the delivery did not end");
}

/// Sends another deposit of account 1, which waits behind the one that was set aside.
async fn hold_another(store: &Store) -> Message {
    let sent = send_deposits(store, COMMANDS, "1", 1).await.remove(0);
    let mut consumer = start(store, OnFailure::Hold).await;
    until_handled(&mut consumer, store, &sent).await;
    stop(consumer).await;
    sent
}
