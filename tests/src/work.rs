//! A handler that does with the messages of each account what a test says.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use message_store::consumer::{Consumer, DeadLetters, Process};
use message_store::handling::{Context, Fault, Handler};
use message_store::{Message, MessageId, MessageStore, Outcome, Source};

/// What is done with the messages of an account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Does {
    /// The handler never returns.
    Hangs,
    /// It returns a passing fault.
    Waits,
    /// It takes so long.
    Takes(Duration),
    /// It returns an error whose text panics.
    FailsOddly,
}

#[derive(Clone, Default)]
pub struct Work {
    does: Arc<Mutex<HashMap<String, Does>>>,
    handled: Arc<Mutex<Vec<(MessageId, String)>>>,
    /// The number of messages under way, and the greatest number so far.
    under_way: Arc<Mutex<(usize, usize)>>,
}

/// A message is under way until this is dropped.
struct UnderWay(Arc<Mutex<(usize, usize)>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
    }
}

impl Work {
    pub fn set(&self, account: &str, does: Does) {
        self.does.lock().unwrap().insert(account.to_owned(), does);
    }

    pub fn mend(&self) {
        self.does.lock().unwrap().clear();
    }

    /// The greatest number of messages that were under way at the same time since the last call.
    pub fn most_under_way(&self) -> usize {
        let mut under_way = self.under_way.lock().unwrap();
        let now = under_way.0;
        std::mem::replace(&mut under_way.1, now)
    }

    fn begin(&self) -> UnderWay {
        let mut under_way = self.under_way.lock().unwrap();
        under_way.0 += 1;
        under_way.1 = under_way.1.max(under_way.0);
        UnderWay(Arc::clone(&self.under_way))
    }

    pub fn handled(&self) -> usize {
        self.handled.lock().unwrap().len()
    }

    pub fn handled_of(&self, account: &str) -> usize {
        self.handled.lock().unwrap().iter().filter(|(_, of)| of == account).count()
    }

    pub fn has_handled(&self, message: &Message) -> bool {
        self.handled.lock().unwrap().iter().any(|(id, _)| *id == message.id)
    }

    /// A consumer of the commands, as in a process of its own.
    pub fn consumer(&self) -> Consumer<Self> {
        Consumer::new("account:command", self.clone()).identifier("w").in_process(&Process::default())
    }

    pub fn letters(store: &Arc<dyn MessageStore>) -> DeadLetters {
        DeadLetters::of(store, "account:command", Some("w")).unwrap()
    }
}

#[derive(Debug)]
struct Odd;

impl std::fmt::Display for Odd {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no text")
    }
}

impl std::error::Error for Odd {}

#[async_trait]
impl Handler for Work {
    fn name(&self) -> &'static str {
        "Work"
    }

    fn message_types(&self) -> Vec<&'static str> {
        vec!["Deposit"]
    }

    async fn handle(&self, message: &Message, _: &Context<'_>) -> Result<Outcome, Source> {
        let _under_way = self.begin();
        let account = message.stream.cardinal_id().unwrap_or_default().to_owned();
        let does = self.does.lock().unwrap().get(&account).copied();
        match does {
            None => {}
            Some(Does::Hangs) => std::future::pending().await,
            Some(Does::Waits) => return Err(Fault::passing("away").into()),
            Some(Does::Takes(time)) => tokio::time::sleep(time).await,
            Some(Does::FailsOddly) => return Err(Odd.into()),
        }
        // A message that waited for long without its data has it again.
        assert!(!message.data.is_empty(), "the message has its data");
        self.handled.lock().unwrap().push((message.id, account));
        Ok(Outcome::Ignored)
    }
}
