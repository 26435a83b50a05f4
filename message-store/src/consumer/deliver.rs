//! What the loop of a consumer does with a message.

use crate::{Message, Outcome, Result};

/// Delivers messages to a handler. What a handler writes with is made where it is called, not here.
pub(super) trait Deliver: Send + Sync + 'static {
    /// The handler's name.
    fn name(&self) -> &'static str;

    /// The types that are delivered, for the start-up report.
    fn message_types(&self) -> Vec<&'static str>;

    /// Delivers a message, which may have been delivered before.
    ///
    /// # Errors
    /// [`Error::Handler`](crate::Error::Handler) when the handler has failed, as often as it may; the store's errors.
    fn deliver(&self, message: &Message) -> impl Future<Output = Result<Outcome>> + Send;
}
