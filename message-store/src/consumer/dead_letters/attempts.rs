//! The attempts of one delivery.

use super::SetAside;
use super::time_outs::store_error;
use crate::consumer::PlantedBug;
use crate::consumer::backoff::Backoff;
use crate::consumer::outages::Call;
use crate::error::{Again, Class};
use crate::handling::{Contention, Handler, wait};
use crate::store::Fence;
use crate::{Error, Message, Outcome, Position, Result, Source, StreamName, Version, chain};

/// A delivery that failed.
#[derive(Debug)]
pub(in crate::consumer) struct Failure {
    /// The number of failed attempts.
    pub(in crate::consumer) attempts: u32,
    /// The error of the last attempt.
    pub(in crate::consumer) error: Source,
    /// The handler asked for another delivery.
    pub(in crate::consumer) again: Option<Again>,
}

/// The reason for a delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cause {
    /// The consumer has reached the position of the message.
    Position,
    /// The message's letter requests it. The letter cannot be discarded while the delivery is under way.
    Letter,
}

/// The failed attempts of one delivery.
struct Failures<'a> {
    /// The attempts that count towards the consumer's `max_attempts`.
    count: u32,
    contention: Contention,
    /// The stream of the last contention.
    contended: Option<StreamName>,
    call: Call<'a>,
    backoff: Backoff,
}

/// The decision after a failed attempt.
enum Verdict {
    TryAgain,
    /// The store is at fault, and the outage has reached its limit.
    StoreFault,
    /// The message is at fault, and no attempt is left.
    MessageFault,
    /// The handler asks for another delivery.
    Again(Again),
}

/// The number of conflicts at unseen versions that count as progress of the stream.
const UNSEEN: u32 = 100;

/// A version for a conflict whose version is not seen.
fn unseen_version(losses: u32) -> Version {
    Version::at(Position::new(losses.min(UNSEEN).into()))
}

impl SetAside {
    /// Delivers a message, and tries again after a failed attempt if the settings allow it. Returns the outcome, or the
    /// failure if the message is at fault.
    ///
    /// # Errors
    /// [`Error::Handler`] when the store is at fault and the outage has reached its limit; the errors of reading and
    /// writing letters.
    pub(super) async fn deliver<H: Handler>(
        &self,
        handler: &H,
        message: &Message,
        cause: Cause,
    ) -> Result<Result<Outcome, Failure>> {
        // All attempts have the fence with which the delivery began.
        let fence = self.share.fence(&message.stream)?;
        match self.attempt(handler, message, fence.clone()).await {
            Ok(outcome) => Ok(Ok(outcome)),
            Err(error) => self.deliver_again(handler, message, (cause, fence), error).await,
        }
    }

    /// Tries again after the first attempt has failed.
    async fn deliver_again<H: Handler>(
        &self,
        handler: &H,
        message: &Message,
        (cause, fence): (Cause, Option<Fence>),
        mut error: Source,
    ) -> Result<Result<Outcome, Failure>> {
        let mut failures = Failures {
            count: 0,
            contention: Contention::default(),
            contended: None,
            call: self.outages.call(),
            backoff: Backoff::new(),
        };
        loop {
            // The message has another owner by now, which delivers it.
            if let (Some(Class::SlotLost), Some(fence)) = (Class::of(&*error), &fence) {
                return Err(fence.lost());
            }
            match self.judge(&mut failures, &error, message).await {
                Verdict::TryAgain => {}
                Verdict::StoreFault => return Err(Error::handler(message, error)),
                Verdict::MessageFault => {
                    // These time-outs were the fault of this message, so they must not count against the store.
                    self.time_outs.end();
                    return Ok(Err(Failure { attempts: failures.count, error, again: None }));
                }
                Verdict::Again(again) => {
                    return Ok(Err(Failure { attempts: failures.count, error, again: Some(again) }));
                }
            }
            // Another process may have set the message aside meanwhile, and an operator may have discarded it.
            if cause == Cause::Position {
                self.refresh().await?;
                if let Some(outcome) = self.outcome_without_delivery(message).await? {
                    return Ok(Ok(outcome));
                }
            }
            error = match self.attempt(handler, message, fence.clone()).await {
                Ok(outcome) => {
                    failures.call.answered();
                    return Ok(Ok(outcome));
                }
                Err(error) => error,
            };
        }
    }

    /// Decides whether to try again. If so, it pauses first when a pause is due.
    async fn judge(&self, failures: &mut Failures<'_>, error: &Source, message: &Message) -> Verdict {
        let class = Class::of(&**error);
        if let Some(Class::Again(again)) = class.filter(|_| !self.has(PlantedBug::AgainIsFinal)) {
            failures.count += 1;
            return Verdict::Again(again);
        }
        // Contention: as long as the stream makes progress, the message is not at fault.
        if class == Some(Class::Overtaken) {
            let (stream, actual) = match store_error(&**error) {
                Some(Error::WrongExpectedVersion { stream, actual, .. }) => (Some(stream.clone()), *actual),
                // A wrapper hides the version, so whether the stream makes progress is not seen.
                _ => (None, unseen_version(failures.contention.losses)),
            };
            let before = std::mem::replace(&mut failures.contended, stream);
            if before.is_some() && before != failures.contended {
                // The handler now fails at another stream, so it has got past the one before.
                failures.contention.progressed();
            }
            if wait(failures.contention.pause(actual)).await {
                return Verdict::TryAgain;
            }
        }
        let timed_out = matches!(class, Some(Class::TimedOut | Class::OverLimit));
        if self.is_store_fault(class, message).await {
            return if failures.call.again(&chain(&**error)).await { Verdict::TryAgain } else { Verdict::StoreFault };
        }
        failures.count += 1;
        if failures.count >= self.max_attempts || !self.is_on() {
            return Verdict::MessageFault;
        }
        if !timed_out {
            let (message, attempts) = (message.reference(), failures.count);
            tracing::warn!(target: "message_store::consumer", consumer = %self.positions, %message, attempts, error = chain(&**error), "delivering the message again");
        }
        // During the pause, time-outs of other messages can show that the store is at fault.
        tokio::time::sleep(failures.backoff.next()).await;
        Verdict::TryAgain
    }

    /// Whether the store, or a service that the handler needs, and not the message, is at fault for an error.
    async fn is_store_fault(&self, class: Option<Class>, message: &Message) -> bool {
        match class {
            Some(Class::TimedOut) => {
                // Under `Stop`, the message is not set aside, so it waits like during an outage.
                !self.is_on()
                    || self.has(PlantedBug::EveryTimeOutPasses)
                    || self.time_outs.is_store_fault(&*self.letters.store, message).await
            }
            // The handler's own limit says nothing of the store, however many messages reach it.
            Some(Class::OverLimit) => {
                !self.is_on()
                    || self.has(PlantedBug::EveryTimeOutPasses)
                    || !self.time_outs.answers(&*self.letters.store).await
            }
            class => class == Some(Class::Passing),
        }
    }
}
