//! The delivery of messages by their position.

use std::collections::HashMap;
use std::sync::Arc;

use super::SetAside;
use super::attempt::catch_panic;
use super::attempts::Cause;
use crate::consumer::deliver::Deliver;
use crate::handling::Handler;
use crate::{Error, Message, MessageId, Outcome, Result, chain};

/// Delivers messages to the handler, and applies the consumer's policy to those that fail.
pub(in crate::consumer) struct Delivery<H> {
    pub(in crate::consumer) handler: Arc<H>,
    pub(in crate::consumer) set_aside: Arc<SetAside>,
}

impl<H: Handler> Deliver for Delivery<H> {
    fn name(&self) -> &'static str {
        self.handler.name()
    }

    fn message_types(&self) -> Vec<&'static str> {
        self.handler.message_types()
    }

    async fn deliver(&self, message: &Message) -> Result<Outcome> {
        let set_aside = &self.set_aside;
        if let Some(outcome) = set_aside.outcome_without_delivery(message).await? {
            return Ok(outcome);
        }
        match set_aside.deliver(&*self.handler, message, Cause::Position).await? {
            Ok(outcome) => Ok(outcome),
            Err(failure) if set_aside.is_on() || failure.again.is_some() => {
                set_aside.set_aside(message, &failure).await
            }
            Err(failure) => Err(Error::handler(message, failure.error)),
        }
    }

    async fn repeats(&self, messages: &[Message]) -> HashMap<MessageId, Outcome> {
        catch_panic(self.handler.repeats(messages)).await.unwrap_or_else(|error| {
            let (handler, error) = (self.name(), chain(&*error));
            tracing::warn!(target: "message_store::consumer", handler, error, "looking for repeats failed; the messages are delivered");
            HashMap::new()
        })
    }
}
