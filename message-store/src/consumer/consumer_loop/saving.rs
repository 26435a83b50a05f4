//! Saving: writes the consumer's progress when it is due.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{ConsumerLoop, Subscription};
use crate::consumer::deliver::Deliver;
use crate::consumer::position_store::Progress;
use crate::consumer::suspects::Suspects;
use crate::{Error, Result};

/// The error of a consumer that stops and whose position the store does not save.
pub(super) fn not_saved() -> Error {
    Error::backend("saving the position of a consumer that stops", true, "the store did not answer in time")
}

impl<D: Deliver> ConsumerLoop<D> {
    pub(super) async fn save_if_due(&mut self, at_end: bool) -> Result<()> {
        let (messages, time) = self.pace.save_after;
        let since = self.last_save.elapsed();
        let idle = at_end && self.partitions.len() == 0 && since >= self.pace.poll_interval;
        // If a message is handled and its record stays, a later crash is blamed on it.
        let is_recorded = self.suspects.as_ref().is_some_and(Suspects::is_recorded);
        let is_outdated = self.positions.has_suspect() && !is_recorded && !self.partitions.is_ready();
        if !(idle || is_outdated || self.done_since_save >= messages || since >= time) {
            return Ok(());
        }
        let progress = self.progress();
        if self.positions.is_saved(&progress) {
            self.last_save = Instant::now();
            return self.assert_store_is_not_behind().await;
        }
        self.save(progress, &[]).await
    }

    /// Checks whether the store was restored to an earlier point. Such a store would give out the same positions again,
    /// and the consumer would not read the new messages. The check runs when there is nothing to save, as often as a
    /// save would. A save needs no such check, because it fails if the position stream is not where the consumer left
    /// it.
    async fn assert_store_is_not_behind(&self) -> Result<()> {
        let Subscription { store, positions: stream, .. } = &self.subscription;
        let read_through = self.partitions.read_through();
        match self.positions.assert_store_is_not_behind(store, stream, read_through).await {
            // The check is made again. Other calls show an outage.
            Err(error) if error.is_transient() => {
                tracing::debug!(target: "message_store::consumer", %error, "could not check whether the store is behind");
                Ok(())
            }
            result => result,
        }
    }

    /// Saves the progress, and releases the slots in `released`.
    pub(super) async fn save(&mut self, progress: BTreeMap<u16, Progress>, released: &[u16]) -> Result<()> {
        self.done_since_save = 0;
        self.last_save = Instant::now();
        let outages = self.outages.clone();
        let gone = tokio::select! {
            biased;
            saved = self.positions.save(&progress, released) => saved?,
            () = outages.until_given_up() => {
                self.is_save_given_up = true;
                return Err(not_saved());
            }
        };
        for (slot, epoch) in gone {
            if !released.contains(&slot) {
                tracing::warn!(target: "message_store::consumer", consumer = %self.subscription.positions, slot, epoch, "the progress was not saved, because the slot is lost");
            }
            self.drop_slot(slot, epoch);
        }
        Ok(())
    }

    /// Saves the progress of a consumer that ends, and releases its slots. If no message is under way, the record says that
    /// the consumer stopped, even if it ended with an error.
    pub(super) async fn save_at_the_end(&mut self, is_drained: bool) -> Result<()> {
        // A message that is left behind did not end the process.
        if !is_drained && let Some(suspects) = &mut self.suspects {
            suspects.leave_behind();
        }
        let mut progress = self.progress();
        for progress in progress.values_mut().filter(|_| is_drained) {
            progress.stop();
        }
        let is_quiet = |slot: &&u16| self.role.owned().is_none_or(|owned| owned.is_quiet(**slot));
        let released: Vec<u16> = progress.keys().filter(is_quiet).copied().collect();
        self.positions.save(&progress, &released).await.map(drop)
    }

    /// The progress in each slot.
    pub(super) fn progress(&self) -> BTreeMap<u16, Progress> {
        self.partitions.slots().map(|(slot, _)| (slot, self.progress_in(slot))).collect()
    }

    fn progress_in(&self, slot: u16) -> Progress {
        let position = self.partitions.handled_through_in(slot);
        let suspects = self.suspects.as_ref().map_or(position, |suspects| suspects.through(slot));
        let highest = self.partitions.handed_out_through(slot).max(suspects);
        let handed_out_through = (highest > position).then_some(highest);
        let suspect = self.suspects.as_ref().and_then(|suspects| suspects.recorded(slot));
        let under_way = self.suspects.as_ref().map(|suspects| suspects.under_way(slot)).unwrap_or_default();
        let counted = self.counted.get(&slot).cloned().unwrap_or_default();
        Progress { handed_out_through, suspect, under_way, counted, ..Progress::at(position) }
    }
}
