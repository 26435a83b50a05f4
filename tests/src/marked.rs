//! A handler of deposits, in which a test can make chosen deposits fail.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use message_store::consumer::{Consumer, ConsumerHandle, OnFailure, PlantedBug as ConsumerBug, Process};
use message_store::handling::{CommandHandler, Context, Handler};
use message_store::testing::PlantedBug;
use message_store::{GroupMember, Message, MessageId, MessageStore, Outcome, Source};
use tokio::sync::{Notify, Semaphore};

use crate::accounts::{Account, member};

type Store = Arc<dyn MessageStore>;

/// Handles deposits as an account does. Marked deposits fail, or end the process.
#[derive(Clone)]
pub struct Marked {
    pub decide: Arc<CommandHandler<Account>>,
    pub failing: Arc<Mutex<HashSet<MessageId>>>,
    pub deadly: Arc<Mutex<HashSet<MessageId>>>,
    pub dying: Arc<Notify>,
    /// Each message of these accounts reports that it has begun, and waits for a permit.
    pub waiting: Arc<Mutex<HashMap<&'static str, Arc<Semaphore>>>>,
    pub begun: Arc<Notify>,
    pub handled: Arc<Mutex<Vec<MessageId>>>,
    /// A process of the test's own, so that deliveries of other tests do not count.
    pub process: Process,
}

impl Marked {
    pub fn new(store: &Store, bug: Option<PlantedBug>) -> Self {
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

    pub fn fail(&self, message: &Message) {
        self.failing.lock().unwrap().insert(message.id);
    }

    pub fn wait_in(&self, account: &'static str) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(0));
        self.waiting.lock().unwrap().insert(account, Arc::clone(&permits));
        permits
    }

    pub fn times_handled(&self, message: &Message) -> u64 {
        self.handled.lock().unwrap().iter().filter(|id| **id == message.id).count() as u64
    }

    pub fn mend(&self) {
        self.failing.lock().unwrap().clear();
    }

    pub async fn start(&self, store: &Store, on_failure: OnFailure) -> ConsumerHandle {
        self.start_with(store, on_failure, |consumer| consumer).await
    }

    pub async fn start_with(
        &self,
        store: &Store,
        on_failure: OnFailure,
        settings: impl FnOnce(Consumer<Self>) -> Consumer<Self>,
    ) -> ConsumerHandle {
        let consumer = Consumer::new("account:command", self.clone()).concurrency(4).on_failure(on_failure);
        // Most starts begin at a checkpoint, so that every test of letters is one of checkpoints too.
        let consumer = consumer.checkpoint_letters_every(3);
        settings(consumer.in_process(&self.process)).start(store).await.unwrap()
    }

    /// Starts all members of a group of this size.
    pub async fn start_group(
        &self,
        store: &Store,
        on_failure: OnFailure,
        size: u16,
        bug: Option<ConsumerBug>,
    ) -> Vec<ConsumerHandle> {
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
            // For the tests, both kinds of failure are equal.
            assert!(message.position.get() % 2 == 1, "a planted panic");
            return Err("a planted failure".into());
        }
        let outcome = self.decide.carry_out(message).await?;
        self.handled.lock().unwrap().push(message.id);
        Ok(outcome)
    }
}

/// The consumer with a planted bug, if one is given.
pub fn planted(consumer: Consumer<Marked>, bug: Option<ConsumerBug>) -> Consumer<Marked> {
    match bug {
        Some(bug) => consumer.plant(bug),
        None => consumer,
    }
}
