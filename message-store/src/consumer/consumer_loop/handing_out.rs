//! Handing out: starts the delivery of ready messages, up to the consumer's concurrency.

use std::sync::Arc;

use tokio::task::AbortHandle;

use super::ConsumerLoop;
use crate::consumer::dead_letters::SetAside;
use crate::consumer::deliver::Deliver;
use crate::consumer::outages::Outages;
use crate::consumer::partitions::HandedOut;
use crate::{Error, Message, MessageId, MessageStore, Outcome, Result};

impl<D: Deliver> ConsumerLoop<D> {
    /// Requests the deliveries of messages that were set aside until now. An outage is waited out.
    pub(super) fn request_due(&self) -> impl Future<Output = Result<()>> + Send + use<D> {
        let (set_aside, outages) = (self.set_aside.clone(), self.outages.clone());
        async move {
            let Some(set_aside) = set_aside else { return Ok(()) };
            let mut call = outages.call();
            loop {
                match set_aside.request_due().await {
                    Err(error @ Error::HistoryChanged { .. }) => return Err(error),
                    Err(Error::SlotLost { slot, epoch, .. }) => {
                        set_aside.report_lost(slot, epoch);
                        return Ok(());
                    }
                    Err(error) if error.is_transient() && call.again(&error).await => {}
                    Err(error) => return Err(error),
                    Ok(()) => {
                        call.answered();
                        return Ok(());
                    }
                }
            }
        }
    }

    pub(super) fn hand_out_ready(&mut self) {
        while !self.paused.is_paused()
            && self.suspects.is_none()
            && self.handling.len() < self.pace.concurrency
            && let Some(next) = self.partitions.next()
        {
            self.hand_out(next);
        }
    }

    /// Starts a delivery beside others.
    pub(super) fn hand_out(&mut self, next: HandedOut) {
        let (delivery, outages) = (Arc::clone(&self.delivery), self.outages.clone());
        // `None` in the letter consumer: the redelivery takes a turn of its own.
        let set_aside = self.set_aside.clone();
        let (slot, epoch, id) = (next.slot, next.epoch, next.message.id);
        let store = Arc::clone(&self.subscription.store);
        let task = self.handling.spawn(async move {
            let mut next = next;
            let _beside = match &set_aside {
                Some(set_aside) => Some(set_aside.process.beside_others().await),
                None => None,
            };
            let outcome = match make_whole(&*store, &mut next, &outages).await {
                Ok(true) => deliver(&*delivery, &next.message, &outages).await,
                Ok(false) => Ok(Outcome::Ignored),
                Err(error) => Err(error),
            };
            (next, outcome)
        });
        self.note_task(id, (slot, epoch, task));
    }

    /// Keeps the task of a delivery, which ends when a member loses its slot.
    pub(super) fn note_task(&mut self, id: MessageId, task: (u16, i64, AbortHandle)) {
        if self.role.owned().is_some() {
            self.aborts.insert(id, task);
        }
    }
}

/// Reads the data and metadata of a message that waited for long without them. An outage is waited out. Returns `false` if
/// the message is no longer in the store.
pub(super) async fn make_whole(store: &dyn MessageStore, next: &mut HandedOut, outages: &Outages) -> Result<bool> {
    let mut call = outages.call();
    while !next.is_whole {
        match store.message(next.message.id).await {
            Err(error) if error.is_transient() && call.again(&error).await => {}
            Err(error) => return Err(error),
            Ok(Some(found)) => (next.message, next.is_whole) = (found, true),
            Ok(None) => {
                tracing::warn!(target: "message_store::consumer", message = %next.message.reference(), "a message that waited to be handled is no longer in the store");
                return Ok(false);
            }
        }
    }
    call.answered();
    Ok(true)
}

/// Waits until a message that was set aside may be due. `None` without letters.
pub(super) async fn until_due(set_aside: Option<&SetAside>) -> Option<()> {
    set_aside?.until_due().await;
    Some(())
}

/// Delivers a message. An outage is waited out.
pub(super) async fn deliver(delivery: &impl Deliver, message: &Message, outages: &Outages) -> Result<Outcome> {
    let mut call = outages.call();
    loop {
        match delivery.deliver(message).await {
            // The delivery has waited already, and its error names the message. A slot that is lost is no fault of it.
            Err(error @ (Error::Handler { .. } | Error::SlotLost { .. })) => return Err(error),
            Err(error) if error.is_transient() && call.again(&error).await => {}
            Err(error) => return Err(Error::handler(message, error.into())),
            Ok(outcome) => {
                call.answered();
                return Ok(outcome);
            }
        }
    }
}
