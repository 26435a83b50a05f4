//! Handing out: starts the delivery of ready messages, up to the consumer's concurrency.

use std::sync::Arc;

use super::ConsumerLoop;
use crate::consumer::deliver::Deliver;
use crate::consumer::outages::Outages;
use crate::{Error, Message, Outcome, Result};

impl<D: Deliver> ConsumerLoop<D> {
    pub(super) fn hand_out_ready(&mut self) {
        while self.suspects.is_none()
            && self.handling.len() < self.pace.concurrency
            && let Some(message) = self.partitions.next()
        {
            let (delivery, outages) = (Arc::clone(&self.delivery), self.outages.clone());
            // `None` in the letter consumer: the redelivery takes a turn of its own.
            let set_aside = self.set_aside.clone();
            self.handling.spawn(async move {
                let _beside = match &set_aside {
                    Some(set_aside) => Some(set_aside.process.beside_others().await),
                    None => None,
                };
                let outcome = deliver(&*delivery, &message, &outages).await;
                (message, outcome)
            });
        }
    }
}

/// Delivers a message. An outage is waited out.
pub(super) async fn deliver(delivery: &impl Deliver, message: &Message, outages: &Outages) -> Result<Outcome> {
    let mut call = outages.call();
    loop {
        match delivery.deliver(message).await {
            // The delivery has waited already, and its error names the message.
            Err(error @ Error::Handler { .. }) => return Err(error),
            Err(error) if error.is_transient() && call.again(&error).await => {}
            Err(error) => return Err(Error::handler(message, error.into())),
            Ok(outcome) => {
                call.answered();
                return Ok(outcome);
            }
        }
    }
}
