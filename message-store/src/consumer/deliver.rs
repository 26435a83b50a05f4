//! The interface between the loop of a consumer and the delivery of one message.

use std::collections::HashMap;

use crate::{Message, MessageId, Outcome, Result};

/// Delivers messages to a handler, and decides what happens after a failure. The implementation makes the handler's
/// context.
pub(super) trait Deliver: Send + Sync + 'static {
    /// The handler's name, for the start-up report.
    fn name(&self) -> &'static str;

    /// The message types that the handler knows, for the start-up report.
    fn message_types(&self) -> Vec<&'static str>;

    /// Delivers a message, which may have been delivered before.
    ///
    /// # Errors
    /// [`Error::Handler`](crate::Error::Handler) when the handler has failed in each of its attempts, and the errors of
    /// the store.
    fn deliver(&self, message: &Message) -> impl Future<Output = Result<Outcome>> + Send;

    /// The repeats among messages that were read, with their outcomes, as far as one look-up for all of them shows. They
    /// need no delivery.
    fn repeats(&self, messages: &[Message]) -> impl Future<Output = HashMap<MessageId, Outcome>> + Send;
}
