//! Messages that cannot be handled: set aside, looked at, tried again, and never lost or doubled. Scenarios are named by their number.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use message_store::command::{Context, Decide, Handler, PlantedBug};
use message_store::consumer::{
    Consumer, DeadLetters, LetterState, OnFailure, PlantedBug as ConsumerBug, Process, Running,
};
use message_store::idempotence::Outcome;
use message_store::testing::FaultyStore;
use message_store::{Error, GroupMember, Message, MessageId, MessageStore, Source};
use message_store_tests::accounts::{Account, balance, member, messages_of, send_deposits};
use message_store_tests::on_both_stores;
use tokio::sync::{Notify, Semaphore};

type Store = Arc<dyn MessageStore>;

/// Handles deposits, but for those that are marked: they fail, or end the process.
#[derive(Clone)]
struct Marked {
    decide: Arc<Decide<Account>>,
    failing: Arc<Mutex<HashSet<MessageId>>>,
    deadly: Arc<Mutex<HashSet<MessageId>>>,
    dying: Arc<Notify>,
    /// Messages of these accounts say that they have begun, and wait for a permit each.
    waiting: Arc<Mutex<HashMap<&'static str, Arc<Semaphore>>>>,
    begun: Arc<Notify>,
    handled: Arc<Mutex<Vec<MessageId>>>,
    /// What other tests have under way is in other processes.
    process: Process,
}

impl Marked {
    fn new(store: &Store, bug: Option<PlantedBug>) -> Self {
        Self {
            decide: Arc::new(member(store, bug)),
            failing: Arc::default(),
            deadly: Arc::default(),
            dying: Arc::default(),
            waiting: Arc::default(),
            begun: Arc::default(),
            handled: Arc::default(),
            process: Process::default(),
        }
    }

    fn fail(&self, message: &Message) {
        self.failing.lock().unwrap().insert(message.id);
    }

    fn wait_in(&self, account: &'static str) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(0));
        self.waiting.lock().unwrap().insert(account, Arc::clone(&permits));
        permits
    }

    fn mend(&self) {
        self.failing.lock().unwrap().clear();
    }

    async fn start(&self, store: &Store, on_failure: OnFailure) -> Running {
        self.start_with(store, on_failure, |consumer| consumer).await
    }

    async fn start_with(
        &self,
        store: &Store,
        on_failure: OnFailure,
        settings: impl FnOnce(Consumer<Self>) -> Consumer<Self>,
    ) -> Running {
        let consumer = Consumer::new("account:command", self.clone()).concurrency(4).on_failure(on_failure);
        settings(consumer.in_process(&self.process)).start(store).await.unwrap()
    }

    /// All members of a group of this size.
    async fn start_group(
        &self,
        store: &Store,
        on_failure: OnFailure,
        size: u16,
        bug: Option<ConsumerBug>,
    ) -> Vec<Running> {
        let mut members = Vec::new();
        for number in 0..size {
            let member = GroupMember::new(number, size).unwrap();
            let settings = |consumer: Consumer<Self>| planted(consumer.identifier("g").group(member).batch(1), bug);
            members.push(self.start_with(store, on_failure, settings).await);
        }
        members
    }
}

#[async_trait]
impl Handler for Marked {
    fn name(&self) -> &'static str {
        "Account"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        let is_deadly = self.deadly.lock().unwrap().contains(&message.id);
        if is_deadly {
            self.dying.notify_one();
            std::future::pending::<()>().await;
        }
        let account = message.stream.cardinal_id().unwrap_or_default();
        let permits = self.waiting.lock().unwrap().get(account).cloned();
        if let Some(permits) = permits {
            self.begun.notify_one();
            permits.acquire().await?.forget();
        }
        let fails = self.failing.lock().unwrap().contains(&message.id);
        if fails {
            // One way to fail is as good as the other.
            assert!(message.position.get() % 2 == 1, "a planted panic");
            return Err("a planted failure".into());
        }
        let outcome = self.decide.handle(message).await?;
        self.handled.lock().unwrap().push(message.id);
        Ok(outcome)
    }
}

fn planted(consumer: Consumer<Marked>, bug: Option<ConsumerBug>) -> Consumer<Marked> {
    match bug {
        Some(bug) => consumer.plant(bug),
        None => consumer,
    }
}

/// What an operator does about a letter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Decision {
    Nothing,
    Retry,
    Discard,
}

