//! Delivering a message as often as allowed.

use super::SetAside;
use super::time_outs::store_error;
use crate::consumer::PlantedBug;
use crate::consumer::pause::Pause;
use crate::handling::{Contention, Handler, wait};
use crate::{Error, Message, Outcome, Result, Source, StreamName, chain};

/// How often a message was delivered in vain, and what its handler said last.
pub(super) type Failure = (u32, Source);

/// Why a message is delivered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cause {
    /// The consumer has come to its position.
    Position,
    /// Its letter asks for it. A letter under way cannot be discarded.
    Letter,
}

/// The failed attempts of one delivery.
struct Failures {
    /// Those that count against the message.
    count: u32,
    contention: Contention,
    /// The stream to which another writer was quicker.
    contended: Option<StreamName>,
    pause: Pause,
    time_outs: Pause,
}

/// What follows from a failed attempt.
enum Verdict {
    Again,
    /// The fault is the store's, and does not pass.
    OfTheStore,
    /// The fault is the message's.
    OfTheMessage,
}

impl SetAside {
    /// Delivers a message as often as allowed; what the last attempt said. What passes with the store is not the
    /// message's fault.
    ///
    /// # Errors
    /// [`Error::Handler`] when the store's fault does not pass.
    pub(super) async fn deliver<H: Handler>(
        &self,
        handler: &H,
        message: &Message,
        cause: Cause,
    ) -> Result<Result<Outcome, Failure>> {
        match self.attempt(handler, message).await {
            Ok(outcome) => Ok(Ok(outcome)),
            Err(error) => self.deliver_again(handler, message, cause, error).await,
        }
    }

    /// Goes on after a first attempt that has failed.
    async fn deliver_again<H: Handler>(
        &self,
        handler: &H,
        message: &Message,
        cause: Cause,
        mut error: Source,
    ) -> Result<Result<Outcome, Failure>> {
        let mut failures = Failures {
            count: 0,
            contention: Contention::default(),
            contended: None,
            pause: Pause::new(self.pace.retries),
            time_outs: Pause::new(self.max_attempts),
        };
        loop {
            match self.judge(&mut failures, &error, message).await {
                Verdict::Again => {}
                Verdict::OfTheStore => return Err(Error::handler(message, error)),
                Verdict::OfTheMessage => {
                    // It says nothing of the next message.
                    self.time_outs.end();
                    return Ok(Err((failures.count, error)));
                }
            }
            // Between two attempts it may have been set aside and given up, by way of another process.
            if cause == Cause::Position {
                self.refresh_now().await?;
                if let Some(outcome) = self.keep_back(message).await? {
                    return Ok(Ok(outcome));
                }
            }
            error = match self.attempt(handler, message).await {
                Ok(outcome) => return Ok(Ok(outcome)),
                Err(error) => error,
            };
        }
    }

    /// Whether to try again, after a pause where one is due.
    async fn judge(&self, failures: &mut Failures, error: &Source, message: &Message) -> Verdict {
        let store_error = store_error(&**error);
        // Another writer was quicker: as long as the stream makes progress, that is no fault of the message.
        if let Some(Error::WrongExpectedVersion { stream, actual, .. }) = store_error {
            if failures.contended.replace(stream.clone()).is_some_and(|before| before != *stream) {
                // It has gone on to another stream.
                failures.contention.progressed();
            }
            if wait(failures.contention.pause(*actual)).await {
                return Verdict::Again;
            }
        }
        let timed_out = matches!(store_error, Some(Error::TimedOut { .. }));
        if self.passes(store_error, message).await {
            return if failures.pause.again(error).await { Verdict::Again } else { Verdict::OfTheStore };
        }
        failures.count += 1;
        // A time-out alone proves nothing of the message, also where other failures would stop the consumer at once.
        if failures.count >= self.max_attempts || (!self.is_on() && !timed_out) {
            return Verdict::OfTheMessage;
        }
        if timed_out {
            // Others have time to show whether it is this message or the store.
            failures.time_outs.again(error).await;
        } else {
            let (message, attempts) = (message.reference(), failures.count);
            tracing::warn!(%message, attempts, error = chain(&**error), "delivering it again");
        }
        Verdict::Again
    }

    /// Whether what a message failed of passes with the store.
    async fn passes(&self, error: Option<&Error>, message: &Message) -> bool {
        match error {
            Some(Error::TimedOut { .. }) => {
                self.has(PlantedBug::EveryTimeOutPasses)
                    || self.time_outs.are_the_stores(&*self.letters.store, message).await
            }
            error => error.is_some_and(Error::is_transient),
        }
    }
}
