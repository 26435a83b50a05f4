//! The status of a consumer, for those who do not own it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::GlobalPosition;
use crate::consumer::handled_through::HandledThroughReceiver;
use crate::consumer::outages::Outages;
use crate::consumer::{Outage, OutcomeCounts, StartupReport};

/// Shows what a consumer does. All clones show the same consumer, also after it has ended.
#[derive(Clone, Debug)]
pub struct ConsumerStatus {
    pub(super) startup_report: Arc<StartupReport>,
    pub(super) handled_through: HandledThroughReceiver,
    pub(super) counts: Arc<Mutex<OutcomeCounts>>,
    pub(super) outages: Outages,
}

impl ConsumerStatus {
    /// The settings with which the consumer started.
    pub fn startup_report(&self) -> &StartupReport {
        &self.startup_report
    }

    /// The global position up to which the consumer has handled all messages.
    pub fn handled_through(&self) -> GlobalPosition {
        self.handled_through.position()
    }

    /// The outcomes since the consumer started.
    pub fn counts(&self) -> OutcomeCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The outage that the consumer waits out, if calls to the store fail. `None` if all goes well.
    pub fn outage(&self) -> Option<Outage> {
        self.outages.current()
    }
}
