//! Messages that cannot be handled: set aside, shown, retried, and never lost or handled twice. Tests are named after
//! the numbers of the scenarios.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use message_store::consumer::{
    Consumer, DeadLetters, LetterState, OnFailure, PlantedBug as ConsumerBug, Process, Retried,
};
use message_store::testing::{FaultyStore, PlantedBug};
use message_store::{Error, MessageId, MessageStore, Outcome, OutcomeKind};
use message_store_tests::accounts::{balance, member, messages_of, send_deposits};
use message_store_tests::marked::{Marked, planted};
use message_store_tests::on_both_stores;

type Store = Arc<dyn MessageStore>;

/// Runs a message that ends the process, and a slow innocent message at the same time. Returns the messages with dead
/// letters.
async fn a_deadly_message_beside_an_innocent_one(store: &Store, bug: Option<ConsumerBug>) -> [bool; 2] {
    let deadly = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let innocent = send_deposits(store, "account:command", "2", 1).await.remove(0);
    let handler = Marked::new(store, None);
    handler.deadly.lock().unwrap().insert(deadly.id);
    let permits = handler.wait_in("2");
    for life in 0..if bug.is_some() { 4 } else { 5 } {
        let consumer = handler.start_with(store, OnFailure::Park, |consumer| planted(consumer, bug)).await;
        handler.dying.notified().await;
        // In the second life, they are a round.
        if life < 2 || bug.is_some() {
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

/// Every append to account 1 times out. Returns the results for its deposit and for the deposit to another account.
async fn one_message_times_out_every_time(store: &Store, bug: Option<ConsumerBug>) -> Result<u32, Error> {
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    faulty.time_out_appends_to(&["account-1"]);
    let heavy = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let other = send_deposits(store, "account:command", "2", 1).await.remove(0);
    let handler = Marked::new(&shared, None);
    let settings = |consumer: Consumer<Marked>| planted(consumer.concurrency(1).outage_limit(Duration::ZERO), bug);
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
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The first of three deposits is parked, and the others are handled. Then the first is retried.
async fn parked_and_retried(store: &Store, bug: Option<PlantedBug>) -> u64 {
    let deposits = send_deposits(store, "account:command", "1", 3).await;
    let handler = Marked::new(store, bug);
    handler.fail(&deposits[0]);
    let mut consumer = handler.start(store, OnFailure::Park).await;
    consumer.wait_for(deposits[2].global_position).await.unwrap();
    assert_eq!(consumer.counts().of(OutcomeKind::Parked), 1);
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

/// In five runs of a process, one consumer handles a slow message while another consumer handles a message that ends
/// the process. Returns whether the slow message is blamed.
async fn is_blamed_beside_another_consumer(store: &Store, bug: Option<ConsumerBug>) -> bool {
    let slow = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let handler = Marked::new(store, None);
    let other = Marked { process: handler.process.clone(), ..Marked::new(store, None) };
    let _permits = handler.wait_in("1");
    for _ in 0..5 {
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
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
        if letters(store).show(slow.id).await.unwrap().is_some() {
            break true;
        }
    };
    drop(consumer);
    blamed
}

/// One consumer handles a suspect, and another consumer waits to begin. Returns whether the other begins before the
/// record says that the suspect is done.
async fn others_begin_before_the_record_is_changed(store: &Store, bug: Option<ConsumerBug>) -> bool {
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    send_deposits(store, "account:command", "1", 1).await;
    let deadly = send_deposits(store, "other:command", "9", 1).await.remove(0);
    // The other waits for the record, however long this test takes.
    let process = Process::with_limit(Duration::from_hours(1));
    let handler = Marked { process: process.clone(), ..Marked::new(store, None) };
    let other = Marked { process, ..Marked::new(store, None) };
    other.deadly.lock().unwrap().insert(deadly.id);
    let permits = handler.wait_in("1");
    for _ in 0..2 {
        let first = handler.start_with(&shared, OnFailure::Park, |consumer| planted(consumer, bug)).await;
        handler.begun.notified().await;
        drop(first);
    }
    let _consumer = handler.start_with(&shared, OnFailure::Park, |consumer| planted(consumer, bug)).await;
    handler.begun.notified().await;
    let _beside = Consumer::new("other:command", other.clone()).in_process(&other.process).start(store).await.unwrap();
    // The test controls when the next save ends. The letter consumer may save its own position first.
    faulty.delay_answers(u32::MAX);
    permits.add_permits(1);
    faulty.answer_is_delayed().await;
    if bug.is_some() {
        other.dying.notified().await;
        return true;
    }
    let begun = tokio::time::timeout(Duration::from_millis(100), other.dying.notified()).await.is_ok();
    faulty.delay_answers(0);
    while !begun && tokio::time::timeout(Duration::from_millis(10), other.dying.notified()).await.is_err() {
        faulty.release_answer();
    }
    begun
}

/// The process crashes once. Then the store's history changes repeatedly while the message is under way. Returns
/// whether the message is blamed.
async fn is_blamed_for_histories(store: &Store) -> bool {
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    let message = send_deposits(store, "account:command", "1", 1).await.remove(0);
    let handler = Marked::new(&shared, None);
    let permits = handler.wait_in("1");
    let first = handler.start(&shared, OnFailure::Park).await;
    handler.begun.notified().await;
    drop(first);
    let mut consumer = handler.start(&shared, OnFailure::Park).await;
    for _ in 0..4 {
        handler.begun.notified().await;
        faulty.change_history();
        permits.add_permits(1);
    }
    permits.add_permits(99);
    consumer.wait_for(message.global_position).await.unwrap();
    let _ = consumer.stop().await.unwrap();
    letters(store).show(message.id).await.unwrap().is_some()
}

on_both_stores! {
    async fn t38_a_parked_command_that_is_retried_after_later_ones_takes_effect_once(store) {
        assert_eq!(parked_and_retried(&store, None).await, 3);
        assert!(letters(&store).list().await.unwrap().is_empty());
        // From the beginning, all commands are recognised.
        for message in messages_of(&store, "account:command").await {
            let outcome = member(&store, None).carry_out(&message).await.unwrap();
            assert!(matches!(outcome, Outcome::AlreadyProcessed { .. }), "{outcome}");
        }
    }

    async fn twin_with_the_mark_alone_a_retried_command_is_lost(store) {
        assert_eq!(parked_and_retried(&store, Some(PlantedBug::MarkAlone)).await, 2);
    }

    async fn t39_messages_held_behind_a_letter_follow_it_in_order(store) {
        let deposits = send_deposits(&store, "account:command", "1", 3).await;
        let others = send_deposits(&store, "account:command", "2", 2).await;
        let handler = Marked::new(&store, None);
        handler.fail(&deposits[0]);
        let mut consumer = handler.start(&store, OnFailure::Hold).await;
        consumer.wait_for(others[1].global_position).await.unwrap();
        assert_eq!((balance(&store, "1").await, balance(&store, "2").await), (0, 2), "others go on, it waits");
        // The same after a restart.
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
        // Messages of the entity no longer wait.
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

    async fn a_caller_can_wait_for_the_result_of_a_retry(store) {
        let deposits = send_deposits(&store, "account:command", "1", 2).await;
        let handler = Marked::new(&store, None);
        for deposit in &deposits {
            handler.fail(deposit);
        }
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deposits[1].global_position).await.unwrap();
        let letters = letters(&store);
        let (hour, parked) = (Duration::from_hours(1), letters.list().await.unwrap());
        assert_eq!(letters.wait_for_retry(&parked[0], Duration::ZERO).await.unwrap(), Retried::NotYet, "nobody asked");

        assert!(letters.retry(&parked[0]).await.unwrap());
        let retried = letters.wait_for_retry(&parked[0], hour).await.unwrap();
        let has_failed = matches!(&retried, Retried::FailedAgain { attempts: 6, error } if error.contains("planted"));
        assert!(has_failed, "{retried}");
        handler.mend();
        let again = letters.show(deposits[0].id).await.unwrap().unwrap();
        assert!(letters.retry(&again).await.unwrap());
        let resolved = Retried::Resolved { outcome: "handled".into() };
        let late = Retried::Resolved { outcome: "handled late".into() };
        let retried = letters.wait_for_retry(&again, hour).await.unwrap();
        assert!(retried == resolved || retried == late, "{retried}");
        assert_eq!(letters.wait_for_retry(&again, hour).await.unwrap(), retried, "it is known by now");

        // Another operator decides.
        let (_, discarded) = tokio::join!(
            async { letters.discard(&parked[1], "a bad message").await.unwrap() },
            letters.wait_for_retry(&parked[1], hour)
        );
        assert_eq!(discarded.unwrap(), Retried::Discarded { why: "a bad message".into() });
        let _ = consumer.stop().await.unwrap();
    }

    async fn a_retry_that_no_consumer_carries_out_is_not_done_when_the_time_is_up(store) {
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let handler = Marked::new(&store, None);
        handler.fail(&deposit);
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deposit.global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        let letter = letters(&store).list().await.unwrap().remove(0);
        assert!(letters(&store).retry(&letter).await.unwrap());
        let retried = letters(&store).wait_for_retry(&letter, Duration::from_millis(20)).await.unwrap();
        assert_eq!(retried, Retried::NotYet);
        assert!(retried.to_string().contains("a running consumer makes it"), "{retried}");
    }

    async fn a_wait_for_a_retry_ends_also_when_its_wake_up_is_lost(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        faulty.lose_wake_ups();
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let handler = Marked::new(&store, None);
        handler.fail(&deposit);
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deposit.global_position).await.unwrap();
        handler.mend();
        let (asking, waiting, hour) = (letters(&store), letters(&shared), Duration::from_hours(1));
        let letter = asking.show(deposit.id).await.unwrap().unwrap();
        let (asked, retried) = tokio::join!(asking.retry(&letter), waiting.wait_for_retry(&letter, hour));
        assert!(asked.unwrap());
        assert!(matches!(retried.unwrap(), Retried::Resolved { .. }));
        let _ = consumer.stop().await.unwrap();
    }

    async fn letters_of_a_consumer_that_has_never_run_are_an_error_that_says_which_have(store) {
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let of = |category: &str, identifier: Option<&str>| DeadLetters::of(&store, category, identifier).unwrap();
        let never_ran = async |letters: DeadLetters| {
            let (listed, shown) = (letters.list().await.unwrap_err(), letters.show(deposit.id).await.unwrap_err());
            assert!(matches!((&listed, &shown), (Error::Invalid { .. }, Error::Invalid { .. })), "{listed} / {shown}");
            assert_eq!(listed.to_string(), shown.to_string());
            listed.to_string()
        };
        let error = never_ran(of("account", None)).await;
        assert!(error.contains("account+position") && error.contains("account+deadLetter"), "{error}");
        assert!(error.contains("account:command") && error.contains("without an identifier"), "{error}");

        let handler = Marked::new(&store, None);
        for mut member in handler.start_group(&store, OnFailure::Stop, 2, None).await {
            member.wait_for(deposit.global_position).await.unwrap();
            let _ = member.stop().await.unwrap();
        }
        let error = never_ran(of("account:command", Some("h"))).await;
        assert!(error.contains(r#"with the identifier "h""#), "{error}");
        assert!(error.contains(r#"Consumers of this category have run with the identifier "g""#), "{error}");
        never_ran(of("account:command", None)).await;
        // One that has run, and has no letters, says so.
        let letters = of("account:command", Some("g"));
        assert!(letters.list().await.unwrap().is_empty() && letters.show(deposit.id).await.unwrap().is_none());
    }

    async fn a_letter_that_was_read_in_another_history_is_not_decided_on(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let deposit = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let handler = Marked::new(&store, None);
        handler.fail(&deposit);
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        consumer.wait_for(deposit.global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        let letter = letters(&shared).show(deposit.id).await.unwrap().unwrap();
        faulty.change_history();
        let refused = letters(&shared).discard(&letter, "it is bad").await;
        assert!(matches!(refused, Err(Error::HistoryChanged { .. })), "{refused:?}");
        let letter = letters(&shared).show(deposit.id).await.unwrap().unwrap();
        assert!(letters(&shared).discard(&letter, "it is bad").await.unwrap());
    }

    async fn t37_a_message_that_ends_the_process_at_each_attempt_is_set_aside_after_the_third(store) {
        let deposits = send_deposits(&store, "account:command", "1", 2).await;
        let handler = Marked::new(&store, None);
        handler.deadly.lock().unwrap().insert(deposits[0].id);
        // The first attempt runs before the message is a suspect. Three more attempts are counted.
        for _ in 0..5 {
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

    async fn others_begin_when_it_is_on_record_that_a_message_which_was_alone_is_done(store) {
        assert!(!others_begin_before_the_record_is_changed(&store, None).await);
    }

    async fn twin_when_they_begin_at_once_they_begin_before(store) {
        assert!(others_begin_before_the_record_is_changed(&store, Some(ConsumerBug::OthersBeginFirst)).await);
    }

    async fn another_history_of_the_store_is_no_crash(store) {
        assert!(!is_blamed_for_histories(&store).await);
    }

    async fn a_message_that_is_handled_in_each_life_is_not_blamed_for_the_end_of_any(store) {
        let innocent = send_deposits(&store, "account:command", "2", 1).await.remove(0);
        let deadly = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let handler = Marked::new(&store, None);
        handler.deadly.lock().unwrap().insert(deadly.id);
        for _ in 0..5 {
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
        let settings = |consumer: Consumer<Marked>| consumer.batch(4).save_after(2, Duration::from_hours(1));
        let permits = handler.wait_in("1");
        let first = handler.start_with(&store, OnFailure::Park, settings).await;
        handler.dying.notified().await;
        drop(first);
        // In later runs the message is fast.
        permits.add_permits(99);
        for _ in 0..4 {
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

    async fn a_message_that_alone_times_out_every_time_waits_in_a_consumer_that_is_to_stop(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        faulty.time_out_appends_to(&["account-1"]);
        let _heavy = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        let others = send_deposits(&store, "account:command", "2", 3).await;
        let mut consumer = Marked::new(&shared, None).start(&shared, OnFailure::Stop).await;
        // More failures than the attempts of a message. The messages of other entities are handled meanwhile.
        while faulty.timed_out() < 5 || consumer.counts().messages() < 3 {
            tokio::task::yield_now().await;
        }
        let outage = consumer.outage().unwrap();
        assert!(outage.error.contains("took too long"), "{outage}");
        faulty.time_out_appends_to(&[]);
        consumer.wait_for(others[2].global_position).await.unwrap();
        assert_eq!((balance(&store, "1").await, balance(&store, "2").await), (1, 3));
    }

    async fn a_time_out_is_not_the_messages_while_the_store_does_not_answer_a_probe(store) {
        let faulty = FaultyStore::new(&store);
        let shared: Store = faulty.clone();
        let handler = Marked::new(&shared, None);
        let settings = |consumer| consumer;
        let mut consumer = handler.start_with(&shared, OnFailure::Park, settings).await;
        // From here on the account is cached, so the append is the only call to the store.
        let first = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        consumer.wait_for(first.global_position).await.unwrap();
        let permits = handler.wait_in("1");
        let heavy = send_deposits(&store, "account:command", "1", 1).await.remove(0);
        handler.begun.notified().await;
        faulty.time_out_appends_to(&["account-1"]);
        faulty.set_unavailable(true);
        permits.add_permits(999);
        // More failures than the attempts of a message. If the consumer has to read letters before an attempt, the reads fail
        // instead, and it makes no further attempt.
        let since = Instant::now();
        while faulty.timed_out() < 5 && (faulty.timed_out() == 0 || since.elapsed() < Duration::from_secs(5)) {
            tokio::task::yield_now().await;
        }
        faulty.time_out_appends_to(&[]);
        faulty.set_unavailable(false);
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
        // Both begin at the same time.
        let gates = ["1", "2"].map(|account| handler.wait_in(account));
        let mut consumer = handler.start_with(&shared, OnFailure::Park, |consumer| consumer.max_attempts(20)).await;
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
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!((again.attempts, again.state), (6, LetterState::Parked));
        let _ = consumer.stop().await.unwrap();
    }

    async fn a_missing_message_cannot_be_shown_and_a_handled_one_has_no_letter(store) {
        let deposits = send_deposits(&store, "account:command", "1", 1).await;
        let mut consumer = Marked::new(&store, None).start(&store, OnFailure::Stop).await;
        consumer.wait_for(deposits[0].global_position).await.unwrap();
        let _ = consumer.stop().await.unwrap();
        assert!(matches!(letters(&store).show(MessageId::new()).await, Err(Error::Invalid { .. })));
        assert!(letters(&store).show(deposits[0].id).await.unwrap().is_none());
    }
}
