//! Repeats that a consumer recognises in whole batches after its start, and does not deliver.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use message_store::consumer::{Consumer, PlantedBug};
use message_store::handling::{CommandHandler, Context, Handler};
use message_store::testing::FaultyStore;
use message_store::{Message, MessageId, MessageStore, Outcome, OutcomeKind, Source};
use message_store_tests::accounts::{Account, balance, member, messages_of, send_deposits};
use message_store_tests::on_both_stores;

/// What the handler does when the consumer asks for repeats.
enum Asked {
    Answers,
    Fails,
    Panics,
    /// The first answer is that all messages are repeats, in a history that then ends. Later answers are right.
    AnswersOfAnEarlierHistory(Arc<FaultyStore>),
}

/// Carries out commands, and counts what the consumer asks of it.
struct Counting {
    inner: CommandHandler<Account>,
    asked: Asked,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    delivered: AtomicUsize,
    asked: AtomicUsize,
}

#[async_trait]
impl Handler for Counting {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn message_types(&self) -> Vec<&'static str> {
        self.inner.message_types()
    }

    fn check(&self) -> message_store::Result<()> {
        self.inner.check()
    }

    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        self.counts.delivered.fetch_add(1, Ordering::SeqCst);
        self.inner.handle(message, context).await
    }

    async fn repeats(&self, messages: &[Message]) -> Result<HashMap<MessageId, Outcome>, Source> {
        let is_first = self.counts.asked.fetch_add(1, Ordering::SeqCst) == 0;
        match &self.asked {
            Asked::Fails => Err("a planted failure".into()),
            Asked::Panics => panic!("a planted panic"),
            Asked::AnswersOfAnEarlierHistory(store) if is_first => {
                let all = messages
                    .iter()
                    .map(|message| (message.id, Outcome::AlreadyProcessed { original: message.reference() }));
                let all = all.collect();
                store.change_history();
                Ok(all)
            }
            Asked::Answers | Asked::AnswersOfAnEarlierHistory(_) => self.inner.repeats(messages).await,
        }
    }
}

type Store = Arc<dyn MessageStore>;

/// Eight accounts with `each` more deposits each.
async fn send(store: &Store, each: usize) {
    for account in 0..8 {
        send_deposits(store, "account:command", &account.to_string(), each).await;
    }
}

async fn total(store: &Store) -> u64 {
    let mut total = 0;
    for account in 0..8 {
        total += balance(store, &account.to_string()).await;
    }
    total
}

/// Runs a consumer that remembers nothing over all commands, in batches of 10. Returns how many were delivered, how
/// often repeats were asked for, and the outcomes.
async fn run(
    store: &Store,
    identifier: &str,
    asked: Asked,
    bug: Option<PlantedBug>,
) -> (usize, usize, HashMap<OutcomeKind, u64>) {
    let counts = Arc::new(Counts::default());
    let handler = Counting { inner: member(store, None), asked, counts: Arc::clone(&counts) };
    let mut consumer = Consumer::new("account:command", handler).identifier(identifier).batch(10).concurrency(4);
    if let Some(bug) = bug {
        consumer = consumer.plant(bug);
    }
    let last = messages_of(store, "account:command").await.last().unwrap().global_position;
    let mut running = consumer.start(store).await.unwrap();
    running.wait_for(last).await.unwrap();
    let outcomes = running.stop().await.unwrap();
    let kinds = [OutcomeKind::Handled, OutcomeKind::AlreadyProcessed].map(|kind| (kind, outcomes.of(kind)));
    (counts.delivered.load(Ordering::SeqCst), counts.asked.load(Ordering::SeqCst), kinds.into())
}

fn outcomes(handled: u64, already_processed: u64) -> HashMap<OutcomeKind, u64> {
    HashMap::from([(OutcomeKind::Handled, handled), (OutcomeKind::AlreadyProcessed, already_processed)])
}

/// A consumer reads all commands again. The history changes after it has asked for repeats, and the commands were not
/// carried out in the new history. Returns the total of all accounts.
async fn with_answers_of_an_earlier_history(store: &Store, bug: Option<PlantedBug>) -> u64 {
    let faulty = FaultyStore::new(store);
    let shared: Store = faulty.clone();
    send(&shared, 1).await;
    run(&shared, "a", Asked::AnswersOfAnEarlierHistory(faulty), bug).await;
    total(store).await
}

on_both_stores! {
    async fn commands_that_were_handled_are_recognised_without_a_delivery(store) {
        send(&store, 5).await;
        assert_eq!(run(&store, "a", Asked::Answers, None).await, (40, 1, outcomes(40, 0)));
        let (delivered, asked, counted) = run(&store, "b", Asked::Answers, None).await;
        assert_eq!((delivered, counted), (0, outcomes(0, 40)));
        assert_eq!(asked, 4);
        assert_eq!(total(&store).await, 40);
    }

    async fn new_commands_after_repeats_are_delivered_and_end_the_look_ups(store) {
        send(&store, 5).await;
        run(&store, "a", Asked::Answers, None).await;
        send(&store, 5).await;
        let (delivered, asked, counted) = run(&store, "b", Asked::Answers, None).await;
        assert_eq!((delivered, counted), (40, outcomes(40, 40)));
        assert_eq!(asked, 4 + 1, "the first batch without repeats is the last one that was looked up");
        assert_eq!(total(&store).await, 80);
    }

    async fn a_consumer_that_continues_from_its_position_looks_up_one_batch(store) {
        send(&store, 5).await;
        run(&store, "a", Asked::Answers, None).await;
        send(&store, 5).await;
        assert_eq!(run(&store, "a", Asked::Answers, None).await, (40, 1, outcomes(40, 0)));
    }

    async fn repeats_are_delivered_if_looking_for_them_fails(store) {
        send(&store, 2).await;
        run(&store, "a", Asked::Answers, None).await;
        assert_eq!(run(&store, "b", Asked::Fails, None).await, (16, 1, outcomes(0, 16)));
        assert_eq!(run(&store, "c", Asked::Panics, None).await, (16, 1, outcomes(0, 16)));
        assert_eq!(total(&store).await, 16);
    }

    async fn repeats_of_an_earlier_history_are_looked_up_again(store) {
        assert_eq!(with_answers_of_an_earlier_history(&store, None).await, 8);
    }

    async fn twin_where_the_history_is_ignored_they_are_lost(store) {
        assert_eq!(with_answers_of_an_earlier_history(&store, Some(PlantedBug::HistoryIgnored)).await, 0);
    }
}
