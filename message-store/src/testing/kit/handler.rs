//! Given, when, then: tests of a handler.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::difference::assert_same;
use super::past::{run_apart, send};
use super::read_model::GivenMessages;
use super::storage::message;
use crate::handling::{Context, Handler};
use crate::testing::FaultyStore;
use crate::{Json, MessageId, MessageStore, NewMessage, Outcome, Read, Source, StreamName, connect};

/// The messages before, the handler, and the message that it handles.
#[must_use = "say then(written)"]
pub struct WhenHandled {
    given: Vec<(StreamName, NewMessage)>,
    handler: Arc<dyn Handler>,
    stream: StreamName,
    message: NewMessage,
}

/// A message that a handler must write: [`written_to`].
#[derive(Clone, Debug)]
pub struct WrittenTo {
    stream: StreamName,
    message: NewMessage,
}

/// A message in a stream, for [`WhenHandled::then`].
pub fn written_to(stream: &str, value: &impl Serialize) -> WrittenTo {
    WrittenTo { stream: StreamName::new(stream).unwrap(), message: message(value, &[]) }
}

impl GivenMessages {
    /// Sets the handler, and the message that it handles.
    pub fn when_handled(self, handler: impl Handler, stream: &str, received: &impl Serialize) -> WhenHandled {
        WhenHandled {
            given: self.into_messages(),
            handler: Arc::new(handler),
            stream: StreamName::new(stream).unwrap(),
            message: message(received, &[]),
        }
    }
}

/// The types and data of the messages of each stream, in order.
type Streams = BTreeMap<String, Vec<(String, Json)>>;

impl WhenHandled {
    /// Checks that the handler writes these messages, and no others, through its [`Context`]. Every case also checks that
    /// they are written once:
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
        let (mut streams, mut types) = (Streams::new(), Vec::new());
        for WrittenTo { stream, message } in expected {
            types.push(message.message_type.clone());
            streams.entry(stream.as_str().to_owned()).or_default().push((message.message_type, message.data));
        }
        types.sort_unstable();
        types.dedup();
        for (way, written) in run_apart(move || async move { self.every_way(types).await }) {
            match written {
                Ok(written) => assert_same(&written, &streams, format!("{way}, {what}")),
                Err(error) => panic!("{way}, {what}: the handler fails: {error}"),
            }
        }
    }

    async fn every_way(&self, types: Vec<String>) -> Vec<(String, Result<Streams, Source>)> {
        let mut ran = Vec::new();
        ran.push(("delivered once".to_owned(), self.run(None).await));
        ran.push(("delivered twice".to_owned(), self.run(Some(&|_| {})).await));
        let lost = self.run(Some(&|store| store.lose_answers(u32::MAX))).await;
        ran.push(("when the answer of each write is lost".to_owned(), lost));
        for message_type in types {
            let written = self.run(Some(&|store| store.refuse_appends_of(&message_type, u32::MAX))).await;
            ran.push((format!("after a failure at {message_type}"), written));
        }
        ran
    }

    /// Delivers the message, also an earlier time if this plants the faults of that delivery. Returns what the handler has
    /// written for it.
    async fn run(&self, earlier: Option<&(dyn Fn(&FaultyStore) + Sync)>) -> Result<Streams, Source> {
        let faulty = FaultyStore::new(&connect("sqlite::memory:").await.unwrap());
        let store: Arc<dyn MessageStore> = faulty.clone();
        for (stream, message) in &self.given {
            send(&*store, stream, message.clone()).await;
        }
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
        let mut streams = Streams::new();
        for message in store.read_all(Read::default()).await.unwrap().messages {
            if message.decode_metadata().follows(&received, store.store_id()) {
                let written = (message.message_type, message.data);
                streams.entry(message.stream.as_str().to_owned()).or_default().push(written);
            }
        }
        Ok(streams)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use serde::{Deserialize, Serialize};

    use super::super::given_messages;
    use super::*;
    use crate::{Append, Message};

    #[derive(Serialize, Deserialize)]
    enum Event {
        Opened { holder: String },
    }

    #[derive(Serialize)]
    enum Mail {
        Greet { holder: String },
        Advertise {},
    }

    /// Writes two mails, and gives its writes these names.
    struct Mails<F>(F);

    #[async_trait]
    impl<F: Fn(&str) -> String + Send + Sync + 'static> Handler for Mails<F> {
        fn name(&self) -> &'static str {
            "Mails"
        }

        fn message_types(&self) -> Vec<&'static str> {
            vec!["Opened"]
        }

        async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
            let Some(Event::Opened { holder }) = message.decode_variant()? else { return Ok(Outcome::Unhandled) };
            let mail = |mail| -> crate::Result<Append> {
                Ok(Append::to(StreamName::new("mail-1")?).message(NewMessage::from_variant(&mail)?))
            };
            let _ = context.write(&(self.0)("greeting"), mail(Mail::Greet { holder })?).await?;
            Ok(context.write(&(self.0)("advertisement"), mail(Mail::Advertise {})?).await?)
        }
    }

    fn right() -> impl Handler {
        Mails(str::to_owned)
    }

    fn opened() -> Event {
        Event::Opened { holder: "Ann".to_owned() }
    }

    fn greeting() -> WrittenTo {
        written_to("mail-1", &Mail::Greet { holder: "Ann".to_owned() })
    }

    #[test]
    fn a_right_case_passes() {
        given_messages()
            .when_handled(right(), "account-1", &opened())
            .then([greeting(), written_to("mail-1", &Mail::Advertise {})]);
        given_messages().when_handled(right(), "account-1", &Mail::Advertise {}).then([]);
    }

    #[test]
    fn messages_from_before_do_not_count() {
        given_messages()
            .in_stream("mail-1", opened())
            .when_handled(right(), "account-1", &opened())
            .then([greeting(), written_to("mail-1", &Mail::Advertise {})]);
    }

    #[test]
    #[should_panic(expected = "delivered once, what Mails writes for Opened is not as expected")]
    fn a_message_that_is_not_expected_fails_the_case() {
        given_messages().when_handled(right(), "account-1", &opened()).then([greeting()]);
    }

    #[test]
    #[should_panic(expected = "delivered twice, what Mails writes for Opened is not as expected")]
    fn a_handler_that_writes_again_fails_the_case() {
        let writes = AtomicU64::new(0);
        let wrong = Mails(move |name: &str| format!("{name} {}", writes.fetch_add(1, Ordering::SeqCst)));
        given_messages()
            .when_handled(wrong, "account-1", &opened())
            .then([greeting(), written_to("mail-1", &Mail::Advertise {})]);
    }

    /// Remembers outside the store which messages it has begun to handle.
    struct Begun<H>(H, Mutex<HashSet<MessageId>>);

    #[async_trait]
    impl<H: Handler> Handler for Begun<H> {
        fn name(&self) -> &'static str {
            self.0.name()
        }

        fn message_types(&self) -> Vec<&'static str> {
            self.0.message_types()
        }

        async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
            let is_new = self.1.lock().unwrap().insert(message.id);
            if is_new { self.0.handle(message, context).await } else { Ok(Outcome::Ignored) }
        }
    }

    #[test]
    #[should_panic(expected = "when the answer of each write is lost, what Mails writes for Opened is not as expected")]
    fn a_handler_that_does_not_go_on_after_a_failure_fails_the_case() {
        given_messages()
            .when_handled(Begun(right(), Mutex::default()), "account-1", &opened())
            .then([greeting(), written_to("mail-1", &Mail::Advertise {})]);
    }
}
