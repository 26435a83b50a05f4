//! Handlers: anything that is done for a message.

use async_trait::async_trait;

use crate::handling::Context;
use crate::{Message, Outcome, Source};

/// Does something for each message: process managers, I/O. A [`CommandHandler`](crate::handling::CommandHandler) is a
/// handler too, and the simpler choice where a decision needs nothing but the state of one entity.
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
///         let id = message.stream.id().unwrap_or("nobody");
///         let mail = StreamName::new(format!("mail:command-{id}"))?;
///         Ok(context.write("greeting", Append::to(mail).message(greeting)).await?)
///     }
/// }
/// ```
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Its name, which its author gives (a handler that wraps another one answers the other's name): the ids of what it
    /// writes are derived from it, and its messages carry it. It belongs to what is stored: with another name, messages
    /// that were handled are written for anew. Of two handlers of one category each needs a name of its own; a process
    /// refuses to start the second one.
    fn name(&self) -> &'static str;

    /// The message types it handles, for the start-up report. It is given the others too, and answers
    /// [`Outcome::Unhandled`].
    fn message_types(&self) -> Vec<&'static str>;

    /// Handles a message, which may be given to it more than once, and late. What it writes through the context is
    /// written once; what it does elsewhere is its own concern.
    ///
    /// # Errors
    /// Whatever keeps the message from being handled. A transient [`Error`](crate::Error) is tried again, and so is a
    /// version conflict while the stream makes progress; for any other, [`OnFailure`](crate::consumer::OnFailure) says
    /// what becomes of the message.
    async fn handle(&self, message: &Message, context: &Context<'_>) -> Result<Outcome, Source>;
}
