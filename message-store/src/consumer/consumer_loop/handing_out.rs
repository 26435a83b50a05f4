//! Handing out: starts the delivery of ready messages, up to the consumer's concurrency.

use std::sync::Arc;

use super::ConsumerLoop;
use crate::consumer::deliver::Deliver;
use crate::consumer::pause::Pause;
use crate::{Error, Message, Outcome, Result};

impl<D: Deliver> ConsumerLoop<D> {
    pub(super) fn hand_out_ready(&mut self) {
        while self.suspects.is_none()
            && self.handling.len() < self.pace.concurrency
            && let Some(message) = self.partitions.next()
        {
            let (delivery, retries) = (Arc::clone(&self.delivery), self.pace.retries);
            // `None` in the letter consumer: the redelivery takes a turn of its own.
            let set_aside = self.set_aside.clone();
            self.handling.spawn(async move {
                let _beside = match &set_aside {
                    Some(set_aside) => Some(set_aside.process.beside_others().await),
                    None => None,
                };
                let outcome = deliver(&*delivery, &message, retries).await;
                (message, outcome)
            });
        }
    }
}

/// Delivers a message, and retries after transient errors.
pub(super) async fn deliver(delivery: &impl Deliver, message: &Message, retries: u32) -> Result<Outcome> {
    let mut pause = None;
    loop {
        match delivery.deliver(message).await {
            // The delivery has made all retries, and its error names the message.
            Err(error @ Error::Handler { .. }) => return Err(error),
            Err(error)
                if error.is_transient() && pause.get_or_insert_with(|| Pause::new(retries)).again(&error).await => {}
            result => return result.map_err(|error| Error::handler(message, error.into())),
        }
    }
}
