//! The slots that a member owns now, as its consumer, its letter consumer and its keeper see them.
//!
//! Problem: a slot is released while the letter consumer may be about to deliver one of its letters. Fix: a delivery of a
//! letter enters the slot, and a slot that is being released lets no further delivery enter. The release waits until
//! those that have entered have ended.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::ElasticGroup;
use crate::consumer::PlantedBug;
use crate::planted::Planted;
use crate::store::{Fence, GroupRecord, Membership, slot_of};
use crate::{Error, Message, MessageId, Result, StreamName};

#[derive(Debug)]
pub(in crate::consumer) struct OwnedSlots {
    member: Membership,
    count: u16,
    lease: Duration,
    pub(super) planted: Planted<PlantedBug>,
    slots: Mutex<BTreeMap<u16, Owned>>,
    /// The slots, with their epochs, that the consumer gave up since the keeper looked last.
    dropped: Mutex<Vec<(u16, i64)>>,
    /// Those that were found to be lost beside the consumer's loop, which must give them up.
    found_lost: Mutex<Vec<(u16, i64)>>,
    /// The member takes no further slots.
    is_leaving: AtomicBool,
    /// The group as the keeper saw it last.
    group: Mutex<Arc<GroupRecord>>,
    /// The last renewal of the lease, or the start of the keeper, and the last error since then.
    renewed: Mutex<(Instant, Option<String>)>,
    /// Counts changes of the slots.
    changes: watch::Sender<u64>,
    letters: Mutex<Letters>,
    /// Notified when a delivery of a letter has ended.
    left: Notify,
    /// Notified when there are letters to resume.
    resumed: Notify,
}

#[derive(Debug)]
struct Owned {
    epoch: i64,
    is_releasing: bool,
    letters_under_way: usize,
}

/// The letters that an earlier owner may have left half done.
#[derive(Debug, Default)]
struct Letters {
    to_resume: Vec<Message>,
    resuming: HashSet<MessageId>,
}

