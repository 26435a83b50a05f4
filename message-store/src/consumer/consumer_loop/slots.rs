//! The slots of a member of an elastic group come and go.
//!
//! Why no message is lost: a slot is read from the position that its last owner saved. Why a member that has lost a slot
//! does no harm: its messages are dropped, and the store refuses what the member would still write for the slot. Why
//! held entities stay held: the letters are read again before the first message of a slot is handed out.

use tokio::time::timeout;

use super::role::{News, Role};
use super::{ConsumerLoop, SAVE_WITHIN, SOONER_BY};
use crate::consumer::PlantedBug;
use crate::consumer::deliver::Deliver;
use crate::consumer::groups::Change;
use crate::consumer::position_store::Progress;
use crate::consumer::saved_progress::SavedProgress;
use crate::consumer::suspects::Suspects;
use crate::store::SlotRecord;
use crate::{GlobalPosition, Result};

impl<D: Deliver> ConsumerLoop<D> {
    /// Acts on news. Returns whether there may be something to read.
    pub(super) async fn learn(&mut self, news: News) -> Result<bool> {
        match news {
            News::Change(Change::Claimed(slots)) => {
                self.begin_slots(slots).await?;
                return Ok(true);
            }
            News::Change(Change::Release(slots)) => {
                for slot in slots {
                    if let Some(owned) = self.role.owned() {
                        owned.begin_release(slot);
                    }
                    self.partitions.begin_release(slot);
                }
            }
            News::Change(Change::Lost(slots)) => {
                let numbers: Vec<u16> = slots.iter().map(|(slot, _)| *slot).collect();
                tracing::warn!(target: "message_store::consumer", consumer = %self.subscription.positions, slots = ?numbers, "these slots have another owner, or the lease has ended");
                for (slot, epoch) in slots {
                    self.lose(slot, epoch);
                }
            }
            News::Change(Change::Ended(error)) => return Err(error),
            News::LetterDelivered => self.lose_found_lost(),
            News::Resume(steps) => {
                for step in steps {
                    self.partitions.add_again(step);
                }
            }
        }
        Ok(false)
    }

    /// Gives up the slots that were found to be lost beside this loop.
    fn lose_found_lost(&mut self) {
        let found = self.role.owned().map(|owned| owned.take_found_lost()).unwrap_or_default();
        for (slot, epoch) in found {
            tracing::warn!(target: "message_store::consumer", consumer = %self.subscription.positions, slot, epoch, "the slot is lost");
            self.lose(slot, epoch);
        }
    }

    /// The member stops: it takes no further slots, and releases each as soon as none of its messages is under way.
    pub(super) fn begin_to_leave(&mut self) {
        let Some(owned) = self.role.owned() else { return };
        owned.begin_to_leave();
        for (slot, _) in self.partitions.slots().collect::<Vec<_>>() {
            self.partitions.begin_release(slot);
        }
    }

    /// Acts on news while the member stops.
    pub(super) fn learn_at_the_end(&mut self, news: News) {
        match news {
            // Claimed before the keeper learned that the member stops. The keeper releases what the consumer gives up.
            News::Change(Change::Claimed(slots)) => {
                for slot in slots {
                    if let Some(owned) = self.role.owned() {
                        owned.remove(slot.number, slot.epoch);
                    }
                }
            }
            News::Change(Change::Lost(slots)) => {
                for (slot, epoch) in slots {
                    self.lose(slot, epoch);
                }
            }
            News::LetterDelivered => self.lose_found_lost(),
            News::Change(Change::Release(_) | Change::Ended(_)) | News::Resume(_) => {}
        }
    }

