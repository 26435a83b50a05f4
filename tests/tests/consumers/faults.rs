//! Faults of a message: what the consumer does after each, under each policy.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::{Consumer, ConsumerHandle, DeadLetters, LetterState, OnFailure, PlantedBug};
use message_store::handling::{CommandHandler, Context, Fault, Handler};
use message_store::testing::FaultyStore;
use message_store::{Error, Message, MessageId, MessageStore, Outcome, OutcomeKind, Source};
use message_store_tests::accounts::{Account, balance, member, send_deposits};
use message_store_tests::on_both_stores;
use tokio::time::{sleep, timeout};

type Store = Arc<dyn MessageStore>;

const HOUR: Duration = Duration::from_hours(1);
/// The time-out for events that must happen.
const COMES: Duration = Duration::from_mins(2);
const POLICIES: [OnFailure; 3] = [OnFailure::Stop, OnFailure::Park, OnFailure::Hold];

/// One failure of the handler.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Final,
    Passing,
    /// A transient error of the store, wrapped without a context and with one.
    Wrapped,
    WrappedInContext,
    AgainAfter(Duration),
    AgainHoldingNothing(Duration),
    Hangs,
    /// Takes this long, and does not fail.
    Slow(Duration),
}

impl Failure {
    fn error(self) -> Source {
        let refused = || anyhow::Error::from(Error::backend("calling the provider", true, "refused"));
        match self {
            Self::Final => "a bad message".into(),
            Self::Passing => Fault::passing("the provider is away").into(),
            Self::Wrapped => refused().into(),
            Self::WrappedInContext => refused().context("charging the card").context("handling an order").into(),
            Self::AgainAfter(delay) => Fault::again_after(delay, "not yet").into(),
            Self::AgainHoldingNothing(delay) => Fault::again_after(delay, "not yet").holding_nothing().into(),
            Self::Hangs | Self::Slow(_) => unreachable!("it is no error"),
        }
    }
}

/// Handles deposits as an account does, after the failures that a test has planned for each.
#[derive(Clone)]
struct Failing {
    decide: Arc<CommandHandler<Account>>,
    failures: Arc<Mutex<HashMap<MessageId, VecDeque<Failure>>>>,
    attempts: Arc<Mutex<Vec<MessageId>>>,
    handled: Arc<Mutex<Vec<MessageId>>>,
}

impl Failing {
    fn new(store: &Store) -> Self {
        Self {
            decide: Arc::new(member(store, None)),
            failures: Arc::default(),
            attempts: Arc::default(),
            handled: Arc::default(),
        }
    }

    fn fail(&self, message: &Message, failures: impl IntoIterator<Item = Failure>) {
        self.failures.lock().unwrap().insert(message.id, failures.into_iter().collect());
    }

    fn mend(&self) {
        self.failures.lock().unwrap().clear();
    }

    fn attempts(&self, message: &Message) -> usize {
        self.attempts.lock().unwrap().iter().filter(|id| **id == message.id).count()
    }

    fn handled(&self) -> Vec<MessageId> {
        self.handled.lock().unwrap().clone()
    }

    async fn start(&self, store: &Store, policy: OnFailure) -> ConsumerHandle {
        self.start_with(store, policy, |consumer| consumer).await.unwrap()
    }

    async fn start_with(
        &self,
        store: &Store,
        policy: OnFailure,
        settings: impl FnOnce(Consumer<Self>) -> Consumer<Self>,
    ) -> Result<ConsumerHandle, Error> {
        let consumer = Consumer::new("account:command", self.clone()).concurrency(4).on_failure(policy);
        settings(consumer.identifier(format!("{policy:?}"))).start(store).await
    }

