//! Messages that cannot be handled: set aside, looked at, tried again, and never lost or doubled. Scenarios are named by their number.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use message_store::command::{Context, Decide, Handler, PlantedBug};
use message_store::consumer::{Consumer, DeadLetters, LetterState, OnFailure, Running};
use message_store::idempotence::Outcome;
use message_store::{Error, Message, MessageId, MessageStore, Source};
use message_store_tests::accounts::{Account, balance, member, messages_of, send_deposits};
use message_store_tests::on_both_stores;
use tokio::sync::Notify;

type Store = Arc<dyn MessageStore>;

/// Handles deposits, but for those that are marked: they fail, or end the process.
#[derive(Clone)]
struct Marked {
    decide: Arc<Decide<Account>>,
    failing: Arc<Mutex<HashSet<MessageId>>>,
    deadly: Arc<Mutex<HashSet<MessageId>>>,
    dying: Arc<Notify>,
    handled: Arc<Mutex<Vec<MessageId>>>,
}

impl Marked {
    fn new(store: &Store, bug: Option<PlantedBug>) -> Self {
        Self {
            decide: Arc::new(member(store, bug)),
            failing: Arc::default(),
            deadly: Arc::default(),
            dying: Arc::default(),
            handled: Arc::default(),
        }
    }

    fn fail(&self, message: &Message) {
        self.failing.lock().unwrap().insert(message.id);
    }

    fn mend(&self) {
        self.failing.lock().unwrap().clear();
    }

    async fn start(&self, store: &Store, on_failure: OnFailure) -> Running {
        let consumer = Consumer::new("account:command", self.clone()).concurrency(4).on_failure(on_failure);
        consumer.start(store).await.unwrap()
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