    /// Begins with slots that the member has claimed.
    async fn begin_slots(&mut self, slots: Vec<SlotRecord>) -> Result<()> {
        let (SavedProgress::Slots(positions), Some(owned), Some(set_aside)) =
            (&mut self.positions, self.role.owned(), &self.set_aside)
        else {
            return Ok(());
        };
        let mut begun: Vec<(u16, i64, Progress)> = Vec::new();
        for slot in slots {
            begun.push((slot.number, slot.epoch, positions.claimed(&slot)?));
        }
        let lowest = begun.iter().map(|(_, _, progress)| progress.position).min();
        let present = self.partitions.slots().next().map(|_| self.partitions.handled_through());
        let handled_through = lowest.into_iter().chain(present).min().unwrap_or(GlobalPosition::ZERO);
        // First, so that a caller that sees the slots, and then waits for a position, waits for that of these slots too.
        self.reports.handled_through.publish(handled_through);
        for (slot, epoch, _) in &begun {
            owned.insert(*slot, *epoch);
        }
        let outages = self.outages.clone();
        let mut call = outages.call();
        let to_resume = loop {
            let read = async {
                if !self.pace.planted.is(PlantedBug::LettersNotReadOnClaim) {
                    set_aside.reload(handled_through).await?;
                }
                if self.pace.planted.is(PlantedBug::LettersNotResumed) {
                    return Ok(Vec::new());
                }
                set_aside.to_resume().await
            };
            match read.await {
                Err(error) if error.is_transient() && call.again(&error).await => {}
                result => break result?,
            }
        };
        call.answered();
        owned.resume(to_resume);
        for (slot, epoch, progress) in begun {
            tracing::debug!(target: "message_store::consumer", consumer = %self.subscription.positions, slot, epoch, position = %progress.position, "a slot was claimed");
            self.partitions.add_slot(slot, epoch, progress.position);
            self.counted.insert(slot, progress.counted.clone());
            if let Some(found) = self.suspects_of(slot, &progress) {
                match &mut self.suspects {
                    Some(suspects) => suspects.add(found),
                    None => self.suspects = Some(found),
                }
            }
        }
        self.expects_repeats = true;
        self.next_poll = self.pace.poll_interval / SOONER_BY;
        self.publish_progress();
        // From here on, the slots' records do not say that their last owner stopped. So if this process ends before its
        // next save, the next owner knows that messages may have been under way.
        self.save(self.progress(), &[]).await
    }

    /// The messages of a slot that may have ended the process of its previous owner.
    fn suspects_of(&self, slot: u16, previous: &Progress) -> Option<Suspects> {
        self.set_aside.as_ref().filter(|set_aside| set_aside.is_on())?;
        Suspects::of_previous(slot, previous, self.unsaved_messages())
    }

    /// Drops a slot that the member no longer owns in this epoch, with its messages.
    pub(super) fn lose(&mut self, slot: u16, epoch: i64) {
        if let SavedProgress::Slots(positions) = &mut self.positions {
            positions.remove(slot, epoch);
        }
        self.drop_slot(slot, epoch);
    }

    pub(super) fn drop_slot(&mut self, slot: u16, epoch: i64) {
        if self.partitions.remove_slot(slot, epoch)
            && let Some(suspects) = &mut self.suspects
        {
            suspects.drop_slot(slot);
        }
        self.aborts.retain(|_, (of_slot, of_epoch, task)| {
            let is_dropped = (*of_slot, *of_epoch) == (slot, epoch);
            if is_dropped {
                task.abort();
            }
            !is_dropped
        });
    }

    /// Releases the slots that the keeper has asked for, and that have no message under way.
    pub(super) async fn release_drained(&mut self) -> Result<()> {
        let Some(owned) = self.role.owned() else { return Ok(()) };
        let waits = !self.has(PlantedBug::ReleasedWhileUnderWay);
        let drained: Vec<u16> = self.partitions.drained(waits).filter(|slot| owned.is_quiet(*slot)).collect();
        if drained.is_empty() {
            return Ok(());
        }
        let mut progress = self.progress();
        for slot in &drained {
            progress.entry(*slot).and_modify(Progress::stop);
        }
        self.save(progress, &drained).await
    }

    /// Leaves the group. The member's slots are released, or free after its lease.
    pub(super) async fn leave(&mut self) {
        let Role::Member { keeper, owned } = &mut self.role else { return };
        keeper.stop().await;
        if !owned.is_all_quiet() {
            tracing::warn!(target: "message_store::consumer", member = %owned.member().name, group = %owned.member().group, "letters are being delivered; their slots are free when the lease has ended");
            return;
        }
        if let Some(leases) = self.subscription.store.leases() {
            let left = timeout(SAVE_WITHIN, leases.leave(owned.member())).await;
            if !matches!(left, Ok(Ok(()))) {
                tracing::warn!(target: "message_store::consumer", member = %owned.member().name, group = %owned.member().group, "the lease of a member that stops could not be ended");
            }
        }
    }
}