/// A letter is being delivered until this is dropped.
#[derive(Debug)]
pub(in crate::consumer) struct UnderWay {
    owned: Arc<OwnedSlots>,
    slot: u16,
    epoch: i64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OwnedSlots {
    /// No slot of `count` yet.
    pub(in crate::consumer) fn new(member: Membership, group: &ElasticGroup, planted: Planted<PlantedBug>) -> Self {
        Self {
            member,
            count: group.slots,
            lease: group.lease,
            planted,
            slots: Mutex::default(),
            dropped: Mutex::default(),
            found_lost: Mutex::default(),
            is_leaving: AtomicBool::new(false),
            group: Mutex::default(),
            renewed: Mutex::new((Instant::now(), None)),
            changes: watch::Sender::new(0),
            letters: Mutex::default(),
            left: Notify::new(),
            resumed: Notify::new(),
        }
    }

    pub(in crate::consumer) fn member(&self) -> &Membership {
        &self.member
    }

    /// The number of all slots of the group.
    pub(in crate::consumer) fn count(&self) -> u16 {
        self.count
    }

    /// The length of a lease.
    pub(in crate::consumer) fn lease(&self) -> Duration {
        self.lease
    }

    /// The group as the keeper saw it last.
    pub(in crate::consumer) fn group(&self) -> Arc<GroupRecord> {
        Arc::clone(&lock(&self.group))
    }

    pub(super) fn set_group(&self, group: GroupRecord) {
        *lock(&self.group) = Arc::new(group);
    }

    /// The lease was renewed by a call that began at this time.
    pub(super) fn renewed(&self, begun: Instant) {
        *lock(&self.renewed) = (begun, None);
    }

    /// A call of the keeper failed. Returns the time since the last renewal.
    pub(super) fn look_failed(&self, error: &Error) -> Duration {
        let mut renewed = lock(&self.renewed);
        renewed.1 = Some(error.to_string());
        renewed.0.elapsed()
    }

    /// The time for which the keeper could not keep the lease, and the reason, if that is longer than a lease.
    pub(in crate::consumer) fn lease_not_kept(&self) -> Option<(Duration, String)> {
        let (since, error) = &*lock(&self.renewed);
        let time = since.elapsed();
        let reason = || error.clone().unwrap_or_else(|| "the store does not answer".to_owned());
        (time > self.lease).then(|| (time, reason()))
    }

    /// The numbers of the slots that the member owns, in order.
    pub(in crate::consumer) fn numbers(&self) -> Vec<u16> {
        lock(&self.slots).keys().copied().collect()
    }

    pub(in crate::consumer) fn insert(&self, slot: u16, epoch: i64) {
        lock(&self.slots).insert(slot, Owned { epoch, is_releasing: false, letters_under_way: 0 });
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// The member stops: it takes no further slots, and releases those that it has.
    pub(in crate::consumer) fn begin_to_leave(&self) {
        self.is_leaving.store(true, Ordering::SeqCst);
        for owned in lock(&self.slots).values_mut() {
            owned.is_releasing = true;
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::SeqCst)
    }

    /// Reports that a slot is lost to the consumer's loop.
    pub(in crate::consumer) fn report_lost(&self, slot: u16, epoch: i64) {
        lock(&self.found_lost).push((slot, epoch));
        self.left.notify_one();
    }

    /// The slots that were reported as lost.
    pub(in crate::consumer) fn take_found_lost(&self) -> Vec<(u16, i64)> {
        std::mem::take(&mut lock(&self.found_lost))
    }

    /// Lets no further letter of the slot be delivered.
    pub(in crate::consumer) fn begin_release(&self, slot: u16) {
        if let Some(owned) = lock(&self.slots).get_mut(&slot) {
            owned.is_releasing = true;
        }
    }

    /// Whether no letter of the slot is being delivered.
    pub(in crate::consumer) fn is_quiet(&self, slot: u16) -> bool {
        lock(&self.slots).get(&slot).is_none_or(|owned| owned.letters_under_way == 0)
    }

    /// Whether no letter of any slot is being delivered.
    pub(in crate::consumer) fn is_all_quiet(&self) -> bool {
        lock(&self.slots).values().all(|owned| owned.letters_under_way == 0)
    }

    /// Waits until a delivery of a letter ends, or a slot is reported as lost.
    pub(in crate::consumer) async fn delivery_ends(&self) {
        self.left.notified().await;
    }

    /// The member no longer owns the slot in this epoch.
    pub(in crate::consumer) fn remove(&self, slot: u16, epoch: i64) {
        let mut slots = lock(&self.slots);
        if slots.get(&slot).is_some_and(|owned| owned.epoch == epoch) {
            slots.remove(&slot);
        }
        lock(&self.dropped).push((slot, epoch));
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// The slots that the consumer gave up since the last call.
    pub(super) fn take_dropped(&self) -> Vec<(u16, i64)> {
        std::mem::take(&mut lock(&self.dropped))
    }

    /// The slot of a stream.
    pub(in crate::consumer) fn slot_of(&self, stream: &StreamName) -> u16 {
        slot_of(stream.cardinal_hash(), self.count)
    }

    /// Whether the member owns the slot of a stream.
    pub(super) fn is_own(&self, stream: &StreamName) -> bool {
        lock(&self.slots).contains_key(&self.slot_of(stream))
    }

    /// Whether the delivery of a letter may begin: the member owns the slot of the stream, and does not release it.
    pub(super) fn may_begin(&self, stream: &StreamName) -> bool {
        lock(&self.slots).get(&self.slot_of(stream)).is_some_and(|owned| !owned.is_releasing)
    }

    pub(super) fn fence(&self, stream: &StreamName) -> Result<Fence> {
        let slot = self.slot_of(stream);
        let epoch = lock(&self.slots).get(&slot).map(|owned| owned.epoch);
        let fence = Fence::new(self.member.clone(), slot, epoch.unwrap_or_default());
        if epoch.is_some() { Ok(fence) } else { Err(fence.lost()) }
    }

    /// Begins the delivery of a letter. `None` if the member does not own the slot, or releases it.
    pub(in crate::consumer) fn enter(self: &Arc<Self>, stream: &StreamName) -> Option<UnderWay> {
        let slot = self.slot_of(stream);
        let mut slots = lock(&self.slots);
        let owned = slots.get_mut(&slot).filter(|owned| !owned.is_releasing)?;
        owned.letters_under_way += 1;
        Some(UnderWay { owned: Arc::clone(self), slot, epoch: owned.epoch })
    }

    /// Hands the last steps of letters that an earlier owner may have left half done to the letter consumer.
    pub(in crate::consumer) fn resume(&self, steps: Vec<Message>) {
        if steps.is_empty() {
            return;
        }
        let mut letters = lock(&self.letters);
        letters.resuming.extend(steps.iter().map(|step| step.id));
        letters.to_resume.extend(steps);
        self.resumed.notify_one();
    }

    /// Waits for letters to resume.
    pub(in crate::consumer) async fn to_resume(&self) -> Vec<Message> {
        loop {
            let notified = self.resumed.notified();
            let steps = std::mem::take(&mut lock(&self.letters).to_resume);
            if !steps.is_empty() {
                return steps;
            }
            notified.await;
        }
    }

    /// Whether the letter of this step is to be resumed.
    pub(in crate::consumer) fn is_resumed(&self, step: MessageId) -> bool {
        lock(&self.letters).resuming.contains(&step)
    }

    /// The letter of this step was resumed.
    pub(in crate::consumer) fn end_resuming(&self, step: MessageId) {
        lock(&self.letters).resuming.remove(&step);
    }
}

impl UnderWay {
    /// Waits until the member no longer owns the slot in the epoch in which the delivery began.
    pub(in crate::consumer) async fn is_lost(&self) -> Error {
        let mut changes = self.owned.changes.subscribe();
        loop {
            let is_owned = |owned: &Owned| owned.epoch == self.epoch;
            if !lock(&self.owned.slots).get(&self.slot).is_some_and(is_owned) {
                return Fence::new(self.owned.member.clone(), self.slot, self.epoch).lost();
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(owned) = lock(&self.owned.slots).get_mut(&self.slot).filter(|owned| owned.epoch == self.epoch) {
            owned.letters_under_way -= 1;
        }
        self.owned.left.notify_one();
    }
}
