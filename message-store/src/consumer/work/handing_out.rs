//! Handing messages out, as many at a time as the consumer may.

use std::sync::Arc;

use super::Work;
use crate::consumer::attempt::attempt;
use crate::consumer::pause::Pause;
use crate::handling::Handler;
use crate::{Error, Message, MessageStore, Outcome, Result};

impl<H: Handler> Work<H> {
    pub(super) fn hand_out_what_is_ready(&mut self) {
        while self.suspects.is_none()
            && self.handling.len() < self.pace.concurrency
            && let Some(message) = self.partitions.next()
        {
            self.hand_out(message);
        }
    }

    fn hand_out(&mut self, message: Message) {
        let (handler, store, retries) = (Arc::clone(&self.handler), Arc::clone(&self.source.store), self.pace.retries);
        // (The message of a letter is counted where it is delivered again.)
        let set_aside = self.set_aside.clone();
        self.handling.spawn(async move {
            let _beside = match &set_aside {
                Some(set_aside) => Some(set_aside.process.beside_others().await),
                None => None,
            };
            let outcome = handle(&*handler, &store, &message, retries).await;
            (message, outcome)
        });
    }
}

pub(super) async fn handle<H: Handler>(
    handler: &H,
    store: &Arc<dyn MessageStore>,
    message: &Message,
    retries: u32,
) -> Result<Outcome> {
    let mut pause = Pause::new(retries);
    loop {
        let error = match attempt(handler, store, message).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        match error.downcast::<Error>() {
            // What could be tried again was: it names the message.
            Ok(error) if matches!(*error, Error::Handler { .. }) => return Err(*error),
            Ok(error) if error.is_transient() && pause.again(&error).await => {}
            Ok(error) => return Err(Error::handler(message, error)),
            Err(error) => return Err(Error::handler(message, error)),
        }
    }
}
