//! Checkpoints of letters: a consumer that starts, and an operator, begin at the newest checkpoint. Nothing is lost by
//! it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use message_store::consumer::{
    Consumer, ConsumerHandle, DeadLetters, LetterQuery, LetterState, MoveTo, OnFailure, PlantedBug, Positions,
};
use message_store::testing::FaultyStore;
use message_store::{Message, MessageStore, Position, StreamName};
use message_store_tests::accounts::{balance, put, send_deposits, sqlite};
use message_store_tests::elastic::{join_with, until, until_divided};
use message_store_tests::marked::{Marked, planted};
use message_store_tests::moving::copy;
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

const COMMANDS: &str = "account:command";
const LETTERS: &str = "account:command+deadLetter";
const CHECKPOINTS: &str = "checkpoint:account:command+deadLetter";

fn letters(store: &Store) -> DeadLetters {
    DeadLetters::of(store, COMMANDS, None).unwrap()
}

/// A store that counts what is read.
fn counting(store: &Store) -> (Arc<FaultyStore>, Store) {
    let counting = FaultyStore::new(store);
    let shared: Store = counting.clone();
    (counting, shared)
}

/// Starts a consumer without a group. It writes a checkpoint after so many steps.
async fn start(
    store: &Store,
    handler: &Marked,
    policy: OnFailure,
    every: u64,
    bug: Option<PlantedBug>,
) -> ConsumerHandle {
    let settings = |consumer: Consumer<Marked>| planted(consumer.max_attempts(1).checkpoint_letters_every(every), bug);
    handler.start_with(store, policy, settings).await
}

async fn stop(consumer: ConsumerHandle) {
    let _ = consumer.stop().await.unwrap();
}

async fn checkpoints(store: &Store) -> u64 {
    let version = store.version(&StreamName::new(CHECKPOINTS).unwrap()).await.unwrap();
    version.position().map_or(0, |position: Position| position.get().unsigned_abs() + 1)
}

/// Many letters are resolved, and two stay open. Returns the messages that a list and a start have read.
async fn read_with_few_open(store: &Store, every: u64) -> (u64, u64) {
    let sent = send_deposits(store, COMMANDS, "1", 60).await;
    let handler = Marked::new(store, None);
    for message in &sent {
        handler.fail(message);
    }
    let mut consumer = start(store, &handler, OnFailure::Park, every, None).await;
    consumer.wait_for(sent[59].global_position).await.unwrap();
    handler.mend();
    let letters = letters(store);
    for message in &sent[2..] {
        assert!(letters.retry(&letters.show(message.id).await.unwrap().unwrap()).await.unwrap());
    }
    until("all but two are resolved", async || letters.list().await.unwrap().len() == 2).await;
    // The consumer reads the last steps, and writes its checkpoint.
    let last = send_deposits(store, COMMANDS, "2", 1).await.remove(0);
    consumer.wait_for(last.global_position).await.unwrap();
    stop(consumer).await;

    let (counter, shared) = counting(store);
    let listed = self::letters(&shared).list().await.unwrap();
    assert_eq!(listed.iter().map(|letter| letter.message.id).collect::<Vec<_>>(), [sent[0].id, sent[1].id]);
    let of_list = counter.messages_read();
    let (counter, shared) = counting(store);
    stop(start(&shared, &handler, OnFailure::Park, u64::MAX, None).await).await;
    (of_list, counter.messages_read())
}

