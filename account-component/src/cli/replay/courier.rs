//! The courier delivers a share of the messages a second time, out of order, while the consumer runs. It has its own
//! runtime and its own cache, as another process would.

use std::collections::BTreeMap;
use std::sync::Arc;

use account_component::Account;
use anyhow::{Context as _, Result};
use async_trait::async_trait;
use message_store::handling::{CommandHandler, Context, Handler};
use message_store::{Message, MessageStore, Outcome, OutcomeKind, Source};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::plan::is_chosen;

/// The number of second deliveries by outcome.
pub(super) type Redelivered = BTreeMap<OutcomeKind, u64>;

/// The largest number of messages that wait for the courier.
const QUEUE: usize = 1024;

/// Delivers messages again after the watched handlers have handled them.
pub(super) struct Courier {
    sender: mpsc::Sender<Message>,
    task: JoinHandle<Result<Redelivered>>,
    seed: u64,
    share: f64,
}

/// A handler that passes a share of its messages to the courier after it has handled them.
pub(super) struct Watched<H> {
    handler: H,
    sender: mpsc::Sender<Message>,
    seed: u64,
    share: f64,
}

impl Courier {
    /// Starts the courier. It delivers up to `concurrency` messages at a time.
    pub(super) fn start(store: &Arc<dyn MessageStore>, seed: u64, share: f64, concurrency: usize) -> Self {
        let (sender, messages) = mpsc::channel(QUEUE);
        let decide = Arc::new(CommandHandler::<Account>::new(store));
        Self { sender, task: tokio::spawn(deliver(decide, messages, concurrency)), seed, share }
    }

    pub(super) fn watch<H>(&self, handler: H) -> Watched<H> {
        Watched { handler, sender: self.sender.clone(), seed: self.seed, share: self.share }
    }

    /// Waits until all messages are delivered. All watched handlers must have been dropped.
    pub(super) async fn finish(self) -> Result<Redelivered> {
        drop(self.sender);
        self.task.await.context("the courier's task")?
    }
}

async fn deliver(
    decide: Arc<CommandHandler<Account>>,
    mut messages: mpsc::Receiver<Message>,
    concurrency: usize,
) -> Result<Redelivered> {
    let mut counts = Redelivered::new();
    let mut deliveries = JoinSet::new();
    loop {
        tokio::select! {
            message = messages.recv(), if deliveries.len() < concurrency => match message {
                Some(message) => {
                    let decide = Arc::clone(&decide);
                    deliveries.spawn(async move { decide.carry_out(&message).await });
                }
                None => break,
            },
            Some(outcome) = deliveries.join_next() => count(&mut counts, &outcome??),
        }
    }
    while let Some(outcome) = deliveries.join_next().await {
        count(&mut counts, &outcome??);
    }
    Ok(counts)
}

fn count(counts: &mut Redelivered, outcome: &Outcome) {
    *counts.entry(outcome.kind()).or_default() += 1;
}

#[async_trait]
impl<H: Handler> Handler for Watched<H> {
    fn name(&self) -> &'static str {
        self.handler.name()
    }

    fn message_types(&self) -> Vec<&'static str> {
        self.handler.message_types()
    }

    fn check(&self) -> message_store::Result<()> {
        self.handler.check()
    }

    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
        let outcome = self.handler.handle(message, context).await?;
        let number = message.global_position.get().unsigned_abs();
        if is_chosen(self.seed, number, 5, self.share) {
            self.sender.send(message.clone()).await?;
        }
        Ok(outcome)
    }
}
