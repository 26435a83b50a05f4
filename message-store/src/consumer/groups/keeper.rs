//! The keeper of a member's lease. It renews the lease, and claims and releases slots.
//!
//! Problem: a handler that blocks its thread keeps the tasks of its runtime from running. A lease that such a task renews
//! would end, although the member works. Fix: the keeper has a thread, a runtime and a connection of its own. The
//! consumer learns from it which slots come and go. Why a slot is in one hand only: the keeper claims and the consumer
//! releases, and the keeper compares what it has given to the consumer with the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::OwnedSlots;
use super::membership::is_taken;
use super::plan::Plan;
use crate::consumer::PlantedBug;
use crate::store::{GroupRecord, Leases, Membership, SlotRecord, SlotSave};
use crate::{Error, MessageStore, Result};

/// The pause between two looks at the group.
const PAUSE: Duration = Duration::from_millis(400);
/// The pause while the member has less than its share.
const SHORT_PAUSE: Duration = Duration::from_millis(100);
/// The time between two log records of a lease that cannot be renewed.
const WARN_INTERVAL: Duration = Duration::from_secs(30);
/// The time in which the keeper must end.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A change of the slots that a consumer handles.
#[derive(Debug)]
pub(in crate::consumer) enum Change {
    /// The member owns these slots now.
    Claimed(Vec<SlotRecord>),
    /// The consumer must finish the messages under way, save its progress, and release these slots.
    Release(Vec<u16>),
    /// The member does not own these slots in these epochs any more.
    Lost(Vec<(u16, i64)>),
    /// The member cannot go on.
    Ended(Error),
}

/// The consumer's end.
#[derive(Debug)]
pub(in crate::consumer) struct Keeper {
    pub(in crate::consumer) changes: mpsc::UnboundedReceiver<Change>,
    /// Dropped when the keeper must end.
    stop: Option<oneshot::Sender<()>>,
    ended: Option<oneshot::Receiver<()>>,
}

/// The keeper's end.
struct Keeping {
    leases: Arc<dyn Leases>,
    owned: Arc<OwnedSlots>,
    /// The slots that the consumer was given, with their epochs.
    given: BTreeMap<u16, i64>,
    /// Those of them that the consumer was asked to release.
    releasing: BTreeSet<u16>,
    /// The last renewal, and whether the member wanted slots then.
    renewed: Option<(Instant, bool)>,
    changes: mpsc::UnboundedSender<Change>,
}

impl Keeper {
    /// Starts the thread.
    pub(in crate::consumer) fn start(store: &Arc<dyn MessageStore>, owned: &Arc<OwnedSlots>) -> Result<Self> {
        let (changes, received) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (has_ended, ended) = oneshot::channel();
        let (store, owned) = (Arc::clone(store), Arc::clone(owned));
        if owned.planted.is(PlantedBug::KeeperInRuntime) {
            tokio::spawn(async move { keep(&*store, owned, changes, stopped).await });
            return Ok(Self { changes: received, stop: Some(stop), ended: None });
        }
        let starting = |error| Error::backend("starting the keeper of a lease", false, error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(starting)?;
        let run = move || {
            runtime.block_on(keep(&*store, owned, changes, stopped));
            // A caller that is gone needs no answer.
            let _ = has_ended.send(());
        };
        thread::Builder::new().name("message-store-lease".to_owned()).spawn(run).map_err(starting)?;
        Ok(Self { changes: received, stop: Some(stop), ended: Some(ended) })
    }

    /// Ends the thread. After that, the member's lease is not renewed.
    pub(in crate::consumer) async fn stop(&mut self) {
        self.stop = None;
        if let Some(ended) = self.ended.take() {
            // An error means that the thread has ended too. A store that is silent must not keep a consumer that stops.
            let _ = timeout(STOP_WITHIN, ended).await;
        }
    }
}

async fn keep(
    store: &dyn MessageStore,
    owned: Arc<OwnedSlots>,
    changes: mpsc::UnboundedSender<Change>,
    mut stopped: oneshot::Receiver<()>,
) {
    let Some(leases) = store.leases() else { return };
    let mut warned = None;
    let leases = loop {
        match leases.apart().await {
            Ok(leases) => break leases,
            Err(error) => warn(&owned, &error, &mut warned),
        }
        if is_stopped(&mut stopped, PAUSE).await {
            return;
        }
    };
    let (given, releasing) = (BTreeMap::new(), BTreeSet::new());
    let mut keeping = Keeping { leases, owned, given, releasing, renewed: None, changes };
    loop {
        let pause = match keeping.look().await {
            Ok(true) => SHORT_PAUSE,
            Ok(false) => PAUSE,
            Err(error) if error.is_transient() => {
                warn(&keeping.owned, &error, &mut warned);
                SHORT_PAUSE
            }
            Err(error) => {
                // A consumer that is gone needs no error.
                let _ = keeping.changes.send(Change::Ended(error));
                return;
            }
        };
        // A call that is under way ends first, so that no renewal comes after the member has left.
        if is_stopped(&mut stopped, pause.min(keeping.owned.lease() / 8)).await {
            return;
        }
    }
}

/// Records that the lease could not be kept. Logs it when that has lasted for a lease, and then every half minute.
fn warn(owned: &OwnedSlots, error: &Error, warned: &mut Option<Instant>) {
    let time = owned.look_failed(error);
    if time > owned.lease() && warned.is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL) {
        *warned = Some(Instant::now());
        tracing::warn!(target: "message_store::consumer", %error, group = %owned.member().group, since = ?time, "the lease of this member cannot be renewed, so it has no slots");
    } else {
        tracing::debug!(target: "message_store::consumer", %error, group = %owned.member().group, "a look at the group failed");
    }
}