/// The first of three deposits is discarded, and a checkpoint is written after the consumer has passed it. Then all
/// messages are delivered again, and the consumer begins with the newest checkpoint. Returns the balance.
async fn delivered_again_after_a_checkpoint(store: &Store, bug: Option<PlantedBug>) -> u64 {
    let sent = send_deposits(store, COMMANDS, "1", 3).await;
    let handler = Marked::new(store, None);
    handler.fail(&sent[0]);
    let mut consumer = start(store, &handler, OnFailure::Park, 1, None).await;
    consumer.wait_for(sent[2].global_position).await.unwrap();
    let letters = letters(store);
    assert!(letters.discard(&letters.show(sent[0].id).await.unwrap().unwrap(), "bad").await.unwrap());
    stop(consumer).await;
    // The discarded letter is of no use at the position that is saved now. The next checkpoint leaves it out.
    let bad = send_deposits(store, COMMANDS, "2", 1).await.remove(0);
    handler.fail(&bad);
    let mut consumer = start(store, &handler, OnFailure::Park, 1, None).await;
    consumer.wait_for(bad.global_position).await.unwrap();
    let last = send_deposits(store, COMMANDS, "3", 1).await.remove(0);
    consumer.wait_for(last.global_position).await.unwrap();
    stop(consumer).await;
    assert!(checkpoints(store).await > 1);
    handler.mend();

    let positions = Positions::of(store, COMMANDS).unwrap();
    positions.set(&positions.get(None, None).await.unwrap(), MoveTo::Beginning).await.unwrap();
    let mut consumer = start(store, &handler, OnFailure::Park, 1, bug).await;
    consumer.wait_for(last.global_position).await.unwrap();
    stop(consumer).await;
    balance(store, "1").await
}

/// A deposit fails and holds the next ones, through so many restarts with a checkpoint at each step. Returns the number
/// of open letters, and the balance.
async fn held_through_restarts(store: &Store, bug: Option<PlantedBug>) -> (usize, u64) {
    let handler = Marked::new(store, None);
    let first = send_deposits(store, COMMANDS, "1", 1).await.remove(0);
    handler.fail(&first);
    for _ in 0..4 {
        let mut consumer = start(store, &handler, OnFailure::Hold, 1, bug).await;
        let next = send_deposits(store, COMMANDS, "1", 1).await.remove(0);
        consumer.wait_for(next.global_position).await.unwrap();
        // A message of another account, so that the last steps are read.
        let other = send_deposits(store, COMMANDS, "2", 1).await.remove(0);
        consumer.wait_for(other.global_position).await.unwrap();
        stop(consumer).await;
    }
    (letters(store).list().await.unwrap().len(), balance(store, "1").await)
}

/// A member joins a group, and the first leaves, so that the second claims all slots. Returns the messages that the
/// second has read since it was started.
async fn read_by_claims(store: &Store, bug: Option<PlantedBug>) -> u64 {
    let handler = Marked::new(store, None);
    let mut sent = Vec::new();
    for account in 0..40 {
        sent.extend(send_deposits(store, COMMANDS, &account.to_string(), 10).await);
    }
    for message in &sent {
        handler.fail(message);
    }
    let mut first = join_with(store, &handler, OnFailure::Park, |consumer| consumer.max_attempts(1)).await;
    first.wait_for(sent[399].global_position).await.unwrap();
    let (counter, shared) = counting(store);
    let second = join_with(&shared, &handler, OnFailure::Park, |consumer| planted(consumer, bug)).await;
    let of_start = counter.messages_read();
    assert!(of_start >= 400, "{of_start}");
    until_divided(&[&first, &second]).await;
    stop(first).await;
    until_divided(&[&second]).await;
    let read = counter.messages_read() - of_start;
    stop(second).await;
    read
}

/// Sends deposits, all of which fail.
async fn all_fail(store: &Store, count: usize) -> Vec<Message> {
    let sent = send_deposits(store, COMMANDS, "1", count).await;
    let handler = Marked::new(store, None);
    for message in &sent {
        handler.fail(message);
    }
    let mut consumer = start(store, &handler, OnFailure::Park, 1, None).await;
    consumer.wait_for(sent[count - 1].global_position).await.unwrap();
    let last = send_deposits(store, COMMANDS, "2", 1).await.remove(0);
    consumer.wait_for(last.global_position).await.unwrap();
    stop(consumer).await;
    sent
}

