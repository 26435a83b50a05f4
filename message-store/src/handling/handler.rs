//! Handlers: functions of any kind that are called for each message.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::handling::Context;
use crate::{Message, MessageId, Outcome, Result, Source};

/// Handles the messages of a category, for example as a process manager or with I/O. A
/// [`CommandHandler`](crate::handling::CommandHandler) is a handler too, and is simpler if a decision needs only the
/// state of one entity.
///
/// ```
/// use async_trait::async_trait;
/// use message_store::handling::{Context, Handler};
/// use message_store::{Append, Json, Message, NewMessage, Outcome, Source, StreamName};
///
/// struct Greet;
///
/// #[async_trait]
/// impl Handler for Greet {
///     fn name(&self) -> &'static str { "Greet" }
///     fn message_types(&self) -> Vec<&'static str> { vec!["Opened"] }
///     async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source> {
///         let greeting = NewMessage::new("SendGreeting", Json::parse(r#"{"text":"Welcome"}"#)?);
///         let id = message.stream.id().unwrap_or("unknown");
///         let mail = StreamName::new(format!("mail:command-{id}"))?;
///         Ok(context.write("greeting", Append::to(mail).message(greeting)).await?)
///     }
/// }
/// ```
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The handler's name, which its author chooses. The ids of the messages that it writes are derived from the name,
    /// and their metadata contains it. Do not change it later: under another name, the handler writes again for
    /// messages that were handled. A handler that wraps another one returns the name of the other. Each handler of a
    /// category needs its own name: a process refuses to start a second handler of the same name.
    fn name(&self) -> &'static str;

    /// The message types that the handler knows, for the start-up report. The consumer also delivers messages of other
    /// types: the handler returns [`Outcome::Unhandled`] for them.
    fn message_types(&self) -> Vec<&'static str>;

    /// Checks the handler, such as its [upcasters](crate::Upcaster). A consumer calls it before it reads anything. A
    /// handler that wraps another one calls it of the other.
    ///
    /// # Errors
    /// Any error: the consumer does not start.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Handles a message, which may arrive several times and late. Messages that the handler writes through `context`
    /// are written once. Any other effect may happen again with each delivery.
    ///
    /// # Errors
    /// An error means that the message was not handled. After a transient [`Error`](crate::Error), or after a version
    /// conflict while the stream makes progress, the consumer tries again; a [`Fault`](crate::handling::Fault) says when.
    /// After any other error,
    /// [`OnFailure`](crate::consumer::OnFailure) decides what happens to the message.
    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source>;

    /// Handles a message that was erased ([`Erasing`](crate::operations::Erasing)): its data is gone. The default ignores
    /// it.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    async fn handle_erased(&self, _message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        Ok(Outcome::Ignored)
    }

    /// The repeats among messages that were read and not delivered yet: those that were certainly handled before, with
    /// their outcomes. The consumer counts the outcomes, and does not deliver these messages.
    ///
    /// A consumer that starts may read many messages that were handled, and one query for all of them is faster than
    /// one for each. So the consumer asks for the batches after its start, until a batch has no repeats. The default
    /// finds none: then `handle` recognises each of them.
    ///
    /// # Errors
    /// After an error, all of the messages are delivered.
    async fn repeats(&self, _messages: &[Message]) -> Result<HashMap<MessageId, Outcome>, Source> {
        Ok(HashMap::new())
    }
}