/// The first of three deposits fails and is set aside; an operator decides; then the group changes its size, and everything is delivered
/// again, also from the beginning. What the members say of the messages, and the balance.
async fn delivered_again(
    store: &Store,
    on_failure: OnFailure,
    decision: Decision,
    bug: Option<ConsumerBug>,
) -> (HashMap<&'static str, u64>, u64) {
    let deposits = send_deposits(store, "account:command", "1", 3).await;
    let handler = Marked::new(store, None);
    handler.fail(&deposits[0]);
    for mut member in handler.start_group(store, on_failure, 1, None).await {
        member.wait_for(deposits[2].global_position).await.unwrap();
        let _ = member.stop().await.unwrap();
    }
    handler.mend();
    let letters = DeadLetters::of(store, "account:command", Some("g")).unwrap();
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

/// Another member of a group of another size sets a message aside, and an operator gives it up, while this one is busy with the message
/// before. How often this one carries it out.
async fn given_up_by_way_of_another_process(store: &Store, bug: Option<ConsumerBug>) -> u64 {
    let (busy, other) = (Marked::new(store, None), Marked::new(store, None));
    let members = busy.start_group(store, OnFailure::Park, 2, bug).await;
    let permits = busy.wait_in("1");
    send_deposits(store, "account:command", "1", 1).await;
    busy.begun.notified().await;
    let second = send_deposits(store, "account:command", "1", 1).await.remove(0);
    other.fail(&second);
    for mut member in other.start_group(store, OnFailure::Park, 1, None).await {
        member.wait_for(second.global_position).await.unwrap();
        let _ = member.stop().await.unwrap();
    }
    let letters = DeadLetters::of(store, "account:command", Some("g")).unwrap();
    let letter = letters.show(second.id).await.unwrap().unwrap();
    assert!(letters.discard(&letter, "a bad message").await.unwrap());
    permits.add_permits(9);
    for mut member in members {
        member.wait_for(second.global_position).await.unwrap();
        let _ = member.stop().await.unwrap();
    }
    let handled = busy.handled.lock().unwrap();
    handled.iter().filter(|id| **id == second.id).count() as u64
}

/// A deadly message and an innocent one beside it, which is slow, in a process that ends each time. Whose letters there are.
async fn a_deadly_message_beside_an_innocent_one(store: &Store, bug: Option<ConsumerBug>) -> [bool; 2] {
    let deadly = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let innocent = send_deposits(store, "account:command", "2", 1).await.remove(0);
    let handler = Marked::new(store, None);
    handler.deadly.lock().unwrap().insert(deadly.id);
    let permits = handler.wait_in("2");
    for life in 0..4 {
        let consumer = handler.start_with(store, OnFailure::Park, |consumer| planted(consumer, bug)).await;
        handler.dying.notified().await;
        if life == 0 || bug.is_some() {
            handler.begun.notified().await;
        }
        drop(consumer);
    }
    let mut last = handler.start_with(store, OnFailure::Park, |consumer| planted(consumer, bug)).await;
    if bug.is_some() {
        handler.dying.notified().await;
        while letters(store).list().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    } else {
        permits.add_permits(9);
        last.wait_for(innocent.global_position).await.unwrap();
        assert_eq!(balance(store, "2").await, 1);
    }
    let mut blamed = [false; 2];
    for (message, is_blamed) in [deadly, innocent].iter().zip(&mut blamed) {
        *is_blamed = letters(store).show(message.id).await.unwrap().is_some();
    }
    blamed
}

/// Appends to account 1 take too long, each time. What becomes of its deposit, and of that of another account.
async fn one_message_times_out_every_time(store: &Store, bug: Option<ConsumerBug>) -> Result<u32, Error> {
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    faulty.time_out_appends_to(&["account-1"]);
    let heavy = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let other = send_deposits(store, "account:command", "2", 1).await.remove(0);
    let handler = Marked::new(&shared, None);
    let settings = |consumer: Consumer<Marked>| planted(consumer.concurrency(1).retries(1), bug);
    let mut consumer = handler.start_with(&shared, OnFailure::Park, settings).await;
    consumer.wait_for(other.global_position).await?;
    let _ = consumer.stop().await?;
    assert_eq!(balance(store, "2").await, 1);
    Ok(letters(store).show(heavy.id).await.unwrap().unwrap().attempts)
}

fn letters(store: &Store) -> DeadLetters {
    DeadLetters::of(store, "account:command", None).unwrap()
}

async fn until_resolved(store: &Store, id: MessageId) -> LetterState {
    loop {
        let letter = letters(store).show(id).await.unwrap().unwrap();
        if !letter.is_open() {
            return letter.state;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// The first of three deposits is parked, the others are handled; then it is tried again.
async fn parked_and_retried(store: &Store, bug: Option<PlantedBug>) -> u64 {
    let deposits = send_deposits(store, "account:command", "1", 3).await;
    let handler = Marked::new(store, bug);
    handler.fail(&deposits[0]);
    let mut consumer = handler.start(store, OnFailure::Park).await;
    consumer.wait_for(deposits[2].global_position).await.unwrap();
    assert_eq!(consumer.tally().of("parked"), 1);
    assert_eq!(balance(store, "1").await, 2, "the others go on");

    handler.mend();
    let letter = letters(store).list().await.unwrap().remove(0);
    assert_eq!((letter.message.id, letter.attempts), (deposits[0].id, 3));
    assert!(letter.error.contains("a planted panic"), "{letter}");
    assert!(letters(store).retry(&letter).await.unwrap());
    let state = until_resolved(store, deposits[0].id).await;
    assert!(bug.is_some() || state == LetterState::Resolved("handled late".into()), "{state:?}");
    let _ = consumer.stop().await.unwrap();
    balance(store, "1").await
}

/// One consumer has a slow message under way in each of four lives, and another one of the same process has one that ends it.
async fn is_blamed_beside_another_consumer(store: &Store, bug: Option<ConsumerBug>) -> bool {
    let slow = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let handler = Marked::new(store, None);
    let other = Marked { process: handler.process.clone(), ..Marked::new(store, None) };
    let _permits = handler.wait_in("1");
    for _ in 0..4 {
        let deadly = send_deposits(store, "other:command", "2", 1).await.remove(0);
        other.deadly.lock().unwrap().insert(deadly.id);
        let consumer = handler.start_with(store, OnFailure::Park, |consumer| planted(consumer, bug)).await;
        handler.begun.notified().await;
        let beside =
            Consumer::new("other:command", other.clone()).in_process(&other.process).start(store).await.unwrap();
        other.dying.notified().await;
        drop((consumer, beside));
        other.deadly.lock().unwrap().clear();
    }
    let consumer = handler.start_with(store, OnFailure::Park, |consumer| planted(consumer, bug)).await;
    let blamed = loop {
        tokio::select! {
            () = handler.begun.notified() => break false,
            () = tokio::time::sleep(std::time::Duration::from_millis(10)) => {}
        }
        if letters(store).show(slow.id).await.unwrap().is_some() {
            break true;
        }
    };
    drop(consumer);
    blamed
}

on_both_stores! {
    async fn t38_a_parked_command_that_is_retried_after_later_ones_takes_effect_once(store) {
        assert_eq!(parked_and_retried(&store, None).await, 3);
        assert!(letters(&store).list().await.unwrap().is_empty());
        // From the beginning, everything is known.
        for message in messages_of(&store, "account:command").await {
            let outcome = member(&store, None).handle(&message).await.unwrap();
            assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
        }
    }

    async fn twin_with_the_mark_alone_a_retried_command_is_lost(store) {
        assert_eq!(parked_and_retried(&store, Some(PlantedBug::MarkAlone)).await, 2);
    }

    async fn t39_what_is_held_behind_a_letter_follows_it_in_order(store) {
        let deposits = send_deposits(&store, "account:command", "1", 3).await;
        let others = send_deposits(&store, "account:command", "2", 2).await;
        let handler = Marked::new(&store, None);
        handler.fail(&deposits[0]);
        let mut consumer = handler.start(&store, OnFailure::Hold).await;
        consumer.wait_for(others[1].global_position).await.unwrap();
        assert_eq!((balance(&store, "1").await, balance(&store, "2").await), (0, 2), "others go on, it waits");
        // Also across a restart.
        let _ = consumer.stop().await.unwrap();
        let mut consumer = handler.start(&store, OnFailure::Hold).await;
        let later = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        consumer.wait_for(later.global_position).await.unwrap();
        assert_eq!(balance(&store, "1").await, 0);
        assert_eq!(letters(&store).list().await.unwrap().len(), 4);

        handler.mend();
        handler.handled.lock().unwrap().clear();
        let first = letters(&store).show(deposits[0].id).await.unwrap().unwrap();
        assert!(letters(&store).retry(&first).await.unwrap());
        until_resolved(&store, later.id).await;
        let in_order: Vec<MessageId> = deposits.iter().chain([&later]).map(|message| message.id).collect();
        assert_eq!(*handler.handled.lock().unwrap(), in_order);
        // The entity is free again.
        let free = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        consumer.wait_for(free.global_position).await.unwrap();
        while balance(&store, "1").await < 5 {
            tokio::task::yield_now().await;
        }
        let _ = consumer.stop().await.unwrap();
        assert_eq!(balance(&store, "1").await, 5);
    }

    async fn t40_of_two_operators_that_retry_or_discard_one_letter_one_decides(store) {
        let deposits = send_deposits(&store, "account:command", "1", 1).await;
        let handler = Marked::new(&store, None);
        handler.fail(&deposits[0]);
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deposits[0].global_position).await.unwrap();
        handler.mend();
        let letter = letters(&store).list().await.unwrap().remove(0);
        let asked = [letters(&store).retry(&letter).await.unwrap(), letters(&store).retry(&letter).await.unwrap()];
        assert_eq!(asked, [true, false]);
        assert!(!letters(&store).discard(&letter, "too late").await.unwrap());
        until_resolved(&store, deposits[0].id).await;
        let _ = consumer.stop().await.unwrap();
        assert_eq!(balance(&store, "1").await, 1);
        assert_eq!(handler.handled.lock().unwrap().len(), 1, "issued once");
    }

    async fn t37_a_message_that_ends_the_process_at_each_attempt_is_set_aside_after_the_third(store) {
        let deposits = send_deposits(&store, "account:command", "1", 2).await;
        let handler = Marked::new(&store, None);
        handler.deadly.lock().unwrap().insert(deposits[0].id);
        // The first attempt is made before anybody suspects anything, and three more are counted.
        for _ in 0..4 {
            let consumer = handler.start(&store, OnFailure::Park).await;
            handler.dying.notified().await;
            drop(consumer);
        }
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deposits[1].global_position).await.unwrap();
        let letter = letters(&store).show(deposits[0].id).await.unwrap().unwrap();
        assert_eq!((letter.attempts, &letter.state), (3, &LetterState::Parked));
        assert!(letter.error.contains("process ended"), "{letter}");
        assert_eq!(balance(&store, "1").await, 1, "the next one was handled");
        assert!(letters(&store).discard(&letter, "a bad message").await.unwrap());
        let _ = consumer.stop().await.unwrap();
        let letter = letters(&store).show(deposits[0].id).await.unwrap().unwrap();
        assert_eq!(letter.state, LetterState::Discarded("a bad message".into()));
    }

    async fn a_discarded_letter_stays_discarded_when_its_position_is_delivered_again(store) {
        let (outcomes, balance) = delivered_again(&store, OnFailure::Park, Decision::Discard, None).await;
        assert_eq!((outcomes.get("discarded"), balance), (Some(&1), 2), "{outcomes:?}");
    }

    async fn a_discarded_letter_stays_discarded_also_where_others_were_held_behind_it(store) {
        let (outcomes, balance) = delivered_again(&store, OnFailure::Hold, Decision::Discard, None).await;
        assert_eq!((outcomes.get("discarded"), balance), (Some(&1), 2), "{outcomes:?}");
    }

    async fn twin_when_letters_are_not_looked_at_a_discarded_message_is_carried_out(store) {
        let bug = Some(ConsumerBug::LettersUnread);
        let (outcomes, balance) = delivered_again(&store, OnFailure::Park, Decision::Discard, bug).await;
        assert_eq!((outcomes.get("discarded"), balance), (None, 3), "{outcomes:?}");
    }

    async fn a_letter_that_waits_for_an_operator_still_waits_when_its_position_is_delivered_again(store) {
        let (outcomes, balance) = delivered_again(&store, OnFailure::Park, Decision::Nothing, None).await;
        assert_eq!((outcomes.get("parked"), balance), (Some(&1), 2), "{outcomes:?}");
    }

    async fn what_is_held_is_still_held_when_its_positions_are_delivered_again(store) {
        let (outcomes, balance) = delivered_again(&store, OnFailure::Hold, Decision::Nothing, None).await;
        assert_eq!((outcomes.get("parked"), balance), (Some(&3), 0), "{outcomes:?}");
    }

    async fn a_letter_whose_retry_was_asked_for_takes_effect_once_also_when_its_position_is_delivered_again(store) {
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
        let open = DeadLetters::of(&store, "account:command", Some("g")).unwrap().list().await.unwrap();
        assert_eq!(open.iter().map(|letter| letter.message.id).collect::<Vec<_>>(), [deposits[2].id]);
    }

    async fn what_an_operator_gives_up_by_way_of_another_process_is_not_carried_out_by_this_one(store) {
        assert_eq!(given_up_by_way_of_another_process(&store, None).await, 0);
    }

    async fn twin_when_letters_are_read_at_the_start_alone_it_is_carried_out(store) {
        assert_eq!(given_up_by_way_of_another_process(&store, Some(ConsumerBug::LettersReadAtTheStart)).await, 1);
    }

    async fn what_was_discarded_stays_so_under_another_policy(store) {
        let deposits = send_deposits(&store, "account:command", "1", 2).await;
        let handler = Marked::new(&store, None);
        handler.fail(&deposits[0]);
        let mut consumer = handler.start_group(&store, OnFailure::Park, 1, None).await.remove(0);
        consumer.wait_for(deposits[1].global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        let letters = DeadLetters::of(&store, "account:command", Some("g")).unwrap();
        let letter = letters.list().await.unwrap().remove(0);
        assert!(letters.discard(&letter, "a bad message").await.unwrap());
        for mut member in handler.start_group(&store, OnFailure::Stop, 2, None).await {
            member.wait_for(deposits[1].global_position).await.unwrap();
        }
        assert_eq!(balance(&store, "1").await, 1);
    }

    async fn a_message_is_blamed_for_a_crash_only_if_it_was_alone_under_way(store) {
        assert_eq!(a_deadly_message_beside_an_innocent_one(&store, None).await, [true, false]);
    }

    async fn twin_when_suspects_are_handed_out_together_an_innocent_message_is_blamed(store) {
        let bug = Some(ConsumerBug::SuspectsTogether);
        assert_eq!(a_deadly_message_beside_an_innocent_one(&store, bug).await, [false, true]);
    }

    async fn a_slow_message_is_not_blamed_for_crashes_that_another_consumer_of_the_process_has_caused(store) {
        assert!(!is_blamed_beside_another_consumer(&store, None).await);
    }

    async fn twin_when_other_consumers_do_not_count_it_is_blamed(store) {
        assert!(is_blamed_beside_another_consumer(&store, Some(ConsumerBug::OtherConsumersUncounted)).await);
    }

    async fn a_message_that_is_handled_in_each_life_is_not_blamed_for_the_end_of_any(store) {
        let innocent = send_deposits(&store, "account:command", "2", 1).await.remove(0);
        let deadly = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let handler = Marked::new(&store, None);
        handler.deadly.lock().unwrap().insert(deadly.id);
        for _ in 0..4 {
            let consumer = handler.start(&store, OnFailure::Park).await;
            handler.dying.notified().await;
            drop(consumer);
        }
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deadly.global_position).await.unwrap();
        assert!(letters(&store).show(innocent.id).await.unwrap().is_none());
        assert_eq!(letters(&store).show(deadly.id).await.unwrap().unwrap().attempts, 3);
    }

    async fn a_crash_far_behind_a_message_that_is_stuck_is_explained_too(store) {
        send_deposits(&store, "account:command", "1", 1).await;
        let others = send_deposits(&store, "account:command", "2", 40).await;
        let handler = Marked::new(&store, None);
        handler.deadly.lock().unwrap().insert(others[39].id);
        let settings = |consumer: Consumer<Marked>| consumer.batch(4).save_after(2, std::time::Duration::from_hours(1));
        let permits = handler.wait_in("1");
        let first = handler.start_with(&store, OnFailure::Park, settings).await;
        handler.dying.notified().await;
        drop(first);
        // In the next lives it is quick.
        permits.add_permits(99);
        for _ in 0..3 {
            let consumer = handler.start_with(&store, OnFailure::Park, settings).await;
            handler.dying.notified().await;
            drop(consumer);
        }
        let mut last = handler.start_with(&store, OnFailure::Park, settings).await;
        last.wait_for(others[39].global_position).await.unwrap();
        let letter = letters(&store).show(others[39].id).await.unwrap().unwrap();
        assert!(letter.error.contains("process ended"), "{letter}");
    }

    async fn a_retry_that_ends_the_process_each_time_is_set_aside_again(store) {
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let handler = Marked::new(&store, None);
        handler.fail(&deposit);
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deposit.global_position).await.unwrap();
        let letter = letters(&store).list().await.unwrap().remove(0);
        handler.deadly.lock().unwrap().insert(deposit.id);
        assert!(letters(&store).retry(&letter).await.unwrap());
        for _ in 0..4 {
            handler.dying.notified().await;
            drop(consumer);
            consumer = handler.start(&store, OnFailure::Park).await;
        }
        let again = loop {
            let letter = letters(&store).show(deposit.id).await.unwrap().unwrap();
            if letter.state == LetterState::Parked { break letter; }
            tokio::task::yield_now().await;
        };
        assert!(again.error.contains("process ended"), "{again}");
        let _ = consumer.stop().await.unwrap();
    }

    async fn a_message_that_alone_times_out_every_time_is_set_aside(store) {
        assert_eq!(one_message_times_out_every_time(&store, None).await.unwrap(), 3);
    }

    async fn twin_when_every_time_out_passes_the_consumer_ends(store) {
        let error = one_message_times_out_every_time(&store, Some(ConsumerBug::EveryTimeOutPasses)).await.unwrap_err();
        assert!(matches!(error, Error::Handler { .. }), "{error}");
    }

    async fn a_message_that_alone_times_out_every_time_stops_a_consumer_that_is_to_stop(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        faulty.time_out_appends_to(&["account-1"]);
        let heavy = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let mut consumer = Marked::new(&shared, None).start(&shared, OnFailure::Stop).await;
        let error = consumer.wait_for(heavy.global_position).await.unwrap_err();
        assert!(matches!(&error, Error::Handler { id, .. } if *id == heavy.id), "{error}");
    }

    async fn a_time_out_is_not_the_messages_while_the_store_does_not_answer_a_probe(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let handler = Marked::new(&shared, None);
        let settings = |consumer: Consumer<Marked>| consumer.retries(1_000);
        let mut consumer = handler.start_with(&shared, OnFailure::Park, settings).await;
        // From here on the account is known, and an append is the only thing that is asked of the store.
        let first = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        consumer.wait_for(first.global_position).await.unwrap();
        let permits = handler.wait_in("1");
        let heavy = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        handler.begun.notified().await;
        faulty.time_out_appends_to(&["account-1"]);
        faulty.set_away(true);
        permits.add_permits(999);
        // More attempts than a message has.
        while faulty.timed_out() < 5 {
            tokio::task::yield_now().await;
        }
        faulty.time_out_appends_to(&[]);
        faulty.set_away(false);
        consumer.wait_for(heavy.global_position).await.unwrap();
        assert_eq!(balance(&store, "1").await, 2);
        assert!(letters(&store).list().await.unwrap().is_empty());
    }

    async fn a_time_out_is_not_the_messages_while_those_of_other_entities_time_out_as_well(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        faulty.time_out_appends_to(&["account-1", "account-2"]);
        let handler = Marked::new(&shared, None);
        let mut sent = Vec::new();
        for account in ["1", "2"] {
            sent.push(send_deposits(&store, "account:command", account, 1).await.remove(0));
        }
        // They begin together.
        let gates = ["1", "2"].map(|account| handler.wait_in(account));
        let mut consumer = handler.start_with(&shared, OnFailure::Park, |consumer| consumer.retries(1_000).deliveries(20)).await;
        for _ in &gates {
            handler.begun.notified().await;
        }
        for gate in &gates {
            gate.add_permits(999);
        }
        while faulty.timed_out() < 12 {
            tokio::task::yield_now().await;
        }
        faulty.time_out_appends_to(&[]);
        consumer.wait_for(sent[1].global_position).await.unwrap();
        assert!(letters(&store).list().await.unwrap().is_empty());
        assert_eq!((balance(&store, "1").await, balance(&store, "2").await), (1, 1));
    }

    async fn a_retry_that_fails_again_is_set_aside_again(store) {
        let deposits = send_deposits(&store, "account:command", "1", 1).await;
        let handler = Marked::new(&store, None);
        handler.fail(&deposits[0]);
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deposits[0].global_position).await.unwrap();
        let letter = letters(&store).list().await.unwrap().remove(0);
        assert!(letters(&store).retry(&letter).await.unwrap());
        let again = loop {
            let letter = letters(&store).show(deposits[0].id).await.unwrap().unwrap();
            if letter.attempts > 3 { break letter; }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        assert_eq!((again.attempts, again.state), (6, LetterState::Parked));
        let _ = consumer.stop().await.unwrap();
    }

    async fn what_is_not_there_cannot_be_shown_and_what_was_handled_has_no_letter(store) {
        let deposits = send_deposits(&store, "account:command", "1", 1).await;
        assert!(matches!(letters(&store).show(MessageId::random()).await, Err(Error::Invalid { .. })));
        assert!(letters(&store).show(deposits[0].id).await.unwrap().is_none());
    }
}