on_both_stores! {
    async fn a_start_and_a_list_read_what_follows_the_newest_checkpoint(store) {
        let (list, start) = read_with_few_open(&store, 20).await;
        assert!(list < 60 && start < 60, "{list} and {start} of 234 steps");
    }

    async fn twin_without_checkpoints_they_read_all_letters(store) {
        let (list, start) = read_with_few_open(&store, u64::MAX).await;
        assert!(list > 230 && start > 230, "{list} and {start} of 234 steps");
    }

    async fn a_claim_of_slots_reads_no_letter_again(store) {
        let read = read_by_claims(&store, None).await;
        assert!(read < 100, "{read}");
    }

    async fn twin_when_letters_are_read_again_on_a_claim_each_claim_reads_all(store) {
        let read = read_by_claims(&store, Some(PlantedBug::LettersReadOnClaim)).await;
        assert!(read >= 400, "{read}");
    }

    async fn a_discarded_message_that_is_delivered_again_stays_discarded_after_checkpoints_that_leave_it_out(store) {
        assert_eq!(delivered_again_after_a_checkpoint(&store, None).await, 2);
    }

    async fn twin_when_a_checkpoint_of_a_higher_position_is_used_it_is_handled(store) {
        assert_eq!(delivered_again_after_a_checkpoint(&store, Some(PlantedBug::CheckpointsOfHigherPositions)).await, 3);
    }

    async fn an_entity_stays_held_when_its_consumer_begins_at_a_checkpoint(store) {
        assert_eq!(held_through_restarts(&store, None).await, (5, 0));
    }

    async fn twin_when_checkpoints_list_no_letters_they_are_lost(store) {
        let (open, balance) = held_through_restarts(&store, Some(PlantedBug::CheckpointsListNothing)).await;
        assert!(open < 5 && balance > 0, "{open} open, balance {balance}");
    }

    async fn checkpoints_that_were_copied_or_that_another_program_wrote_hide_no_letter(store) {
        let old = sqlite().await;
        let sent = all_fail(&old, 3).await;
        let empty = "{\"through\":1,\"handled\":0,\"messages\":1,\"parts\":0}";
        copy(&old, &store, &[COMMANDS, LETTERS, CHECKPOINTS]).await;
        for _ in 0..2 {
            let open = letters(&store).list().await.unwrap();
            assert_eq!(open.len(), 3, "{open:?}");
            let far = store.given_out(None).await.unwrap();
            put(&store, CHECKPOINTS, "Checkpointed", &empty.replace('1', &far.to_string()), "{}").await;
        }
        let handler = Marked::new(&store, None);
        let consumer = start(&store, &handler, OnFailure::Park, 1, None).await;
        assert_eq!(letters(&store).retry_all(&LetterQuery::default()).await.unwrap(), 3);
        until("all are delivered", async || balance(&store, "1").await == 3).await;
        let state = || async { letters(&store).show(sent[0].id).await.unwrap().unwrap().state };
        until("it is resolved", async || matches!(state().await, LetterState::Resolved(_))).await;
        stop(consumer).await;
    }

    async fn a_checkpoint_that_the_store_refuses_stops_nobody(store) {
        let (faulty, shared) = counting(&store);
        faulty.refuse_appends_of("Checkpointed", u32::MAX);
        let sent = all_fail(&shared, 3).await;
        assert_eq!((letters(&store).list().await.unwrap().len(), checkpoints(&store).await), (sent.len(), 0));
    }

    async fn a_letter_that_is_open_again_after_a_checkpoint_without_it_is_listed(store) {
        let sent = all_fail(&store, 1).await.remove(0);
        let (handler, letters) = (Marked::new(&store, None), letters(&store));
        let mut consumer = start(&store, &handler, OnFailure::Park, 1, None).await;
        assert!(letters.retry(&letters.show(sent.id).await.unwrap().unwrap()).await.unwrap());
        until("it is resolved", async || letters.list().await.unwrap().is_empty()).await;
        let last = send_deposits(&store, COMMANDS, "2", 1).await.remove(0);
        consumer.wait_for(last.global_position).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop(consumer).await;
        // Delivered again by its position, it fails again.
        let positions = Positions::of(&store, COMMANDS).unwrap();
        positions.set(&positions.get(None, None).await.unwrap(), MoveTo::Beginning).await.unwrap();
        handler.fail(&sent);
        let mut consumer = start(&store, &handler, OnFailure::Park, 1, None).await;
        consumer.wait_for(last.global_position).await.unwrap();
        stop(consumer).await;
        let open = letters.list().await.unwrap();
        assert_eq!(open.iter().map(|letter| letter.message.id).collect::<Vec<_>>(), [sent.id]);
    }
}
