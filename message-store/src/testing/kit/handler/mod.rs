//! Given, when, then: tests of a handler.

mod written;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::difference::assert_same;
use super::past::{run_apart, send};
use super::read_model::GivenMessages;
use super::storage::message;
use crate::handling::{Context, Handler};
use crate::store::TimerQuery;
use crate::testing::FaultyStore;
use crate::{MessageId, MessageStore, NewMessage, Outcome, Read, Source, StreamName, connect};
use written::{Dues, Written};
pub use written::{WrittenTo, written_to};

/// The messages before, the handler, and the message that it handles.
#[must_use = "say then(written)"]
pub struct WhenHandled {
    given: GivenMessages,
    handler: Arc<dyn Handler>,
    stream: StreamName,
    message: NewMessage,
}

impl GivenMessages {
    /// Sets the handler, and the message that it handles.
    pub fn when_handled(self, handler: impl Handler, stream: &str, received: &impl Serialize) -> WhenHandled {
        WhenHandled {
            given: self,
            handler: Arc::new(handler),
            stream: StreamName::new(stream).unwrap(),
            message: message(received, &[]),
        }
    }
}

impl WhenHandled {
    /// Checks that the handler writes these messages, and no others, through its [`Context`], and that afterwards the timers
    /// wait that are said ([`WrittenTo::by_timer`]), and no others. Every case also checks that they are written and set
    /// once:
    ///
    /// - when the message is delivered twice;
    /// - when the answer of each write is lost, and the message is delivered again;
    /// - when the handler fails at the first message of each type, and the message is delivered again.
    ///
    /// The handler runs several times, so what it does outside the store happens several times.
    ///
    /// ```
    /// # use async_trait::async_trait;
    /// # use message_store::handling::{Context, Handler};
    /// # use message_store::{Append, Message, NewMessage, Outcome, Source, StreamName};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] enum Event { Opened { holder: String } }
    /// # #[derive(Serialize)] enum Mail { SendGreeting { to: String } }
    /// # struct Greet;
    /// # #[async_trait]
    /// # impl Handler for Greet {
    /// #     fn name(&self) -> &'static str { "Greet" }
    /// #     fn message_types(&self) -> Vec<&'static str> { vec!["Opened"] }
    /// #     async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
    /// #         let Some(Event::Opened { holder }) = message.decode_variant()? else { return Ok(Outcome::Unhandled) };
    /// #         let greeting = NewMessage::from_variant(&Mail::SendGreeting { to: holder })?;
    /// #         Ok(context.write("greeting", Append::to(StreamName::new("mail:command-7")?).message(greeting)).await?)
    /// #     }
    /// # }
    /// use message_store::testing::{given_messages, written_to};
    ///
    /// given_messages()
    ///     .when_handled(Greet, "account-7", &Event::Opened { holder: "Ann".into() })
    ///     .then([written_to("mail:command-7", &Mail::SendGreeting { to: "Ann".into() })]);
    /// ```
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = WrittenTo>) {
        let what = format!("what {} writes for {}", self.handler.name(), self.message.message_type);
        let mut all = Written::default();
        expected.into_iter().for_each(|written| all.add(written));
        let (types, dues) = (all.message_types(), all.dues());
        for (way, written) in run_apart(move || async move { self.every_way(&types, &dues).await }) {
            match written {
                Ok(written) => assert_same(&written, &all, format!("{way}, {what}")),
                Err(error) => panic!("{way}, {what}: the handler fails: {error}"),
            }
        }
    }

    async fn every_way(&self, types: &BTreeSet<String>, dues: &Dues) -> Vec<(String, Result<Written, Source>)> {
        let mut ran = Vec::new();
        ran.push(("delivered once".to_owned(), self.run(dues, None).await));
        ran.push(("delivered twice".to_owned(), self.run(dues, Some(&|_| {})).await));
        let lost = self.run(dues, Some(&|store| store.lose_answers(u32::MAX))).await;
        ran.push(("when the answer of each write is lost".to_owned(), lost));
        for message_type in types {
            let written = self.run(dues, Some(&|store| store.refuse_appends_of(message_type, u32::MAX))).await;
            ran.push((format!("after a failure at {message_type}"), written));
        }
        ran
    }

    /// Delivers the message, also an earlier time if this plants the faults of that delivery. Returns what the handler has
    /// written for it, and the timers that wait.
    async fn run(&self, dues: &Dues, earlier: Option<&(dyn Fn(&FaultyStore) + Sync)>) -> Result<Written, Source> {
        let faulty = FaultyStore::new(&connect("sqlite::memory:").await.unwrap());
        let store: Arc<dyn MessageStore> = faulty.clone();
        let begun = Instant::now();
        self.given.write(&*store).await;
        // Each run has a message of its own: the handler may remember the others.
        let received = send(&*store, &self.stream, self.message.clone().with_id(MessageId::new())).await;
        let handle = async || {
            let context = Context::new(&store, self.handler.name(), &received);
            self.handler.handle(&received, &context).await
        };
        if let Some(plant) = earlier {
            plant(&faulty);
            // A fault may fail it: the delivery after it must not.
            let _ = handle().await;
            faulty.lose_answers(0);
            faulty.refuse_appends_of("", 0);
        }
        let _: Outcome = handle().await?;
        let mut written = Written::default();
        for message in store.read_all(Read::default()).await.unwrap().messages {
            if message.decode_metadata().follows(&received, store.store_id()) {
                written.add_message(&message.stream, message.message_type, message.data);
            }
        }
        let timers = store.timers().expect("a store in memory has timers");
        for timer in timers.list(TimerQuery::new().limit(usize::MAX)).await.unwrap() {
            written.add_timer(timer, dues, begun);
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests;