/// Waits for a pause. Returns whether the keeper must end: it was asked to, or its consumer is gone.
async fn is_stopped(stopped: &mut oneshot::Receiver<()>, pause: Duration) -> bool {
    tokio::select! {
        _ = stopped => true,
        () = sleep(pause) => false,
    }
}

impl Keeping {
    fn member(&self) -> &Membership {
        self.owned.member()
    }

    /// Limits the time of a call, so that a connection that is silent costs no lease if another one works.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        timeout(self.owned.lease() / 4, call).await.unwrap_or_else(|_| {
            Err(Error::backend("keeping a lease", true, "the store did not answer in a quarter of the lease"))
        })
    }

    /// Renews the lease if it is time, and acts on the state of the group. Returns whether the member is short of slots.
    async fn look(&mut self) -> Result<bool> {
        let member = self.member().clone();
        let wants_slots = !self.owned.is_leaving();
        let is_due =
            |(renewed, wanted): (Instant, bool)| wanted != wants_slots || renewed.elapsed() >= self.owned.lease() / 4;
        if self.renewed.is_none_or(is_due) {
            let now = Instant::now();
            if !self.in_time(self.leases.renew(&member, self.owned.lease(), wants_slots)).await? {
                return Err(is_taken(&member));
            }
            self.renewed = Some((now, wants_slots));
            self.owned.renewed(now.into_std());
        }
        for (slot, epoch) in self.owned.take_dropped() {
            if self.given.get(&slot) == Some(&epoch) {
                self.given.remove(&slot);
                self.releasing.remove(&slot);
            }
        }
        let group = self.in_time(self.leases.group(&member.group)).await?;
        self.find_lost(&group, &member);
        self.free_those_not_given(&group, &member).await?;

        if !wants_slots {
            // The consumer releases its slots by itself.
            self.owned.set_group(group);
            return Ok(true);
        }
        let releasing: Vec<u16> = self.releasing.iter().copied().collect();
        let Plan { claim, release, is_short } = Plan::of(&group, member.id, &releasing);
        if !release.is_empty() {
            self.releasing.extend(&release);
            self.send(Change::Release(release));
        }
        if !claim.is_empty() {
            let claimed = self.in_time(self.leases.claim(&member, &claim)).await?;
            self.given.extend(claimed.iter().map(|slot| (slot.number, slot.epoch)));
            if !claimed.is_empty() {
                self.send(Change::Claimed(claimed));
            }
        }
        self.owned.set_group(group);
        Ok(is_short)
    }

    /// Tells the consumer about slots that have another owner, or another epoch.
    fn find_lost(&mut self, group: &GroupRecord, member: &Membership) {
        let is_kept = |slot: u16, epoch: i64| {
            group.slots.get(usize::from(slot)).is_some_and(|now| now.owner == Some(member.id) && now.epoch == epoch)
        };
        let lost: Vec<(u16, i64)> = self
            .given
            .iter()
            .map(|(slot, epoch)| (*slot, *epoch))
            .filter(|(slot, epoch)| !is_kept(*slot, *epoch))
            .collect();
        for (slot, _) in &lost {
            self.given.remove(slot);
            self.releasing.remove(slot);
        }
        if !lost.is_empty() {
            self.send(Change::Lost(lost));
        }
    }

    /// Releases slots that the member owns and its consumer does not have: the answer to a claim was lost, or the consumer
    /// gave the slot up.
    async fn free_those_not_given(&self, group: &GroupRecord, member: &Membership) -> Result<()> {
        let is_given = |slot: &SlotRecord| self.given.get(&slot.number) == Some(&slot.epoch);
        let unused = group.slots.iter().filter(|slot| slot.owner == Some(member.id) && !is_given(slot));
        let releases: Vec<_> = unused.map(|slot| SlotSave::release_of(slot.number, slot.epoch)).collect();
        if !releases.is_empty() {
            self.in_time(self.leases.save(member, releases, None)).await?;
        }
        Ok(())
    }

    fn send(&self, change: Change) {
        // If the consumer is gone, the keeper is about to end too.
        let _ = self.changes.send(change);
    }
}