    async fn until_handled(&self, count: usize) {
        timeout(COMES, async {
            while self.handled().len() < count {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }
}

#[async_trait]
impl Handler for Failing {
    fn name(&self) -> &'static str {
        "Account"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        self.attempts.lock().unwrap().push(message.id);
        let failure = self.failures.lock().unwrap().get_mut(&message.id).and_then(VecDeque::pop_front);
        match failure {
            Some(Failure::Hangs) => std::future::pending().await,
            Some(Failure::Slow(time)) => sleep(time).await,
            Some(failure) => return Err(failure.error()),
            None => {}
        }
        let outcome = self.decide.carry_out(message).await?;
        // Consumers with other identifiers have handled the messages of earlier rounds.
        if matches!(outcome, Outcome::Handled { .. }) {
            self.handled.lock().unwrap().push(message.id);
        }
        Ok(outcome)
    }
}

fn letters(store: &Store, policy: OnFailure) -> DeadLetters {
    DeadLetters::of(store, "account:command", Some(&format!("{policy:?}"))).unwrap()
}

/// Two deposits to account 1, and one to account 2.
async fn deposits(store: &Store) -> [Message; 3] {
    let mut sent = send_deposits(store, "account:command", "1", 2).await;
    sent.extend(send_deposits(store, "account:command", "2", 1).await);
    sent.try_into().unwrap()
}

/// Returns the deposits, with the messages of the consumer in the order in which they were handled.
async fn again_after_an_hour(store: &Store, policy: OnFailure, bug: Option<PlantedBug>) -> Result<(), Error> {
    let clock = FaultyStore::new(store);
    let shared: Store = clock.clone();
    let [first, second, other] = deposits(store).await;
    let handler = Failing::new(&shared);
    handler.fail(&first, [Failure::AgainAfter(HOUR)]);
    let settings = |consumer: Consumer<Failing>| match bug {
        Some(bug) => consumer.plant(bug),
        None => consumer,
    };
    let mut consumer = handler.start_with(&shared, policy, settings).await?;
    consumer.wait_for(other.global_position).await?;
    assert_eq!(handler.handled(), [other.id], "{policy:?}");
    assert_eq!((consumer.counts().of(OutcomeKind::Delayed), consumer.outage()), (1, None));
    let letter = letters(store, policy).show(first.id).await?.unwrap();
    assert!(letter.again_at.is_some() && letter.error.contains("not yet") && letter.attempts == 1, "{letter}");

    // Another process goes on before it is time, and after.
    drop(consumer);
    let mut consumer = handler.start(&shared, policy).await;
    let next = send_deposits(store, "account:command", "2", 1).await.remove(0);
    consumer.wait_for(next.global_position).await?;
    assert_eq!(handler.handled(), [other.id, next.id], "{policy:?}");
    let _ = consumer.stop().await?;
    clock.pass(HOUR);
    let consumer = handler.start(&shared, policy).await;
    handler.until_handled(4).await;
    assert_eq!(handler.handled(), [other.id, next.id, first.id, second.id], "{policy:?}");
    let third = send_deposits(store, "account:command", "1", 1).await.remove(0);
    handler.until_handled(5).await;
    assert_eq!((handler.attempts(&first), handler.attempts(&third)), (2, 1));
    let letter = letters(store, policy).show(first.id).await?.unwrap();
    assert!(matches!(letter.state, LetterState::Resolved(_)), "{letter}");
    assert!(letters(store, policy).list().await?.is_empty());
    let _ = consumer.stop().await?;
    Ok(())
}

on_both_stores! {
    async fn a_message_that_is_to_be_tried_again_later_holds_back_only_its_entity_and_survives_restarts(store) {
        for policy in POLICIES {
            again_after_an_hour(&store, policy, None).await.unwrap();
        }
        assert_eq!((balance(&store, "1").await, balance(&store, "2").await), (9, 6));
    }

    async fn twin_where_again_is_final_the_consumer_stops(store) {
        let error = again_after_an_hour(&store, OnFailure::Stop, Some(PlantedBug::AgainIsFinal)).await.unwrap_err();
        assert!(matches!(error, Error::Handler { .. }), "{error}");
    }

    async fn a_message_that_is_to_be_tried_again_soon_is_delivered_while_the_consumer_runs(store) {
        for policy in POLICIES {
            let [first, second, other] = deposits(&store).await;
            let handler = Failing::new(&store);
            let soon = Duration::from_millis(200);
            handler.fail(&first, [Failure::AgainAfter(soon), Failure::AgainAfter(soon), Failure::AgainAfter(soon)]);
            let consumer = handler.start(&store, policy).await;
            handler.until_handled(3).await;
            assert_eq!(handler.handled(), [other.id, first.id, second.id], "{policy:?}");
            assert_eq!(handler.attempts(&first), 4);
            let _ = consumer.stop().await.unwrap();
        }
    }

    async fn a_message_can_be_tried_again_later_without_holding_its_entity(store) {
        for policy in POLICIES {
            let clock = FaultyStore::new(&store);
            let shared: Store = clock.clone();
            let [first, second, other] = deposits(&store).await;
            let handler = Failing::new(&shared);
            handler.fail(&first, [Failure::AgainHoldingNothing(HOUR)]);
            let mut consumer = handler.start(&shared, policy).await;
            consumer.wait_for(other.global_position).await.unwrap();
            if policy != OnFailure::Hold {
                assert!(handler.handled().contains(&second.id), "{policy:?}");
            }
            let _ = consumer.stop().await.unwrap();
            clock.pass(HOUR);
            let consumer = handler.start(&shared, policy).await;
            handler.until_handled(3).await;
            let letter = letters(&store, policy).show(first.id).await.unwrap().unwrap();
            assert!(matches!(letter.state, LetterState::Resolved(_) | LetterState::Retrying), "{letter}");
            let _ = consumer.stop().await.unwrap();
        }
    }

    async fn a_message_that_fails_finally_after_a_delay_meets_the_policy(store) {
        for policy in POLICIES {
            let [first, second, other] = deposits(&store).await;
            let handler = Failing::new(&store);
            let failures = std::iter::once(Failure::AgainAfter(Duration::from_millis(100))).chain([Failure::Final; 99]);
            handler.fail(&first, failures);
            let mut consumer = handler.start(&store, policy).await;
            let is_stopped = policy == OnFailure::Stop;
            if is_stopped {
                let never = message_store::GlobalPosition::new(other.global_position.get() + 1_000_000);
                let error = timeout(COMES, consumer.wait_for(never)).await.unwrap().unwrap_err();
                assert!(matches!(&error, Error::Handler { id, .. } if *id == first.id), "{error}");
                drop(consumer);
                // The next consumer stops for the same reason, and goes on when it is removed.
                let mut consumer = handler.start(&store, policy).await;
                assert!(timeout(COMES, consumer.wait_for(never)).await.unwrap().is_err());
                drop(consumer);
                assert_eq!(handler.handled(), [other.id]);
                handler.mend();
                let consumer = handler.start(&store, policy).await;
                handler.until_handled(3).await;
                assert_eq!(handler.handled(), [other.id, first.id, second.id]);
                let _ = consumer.stop().await.unwrap();
                continue;
            }
            timeout(COMES, async {
                while !letters(&store, policy).show(first.id).await.unwrap().is_some_and(|letter| {
                    letter.state == LetterState::Parked && letter.again_at.is_none()
                }) {
                    sleep(Duration::from_millis(5)).await;
                }
            })
            .await
            .unwrap();
            if policy == OnFailure::Park {
                handler.until_handled(2).await;
            } else {
                assert_eq!(handler.handled(), [other.id]);
            }
            handler.mend();
            let letter = letters(&store, policy).show(first.id).await.unwrap().unwrap();
            assert_eq!(letter.attempts, 4);
            assert!(letters(&store, policy).retry(&letter).await.unwrap());
            handler.until_handled(3).await;
            let _ = consumer.stop().await.unwrap();
        }
    }

    async fn a_passing_fault_of_a_service_is_waited_out_like_an_outage_of_the_store(store) {
        for failure in [Failure::Passing, Failure::Wrapped, Failure::WrappedInContext] {
            for policy in POLICIES {
                let [first, second, other] = deposits(&store).await;
                let handler = Failing::new(&store);
                handler.fail(&first, [failure; 6]);
                let mut consumer = handler.start(&store, policy).await;
                handler.until_handled(1).await;
                while handler.attempts(&first) < 4 {
                    sleep(Duration::from_millis(5)).await;
                }
                let outage = consumer.outage().unwrap().error;
                assert!(outage.contains("away") || outage.contains("refused") || outage.contains("handling an order"), "{outage}");
                handler.until_handled(3).await;
                consumer.wait_for(other.global_position).await.unwrap();
                assert_eq!(handler.handled(), [other.id, first.id, second.id], "{failure:?}, {policy:?}");
                assert!(letters(&store, policy).list().await.unwrap().is_empty());
                let _ = consumer.stop().await.unwrap();
            }
        }
    }

    async fn a_handler_that_hangs_has_failed_at_its_time_limit(store) {
        let [first, second, other] = deposits(&store).await;
        let handler = Failing::new(&store);
        handler.fail(&first, [Failure::Hangs; 3]);
        let limited = |consumer: Consumer<Failing>| consumer.time_limit(Duration::from_millis(100));
        let mut consumer = handler.start_with(&store, OnFailure::Park, limited).await.unwrap();
        consumer.wait_for(other.global_position).await.unwrap();
        let letter = letters(&store, OnFailure::Park).show(first.id).await.unwrap().unwrap();
        assert!(letter.error.contains("time limit of 100ms") && letter.attempts == 3, "{letter}");
        assert_eq!(handler.handled().len(), 2);
        assert!(handler.handled().contains(&second.id));
    }

    async fn messages_that_wait_behind_a_delayed_one_are_delivered_in_order_whatever_becomes_of_them(store) {
        let soon = Duration::from_millis(100);
        for policy in POLICIES {
            // The second message of the entity waits behind the first, and is delayed, slow, or fails finally.
            let mut second = vec![Failure::AgainAfter(soon), Failure::Slow(soon * 3)];
            if policy == OnFailure::Park {
                second.push(Failure::Final);
            }
            for failure in second {
                let mut sent = send_deposits(&store, "account:command", "1", 3).await;
                let handler = Failing::new(&store);
                handler.fail(&sent[0], [Failure::AgainAfter(soon), Failure::AgainAfter(soon)]);
                let is_final = failure == Failure::Final;
                handler.fail(&sent[1], if is_final { vec![failure; 9] } else { vec![failure] });
                let consumer = handler.start(&store, policy).await;
                while handler.attempts(&sent[1]) < 1 {
                    sleep(Duration::from_millis(2)).await;
                }
                sent.extend(send_deposits(&store, "account:command", "1", 1).await);
                let mut expected: Vec<MessageId> = sent.iter().map(|message| message.id).collect();
                if is_final {
                    expected.remove(1);
                }
                // Another consumer may have left a message of an earlier round.
                let of_round = || handler.handled().into_iter().filter(|id| expected.contains(id)).collect::<Vec<_>>();
                timeout(COMES, async {
                    while of_round().len() < expected.len() {
                        sleep(Duration::from_millis(5)).await;
                    }
                })
                .await
                .unwrap();
                assert_eq!(of_round(), expected, "{policy:?}, {failure:?}");
                let _ = consumer.stop().await.unwrap();
            }
        }
    }

    async fn a_message_that_waited_and_fails_finally_stops_a_consumer_that_is_to_stop(store) {
        let [first, second, _] = deposits(&store).await;
        let handler = Failing::new(&store);
        handler.fail(&first, [Failure::AgainAfter(Duration::from_millis(100))]);
        handler.fail(&second, [Failure::Final; 99]);
        let never = message_store::GlobalPosition::new(1_000_000_000);
        // More starts than attempts.
        for _ in 0..6 {
            let mut consumer = handler.start(&store, OnFailure::Stop).await;
            let error = timeout(COMES, consumer.wait_for(never)).await.unwrap().unwrap_err();
            assert!(matches!(&error, Error::Handler { id, .. } if *id == second.id), "{error}");
        }
        handler.mend();
        let consumer = handler.start(&store, OnFailure::Stop).await;
        handler.until_handled(3).await;
        let _ = consumer.stop().await.unwrap();
    }

    async fn a_passing_fault_of_a_redelivery_survives_any_number_of_stops_and_holds_no_other_entity(store) {
        for policy in POLICIES {
            let [first, _, other] = deposits(&store).await;
            let handler = Failing::new(&store);
            let soon = Duration::from_millis(50);
            handler.fail(&first, std::iter::once(Failure::AgainAfter(soon)).chain(vec![Failure::Passing; 9_999]));
            handler.fail(&other, [Failure::AgainAfter(soon * 4)]);
            for round in 0..5 {
                let begun = handler.attempts(&first);
                let consumer = handler.start(&store, policy).await;
                while handler.attempts(&first) < begun + 2 {
                    sleep(Duration::from_millis(2)).await;
                }
                if round == 0 {
                    handler.until_handled(1).await;
                    assert_eq!(handler.handled(), [other.id], "{policy:?}");
                }
                // The redelivery waits out an outage, which a stop does for a short time only.
                let _ = consumer.stop().await;
                let letter = letters(&store, policy).show(first.id).await.unwrap().unwrap();
                assert!(letter.is_open() && letter.attempts == 1, "{policy:?}: {letter}");
            }
            handler.mend();
            let consumer = handler.start(&store, policy).await;
            handler.until_handled(3).await;
            let _ = consumer.stop().await.unwrap();
        }
    }

    async fn a_message_that_no_longer_holds_its_entity_lets_the_others_pass(store) {
        let [first, second, other] = deposits(&store).await;
        let handler = Failing::new(&store);
        let soon = Duration::from_millis(100);
        handler.fail(&first, [Failure::AgainAfter(soon), Failure::AgainHoldingNothing(HOUR)]);
        let consumer = handler.start(&store, OnFailure::Park).await;
        handler.until_handled(2).await;
        assert_eq!(handler.handled(), [other.id, second.id]);
        let _ = consumer.stop().await.unwrap();
    }

    async fn a_consumer_that_ends_does_not_wait_for_a_service_that_is_away(store) {
        let [first, _, other] = deposits(&store).await;
        let handler = Failing::new(&store);
        handler.fail(&first, vec![Failure::Passing; 9_999]);
        handler.fail(&other, [Failure::Final; 9]);
        let mut consumer = handler.start(&store, OnFailure::Stop).await;
        let never = message_store::GlobalPosition::new(1_000_000_000);
        let error = timeout(COMES, consumer.wait_for(never)).await.unwrap().unwrap_err();
        assert!(matches!(&error, Error::Handler { id, .. } if *id == other.id), "{error}");
    }

    async fn twin_without_a_time_limit_a_handler_that_hangs_holds_its_entity(store) {
        let [first, second, other] = deposits(&store).await;
        let handler = Failing::new(&store);
        handler.fail(&first, [Failure::Hangs; 3]);
        let mut consumer = handler.start(&store, OnFailure::Park).await;
        handler.until_handled(1).await;
        assert!(timeout(Duration::from_secs(1), consumer.wait_for(second.global_position)).await.is_err());
        assert_eq!(handler.handled(), [other.id]);
    }
}
