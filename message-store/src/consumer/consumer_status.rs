//! The status of a consumer, for those who do not own it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::GlobalPosition;
use crate::consumer::groups::OwnedSlots;
use crate::consumer::handled_through::HandledThroughReceiver;
use crate::consumer::outages::Outages;
use crate::consumer::waits::Waits;
use crate::consumer::{Outage, OutcomeCounts, Pause, StartupReport};
use crate::store::SlotRecord;

/// Shows what a consumer does. All clones show the same consumer, also after it has ended.
#[derive(Clone, Debug)]
pub struct ConsumerStatus {
    pub(super) startup_report: Arc<StartupReport>,
    pub(super) handled_through: HandledThroughReceiver,
    pub(super) counts: Arc<Mutex<OutcomeCounts>>,
    pub(super) outages: Outages,
    /// The slots of a member of an elastic group.
    pub(super) owned: Option<Arc<OwnedSlots>>,
    pub(super) paused: watch::Receiver<Option<Pause>>,
    pub(super) waits: Arc<Waits>,
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

    /// The slots that the consumer owns now, in order, if it is a member of an elastic group.
    pub fn slots(&self) -> Vec<u16> {
        self.owned.as_ref().map(|owned| owned.numbers()).unwrap_or_default()
    }

    /// The number of slots that the member owns, the number without an owner, and the longest time without an owner.
    pub(super) fn slot_counts(&self) -> Option<(usize, usize, Option<Duration>)> {
        let owned = self.owned.as_ref()?;
        let unowned = owned.group().slots.iter().filter(|slot| slot.owner.is_none()).count();
        Some((owned.numbers().len(), unowned, self.oldest_unowned_slot()))
    }

    /// The longest time for which a slot of the elastic group has no owner, as the member saw it last. `None` if each slot
    /// has one.
    pub fn oldest_unowned_slot(&self) -> Option<Duration> {
        let unowned = |slot: &SlotRecord| slot.owner.is_none().then_some(slot.owned_or_free_for);
        self.owned.as_ref()?.group().slots.iter().filter_map(unowned).max()
    }

    /// The longest time for which a slot of the elastic group has no owner, if that is longer than two leases. A member that
    /// runs would have claimed it.
    pub fn slots_stand_still_for(&self) -> Option<Duration> {
        let owned = self.owned.as_ref()?;
        self.oldest_unowned_slot().filter(|time| *time > owned.lease() * 2)
    }

    /// The time for which this member of an elastic group could not renew its lease, and the last error, if that is longer
    /// than the lease: then it has no slots.
    pub fn lease_not_kept(&self) -> Option<(Duration, String)> {
        self.owned.as_ref()?.lease_not_kept()
    }

    /// The outage that the consumer waits out, if calls to the store fail. `None` if all goes well.
    pub fn outage(&self) -> Option<Outage> {
        self.outages.current()
    }

    /// The pause, if an operator has [paused](super::Pauses) the consumer, as it read last.
    pub fn pause(&self) -> Option<Pause> {
        self.paused.borrow().clone()
    }

    /// How often the consumer found messages after it had waited for them: because a wake-up arrived, and because it looked
    /// without one. If no wake-up ever arrives, messages wait for the poll interval.
    pub fn found_after_waits(&self) -> (u64, u64) {
        self.waits.counts()
    }
}
