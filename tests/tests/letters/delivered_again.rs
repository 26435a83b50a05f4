//! Dead letters that are decided in another process, in a group of another size, under another policy, or in another
//! store.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::{Consumer, DeadLetters, OnFailure, PlantedBug as ConsumerBug};
use message_store::operations::Transfer;
use message_store::testing::FaultyStore;
use message_store::{
    Category, ExpectedVersion, GroupMember, Json, Message, MessageStore, MessageStoreExt as _, NewMessage, OutcomeKind,
    StreamName, connect,
};
use message_store_tests::accounts::{balance, member, messages_of, send_deposits};
use message_store_tests::expire::AgeingStore;
use message_store_tests::marked::{Marked, planted};
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

/// An operator's decision on a dead letter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Decision {
    Nothing,
    Retry,
    Discard,
}

/// The first of three deposits fails and is set aside, and an operator decides. Then the group changes its size, and
/// all messages are delivered again, from the beginning. Returns the outcomes and the balance.
async fn delivered_again(
    store: &Store,
    on_failure: OnFailure,
    decision: Decision,
    bug: Option<ConsumerBug>,
) -> (HashMap<OutcomeKind, u64>, u64) {
    let deposits = send_deposits(store, "account:command", "1", 3).await;
    let handler = Marked::new(store, None);
    handler.fail(&deposits[0]);
    for mut member in handler.start_group(store, on_failure, 1, None).await {
        member.wait_for(deposits[2].global_position).await.unwrap();
        let _ = member.stop().await.unwrap();
    }
    handler.mend();
    let letters = group_letters(store);
    let letter = letters.show(deposits[0].id).await.unwrap().unwrap();
    match decision {
        Decision::Nothing => {}
        Decision::Retry => assert!(letters.retry(&letter).await.unwrap()),
        Decision::Discard => assert!(letters.discard(&letter, "a bad message").await.unwrap()),
    }
    let mut outcomes = HashMap::new();
    let mut members = handler.start_group(store, on_failure, 2, bug).await;
    for member in &mut members {
        member.wait_for(deposits[2].global_position).await.unwrap();
    }
    if decision == Decision::Retry {
        while letters.list().await.unwrap().iter().any(|letter| letter.message.id == deposits[0].id) {
            tokio::task::yield_now().await;
        }
    }
    while decision != Decision::Nothing && !letters.list().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    for member in members {
        for (outcome, count) in member.stop().await.unwrap().iter() {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    (outcomes, balance(store, "1").await)
}

/// All members of a group handle all messages up to `message`, which fails and is set aside. Then they stop.
async fn set_aside(store: &Store, message: &Message, policy: OnFailure, size: u16) {
    let handler = Marked::new(store, None);
    handler.fail(message);
    for mut member in handler.start_group(store, policy, size, None).await {
        member.wait_for(message.global_position).await.unwrap();
        let _ = member.stop().await.unwrap();
    }
}

async fn discard(store: &Store, message: &Message) {
    let letter = group_letters(store).show(message.id).await.unwrap().unwrap();
    assert!(group_letters(store).discard(&letter, "a bad message").await.unwrap());
}

/// While this member is busy with the message before, a member of a group of another size sets a message aside, and an
/// operator discards it. Returns how often this member carries it out.
async fn given_up_by_way_of_another_process(store: &Store, policy: OnFailure, bug: Option<ConsumerBug>) -> u64 {
    let busy = Marked::new(store, None);
    let members = busy.start_group(store, policy, 2, bug).await;
    let permits = busy.wait_in("1");
    send_deposits(store, "account:command", "1", 1).await;
    busy.begun.notified().await;
    let second = send_deposits(store, "account:command", "1", 1).await.remove(0);
    set_aside(store, &second, OnFailure::Park, 1).await;
    discard(store, &second).await;
    permits.add_permits(9);
    for mut member in members {
        member.wait_for(second.global_position).await.unwrap();
        let _ = member.stop().await.unwrap();
    }
    busy.times_handled(&second)
}

/// As above, but this member has already read the message when it is discarded.
async fn given_up_after_it_was_read(store: &Store, policy: OnFailure, bug: Option<ConsumerBug>) -> u64 {
    let busy = Marked::new(store, None);
    let permits = busy.wait_in("1");
    let [_, second] = &send_deposits(store, "account:command", "1", 2).await[..] else { unreachable!() };
    let member = GroupMember::new(0, 1).unwrap();
    let settings = |consumer: Consumer<Marked>| planted(consumer.identifier("g").group(member), bug);
    let mut reader = busy.start_with(store, policy, settings).await;
    busy.begun.notified().await;
    set_aside(store, second, OnFailure::Park, 2).await;
    discard(store, second).await;
    // On PostgreSQL, the notification arrives a moment later.
    until_woken(store).await;
    permits.add_permits(9);
    reader.wait_for(second.global_position).await.unwrap();
    let _ = reader.stop().await.unwrap();
    busy.times_handled(second)
}

/// Waits until all wake-ups for dead letters so far have arrived.
async fn until_woken(store: &Store) {
    let mut wake_up = store.wake_up(Some(&Category::new("account:command+deadLetter+g").unwrap())).await.unwrap();
    let mark = NewMessage::new("Mark", Json::NULL);
    let stream = StreamName::new("account:command+deadLetter+g-mark").unwrap();
    store.append_to(&stream, ExpectedVersion::Any, vec![mark]).await.unwrap();
    wake_up.wait(Duration::from_mins(1)).await;
}

/// A message fails once. Before its second attempt, another process sets it aside, and an operator discards it. Returns
/// the number of attempts that begin.
async fn given_up_between_two_attempts(store: &Store, bug: Option<ConsumerBug>) -> usize {
    let busy = Marked::new(store, None);
    let permits = busy.wait_in("1");
    let message = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let member = GroupMember::new(0, 1).unwrap();
    let settings = |consumer: Consumer<Marked>| planted(consumer.identifier("g").group(member), bug);
    let mut reader = busy.start_with(store, OnFailure::Park, settings).await;
    busy.begun.notified().await;
    set_aside(store, &message, OnFailure::Park, 2).await;
    discard(store, &message).await;
    busy.fail(&message);
    // The remaining permits show how many were used.
    permits.add_permits(9);
    reader.wait_for(message.global_position).await.unwrap();
    let _ = reader.stop().await.unwrap();
    9 - permits.available_permits()
}

/// A message that waits behind another is delivered. While it is under way, an operator tries to discard it. Returns
/// whether that succeeds.
async fn is_discarded_under_way(store: &Store) -> bool {
    let deposits = send_deposits(store, "account:command", "1", 2).await;
    let handler = Marked::new(store, None);
    handler.fail(&deposits[0]);
    let mut consumer = handler.start_group(store, OnFailure::Hold, 1, None).await.remove(0);
    consumer.wait_for(deposits[1].global_position).await.unwrap();
    handler.mend();
    let permits = handler.wait_in("1");
    let letters = group_letters(store);
    assert!(letters.retry(&letters.show(deposits[0].id).await.unwrap().unwrap()).await.unwrap());
    handler.begun.notified().await;
    permits.add_permits(1);
    handler.begun.notified().await;
    let under_way = letters.show(deposits[1].id).await.unwrap().unwrap();
    let is_discarded = letters.discard(&under_way, "a bad message").await.unwrap();
    permits.add_permits(9);
    while !letters.list().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _ = consumer.stop().await.unwrap();
    assert_eq!(balance(store, "1").await, 2);
    is_discarded
}

/// The component has moved to another store and back, so its messages have other positions than when the dead letter
/// was written.
async fn carried_out_after_a_move_and_back(ageing: AgeingStore) -> u64 {
    let store = connect(&ageing.url()).await.unwrap();
    send_deposits(&store, "account:command", "2", 5).await;
    let bad = send_deposits(&store, "account:command", "1", 1).await.remove(0);
    set_aside(&store, &bad, OnFailure::Park, 1).await;
    discard(&store, &bad).await;

    let other = connect("sqlite::memory:").await.unwrap();
    let categories =
        ["account", "account:command+deadLetter+g", "account:command"].map(|name| Category::new(name).unwrap());
    for category in &categories {
        Transfer::new(&store, &other).copy(category, |_| ()).await.unwrap();
    }
    ageing.delete_messages("stream_name LIKE 'account%'").await;
    for category in &categories {
        Transfer::new(&other, &store).copy(category, |_| ()).await.unwrap();
    }
    let store = connect(&ageing.url()).await.unwrap();
    let last = store.message(bad.id).await.unwrap().unwrap();
    let mut consumer = Marked::new(&store, None).start_group(&store, OnFailure::Park, 1, None).await.remove(0);
    consumer.wait_for(last.global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    balance(&store, "1").await
}

/// A dead letter is closed while the consumer has the policy `Park`. Returns the balance.
async fn carried_out_when_the_policy_changes(store: &Store) -> u64 {
    let deposits = send_deposits(store, "account:command", "1", 3).await;
    let handler = Marked::new(store, None);
    handler.fail(&deposits[0]);
    let mut consumer = handler.start_group(store, OnFailure::Hold, 1, None).await.remove(0);
    consumer.wait_for(deposits[2].global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    handler.mend();
    let letters = group_letters(store);
    assert!(letters.retry(&letters.show(deposits[0].id).await.unwrap().unwrap()).await.unwrap());
    let consumer = handler.start_group(store, OnFailure::Park, 1, None).await.remove(0);
    until_letters_are_read(store, "g+0+1").await;
    let _ = consumer.stop().await.unwrap();
    let mut consumer = handler.start_group(store, OnFailure::Hold, 1, None).await.remove(0);
    let last = send_deposits(store, "account:command", "1", 1).await.remove(0);
    consumer.wait_for(last.global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    balance(store, "1").await
}

/// In an old store, the first command of an entity was set aside under the policy `Hold`. A consumer runs in the new
/// store while first the dead letter and then the commands are copied. Returns how many of the later commands are
/// carried out before an operator decides.
async fn carried_out_before_the_first_in_a_copied_tail(new: &Store) -> u64 {
    let old = connect("sqlite::memory:").await.unwrap();
    let first = send_deposits(&old, "account:command", "1", 1).await.remove(0);
    set_aside(&old, &first, OnFailure::Hold, 1).await;
    send_deposits(&old, "account:command", "1", 2).await;

    let mut consumer = Marked::new(new, None).start_group(new, OnFailure::Hold, 1, None).await.remove(0);
    let mut transfer = Transfer::new(&old, new);
    transfer.copy(&Category::new("account:command+deadLetter+g").unwrap(), |_| ()).await.unwrap();
    let other = send_deposits(new, "account:command", "2", 1).await.remove(0);
    consumer.wait_for(other.global_position).await.unwrap();
    transfer.copy(&Category::new("account:command").unwrap(), |_| ()).await.unwrap();
    let last = messages_of(new, "account:command").await.pop().unwrap();
    consumer.wait_for(last.global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    balance(new, "1").await
}

/// Waits until this member has handled all existing steps of dead letters, and has saved its position.
async fn until_letters_are_read(store: &Store, member: &str) {
    let steps = messages_of(store, "account:command+deadLetter+g").await;
    let last = steps.last().unwrap().global_position;
    let positions = StreamName::new(format!("account:command+deadLetter+g+position-{member}")).unwrap();
    loop {
        let saved = store.last_message(&positions, None).await.unwrap();
        let position = saved.map(|saved| saved.data.decode::<serde_json::Value>().unwrap()["position"].as_i64());
        if position.flatten().is_some_and(|position| position >= last.get()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// In an old store, a message was set aside and discarded. First its dead letter and then the message are copied to a
/// new store, in which the consumer has handled higher positions. Returns how often the message is carried out there.
/// Without its origin, the dead letter looks as if it was first written there.
async fn carried_out_after_a_move(new: &Store, is_marked: bool) -> u64 {
    let old = connect("sqlite::memory:").await.unwrap();
    let bad = send_deposits(&old, "account:command", "1", 1).await.remove(0);
    set_aside(&old, &bad, OnFailure::Park, 1).await;
    discard(&old, &bad).await;

    let handler = Marked::new(new, None);
    let others = send_deposits(new, "account:command", "2", 20).await;
    let mut consumer = handler.start_group(new, OnFailure::Park, 1, None).await.remove(0);
    consumer.wait_for(others[19].global_position).await.unwrap();
    let mut transfer = Transfer::new(&old, new);
    if is_marked {
        transfer.copy(&Category::new("account:command+deadLetter+g").unwrap(), |_| ()).await.unwrap();
    } else {
        for step in messages_of(&old, "account:command+deadLetter+g").await {
            let unmarked = NewMessage::new(step.message_type, step.data).with_id(step.id);
            new.append_to(&step.stream, ExpectedVersion::Any, vec![unmarked]).await.unwrap();
        }
    }
    transfer.copy(&Category::new("account:command").unwrap(), |_| ()).await.unwrap();
    let copy = new.message(bad.id).await.unwrap().unwrap();
    consumer.wait_for(copy.global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    balance(new, "1").await
}

/// Messages of an entity wait behind a dead letter. A consumer carries out the retry while another consumer, which has
/// read the dead letters, takes over from it. Returns whether the entity's messages continue in the new consumer.
async fn is_released_in_the_successor(store: &Store, bug: Option<ConsumerBug>) -> bool {
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    let bad = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let handler = Marked::new(store, None);
    handler.fail(&bad);
    let mut first = handler.start_group(store, OnFailure::Hold, 1, None).await.remove(0);
    first.wait_for(bad.global_position).await.unwrap();
    // From here on it has nothing to save until the retry, so it does not notice its successor before.
    until_letters_are_read(store, "g+0+1").await;
    handler.mend();

    faulty.delay_last_read_of("account:command+deadLetter+g");
    let successor = Marked { decide: Arc::new(member(&shared, None)), ..handler.clone() };
    let starting = tokio::spawn(async move { successor.start_group(&shared, OnFailure::Hold, 1, bug).await.remove(0) });
    faulty.answer_is_delayed().await;
    let letters = group_letters(store);
    let letter = letters.show(bad.id).await.unwrap().unwrap();
    assert!(letters.retry(&letter).await.unwrap());
    while letters.show(bad.id).await.unwrap().unwrap().is_open() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Its position is saved, or the save is refused.
    let _ = first.stop().await;
    faulty.release_answer();
    let mut second = starting.await.unwrap();
    let later = send_deposits(store, "account:command", "1", 1).await.remove(0);
    second.wait_for(later.global_position).await.unwrap();
    // The message may have been put behind the dead letter. Then it follows.
    let is_released = async {
        while balance(store, "1").await < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // If the entity still waits, no later wake-up comes, because the consumer has read all steps.
    let never = until_letters_are_read(store, "g+0+1");
    let is_released = if bug.is_some() {
        never.await;
        balance(store, "1").await == 2
    } else {
        is_released.await;
        true
    };
    let _ = second.stop().await.unwrap();
    is_released
}

/// In a group, retries a dead letter of each of several entities whose ids are so long that the names of the dead
/// letters' streams are shortened. Returns how many of the messages are carried out.
async fn carried_out_of_entities_with_long_ids(store: &Store, bug: Option<ConsumerBug>) -> u64 {
    let handler = Marked::new(store, None);
    let entities: Vec<String> = (0..6).map(|number| format!("{number}{}", "x".repeat(199))).collect();
    let mut sent = Vec::new();
    for entity in &entities {
        let deposits = send_deposits(store, "account:command", entity, 2).await;
        handler.fail(&deposits[0]);
        sent.extend(deposits);
    }
    let mut members = handler.start_group(store, OnFailure::Hold, 2, bug).await;
    for member in &mut members {
        member.wait_for(sent[11].global_position).await.unwrap();
    }
    handler.mend();
    let letters = group_letters(store);
    for letter in letters.list().await.unwrap() {
        assert!(letter.attempts == 0 || letters.retry(&letter).await.unwrap());
    }
    for number in 0..2 {
        if bug.is_none() {
            while !letters.list().await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } else {
            until_letters_are_read(store, &format!("g+{number}+2")).await;
        }
    }
    for member in members {
        let _ = member.stop().await.unwrap();
    }
    let mut balances = 0;
    for entity in &entities {
        balances += balance(store, entity).await;
    }
    balances
}

fn group_letters(store: &Store) -> DeadLetters {
    DeadLetters::of(store, "account:command", Some("g")).unwrap()
}

on_both_stores! {
    async fn a_discarded_letter_stays_discarded_when_its_position_is_delivered_again(store) {
        let (outcomes, balance) = delivered_again(&store, OnFailure::Park, Decision::Discard, None).await;
        assert_eq!((outcomes.get(&OutcomeKind::Discarded), balance), (Some(&1), 2), "{outcomes:?}");
    }

    async fn a_discarded_letter_stays_discarded_also_where_others_were_held_behind_it(store) {
        let (outcomes, balance) = delivered_again(&store, OnFailure::Hold, Decision::Discard, None).await;
        assert_eq!((outcomes.get(&OutcomeKind::Discarded), balance), (Some(&1), 2), "{outcomes:?}");
    }

    async fn twin_when_letters_are_not_looked_at_a_discarded_message_is_carried_out(store) {
        let bug = Some(ConsumerBug::LettersUnread);
        let (outcomes, balance) = delivered_again(&store, OnFailure::Park, Decision::Discard, bug).await;
        assert_eq!((outcomes.get(&OutcomeKind::Discarded), balance), (None, 3), "{outcomes:?}");
    }

    async fn a_letter_that_waits_for_an_operator_still_waits_when_its_position_is_delivered_again(store) {
        let (outcomes, balance) = delivered_again(&store, OnFailure::Park, Decision::Nothing, None).await;
        assert_eq!((outcomes.get(&OutcomeKind::Parked), balance), (Some(&1), 2), "{outcomes:?}");
    }

    async fn what_is_held_is_still_held_when_its_positions_are_delivered_again(store) {
        let (outcomes, balance) = delivered_again(&store, OnFailure::Hold, Decision::Nothing, None).await;
        assert_eq!((outcomes.get(&OutcomeKind::Parked), balance), (Some(&3), 0), "{outcomes:?}");
    }

    async fn a_letter_whose_retry_was_requested_takes_effect_once_also_when_its_position_is_delivered_again(store) {
        let (outcomes, balance) = delivered_again(&store, OnFailure::Park, Decision::Retry, None).await;
        assert_eq!(balance, 3, "{outcomes:?}");
    }

    async fn what_is_held_and_retried_takes_effect_once_also_when_its_positions_are_delivered_again(store) {
        let (outcomes, balance) = delivered_again(&store, OnFailure::Hold, Decision::Retry, None).await;
        assert_eq!(balance, 3, "{outcomes:?}");
    }

    async fn messages_before_the_one_that_holds_their_entity_are_not_set_aside_when_they_come_again(store) {
        let deposits = send_deposits(&store, "account:command", "1", 3).await;
        let handler = Marked::new(&store, None);
        handler.fail(&deposits[2]);
        for size in [1, 2] {
            for mut member in handler.start_group(&store, OnFailure::Hold, size, None).await {
                member.wait_for(deposits[2].global_position).await.unwrap();
                let _ = member.stop().await.unwrap();
            }
        }
        let open = group_letters(&store).list().await.unwrap();
        assert_eq!(open.iter().map(|letter| letter.message.id).collect::<Vec<_>>(), [deposits[2].id]);
    }

    async fn a_message_discarded_in_another_process_is_not_carried_out_in_this_one(store) {
        assert_eq!(given_up_by_way_of_another_process(&store, OnFailure::Park, None).await, 0);
    }

    async fn twin_when_letters_are_read_at_the_start_alone_it_is_carried_out(store) {
        let bug = Some(ConsumerBug::LettersReadAtTheStart);
        assert_eq!(given_up_by_way_of_another_process(&store, OnFailure::Park, bug).await, 1);
        assert_eq!(given_up_by_way_of_another_process(&store, OnFailure::Stop, bug).await, 1);
    }

    async fn a_discarded_message_stays_discarded_under_another_policy(store) {
        let deposits = send_deposits(&store, "account:command", "1", 2).await;
        let handler = Marked::new(&store, None);
        handler.fail(&deposits[0]);
        let mut consumer = handler.start_group(&store, OnFailure::Park, 1, None).await.remove(0);
        consumer.wait_for(deposits[1].global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        let letters = group_letters(&store);
        let letter = letters.list().await.unwrap().remove(0);
        assert!(letters.discard(&letter, "a bad message").await.unwrap());
        for mut member in handler.start_group(&store, OnFailure::Stop, 2, None).await {
            member.wait_for(deposits[1].global_position).await.unwrap();
        }
        assert_eq!(balance(&store, "1").await, 1);
    }

    async fn a_discarded_message_is_not_carried_out_by_a_consumer_that_stops_on_failures(store) {
        assert_eq!(given_up_by_way_of_another_process(&store, OnFailure::Stop, None).await, 0);
    }

    async fn a_discarded_message_is_not_carried_out_by_a_consumer_that_has_read_it(store) {
        assert_eq!(given_up_after_it_was_read(&store, OnFailure::Park, None).await, 0);
        assert_eq!(given_up_after_it_was_read(&store, OnFailure::Hold, None).await, 0);
        assert_eq!(given_up_after_it_was_read(&store, OnFailure::Stop, None).await, 0);
    }

    async fn twin_when_letters_are_read_at_the_start_alone_a_consumer_that_has_read_it_carries_it_out(store) {
        let bug = Some(ConsumerBug::LettersReadAtTheStart);
        assert_eq!(given_up_after_it_was_read(&store, OnFailure::Park, bug).await, 1);
        assert_eq!(given_up_after_it_was_read(&store, OnFailure::Stop, bug).await, 1);
    }

    async fn a_message_discarded_between_two_attempts_is_not_attempted_again(store) {
        assert_eq!(given_up_between_two_attempts(&store, None).await, 1);
    }

    async fn twin_when_letters_are_read_at_the_start_alone_it_is_begun_until_no_attempt_is_left(store) {
        assert_eq!(given_up_between_two_attempts(&store, Some(ConsumerBug::LettersReadAtTheStart)).await, 3);
    }

    async fn a_letter_under_way_cannot_be_discarded(store) {
        assert!(!is_discarded_under_way(&store).await);
    }

    async fn what_waits_behind_a_letter_follows_it_also_when_the_policy_has_changed(store) {
        assert_eq!(carried_out_when_the_policy_changes(&store).await, 4);
    }

    async fn what_waits_behind_a_letter_waits_also_where_both_are_copied_to(store) {
        assert_eq!(carried_out_before_the_first_in_a_copied_tail(&store).await, 0);
    }

    async fn a_message_discarded_in_the_old_store_is_not_carried_out_in_the_new_one(store) {
        assert_eq!(carried_out_after_a_move(&store, true).await, 0);
    }

    async fn twin_when_a_letter_does_not_say_where_it_was_born_its_message_is_carried_out(store) {
        assert_eq!(carried_out_after_a_move(&store, false).await, 1);
    }

    async fn an_entity_whose_letter_is_resolved_while_another_consumer_takes_over_is_released_there(store) {
        assert!(is_released_in_the_successor(&store, None).await);
    }

    async fn twin_when_letters_are_read_before_their_position_is_taken_over_the_entity_is_held_for_ever(store) {
        assert!(!is_released_in_the_successor(&store, Some(ConsumerBug::LettersReadFirst)).await);
    }

    async fn entities_with_long_ids_are_released_in_a_group(store) {
        assert_eq!(carried_out_of_entities_with_long_ids(&store, None).await, 12);
    }

    async fn twin_when_members_select_letters_by_their_stream_names_some_are_held_for_ever(store) {
        let carried_out = carried_out_of_entities_with_long_ids(&store, Some(ConsumerBug::LettersByName)).await;
        assert!(carried_out < 12, "{carried_out}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres_what_was_given_up_is_not_carried_out_after_a_move_away_and_back() {
    assert_eq!(carried_out_after_a_move_and_back(AgeingStore::postgres().await).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_sqlite_what_was_given_up_is_not_carried_out_after_a_move_away_and_back() {
    assert_eq!(carried_out_after_a_move_and_back(AgeingStore::sqlite()).await, 0);
}
