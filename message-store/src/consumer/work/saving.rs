//! Saving how far all is handled.

use tokio::time::Instant;

use super::Work;
use crate::Result;
use crate::consumer::deliver::Deliver;
use crate::consumer::position_store::Progress;
use crate::consumer::suspects::Suspects;

impl<D: Deliver> Work<D> {
    pub(super) async fn save_if_due(&mut self, at_end: bool) -> Result<()> {
        let (messages, time) = self.pace.save_after;
        let since = self.last_save.elapsed();
        let idle = at_end && self.partitions.len() == 0 && since >= self.pace.poll_interval;
        // What is noted of a message that is done would blame it for a crash that comes later.
        let is_noted = self.suspects.as_ref().is_some_and(|suspects| suspects.noted().is_some());
        let is_outdated = self.positions.has_suspect() && !is_noted && !self.partitions.is_ready();
        if !(idle || is_outdated || self.done_since_save >= messages || since >= time) {
            return Ok(());
        }
        if self.positions.is_saved(self.progress()) {
            self.last_save = Instant::now();
            return self.assert_store_is_not_behind().await;
        }
        self.save().await
    }

    /// A store that was restored to an earlier point would give out again what was read, unseen. Asked while nothing
    /// else happens, as often as the position is saved otherwise; a save itself would find that its own stream is not
    /// where it was.
    async fn assert_store_is_not_behind(&self) -> Result<()> {
        match self.positions.assert_store_is_not_behind(self.partitions.read_through()).await {
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "whether the store is behind is not known");
                Ok(())
            }
            result => result,
        }
    }

    async fn save(&mut self) -> Result<()> {
        self.done_since_save = 0;
        self.last_save = Instant::now();
        self.positions.save(self.progress()).await
    }

    pub(super) fn progress(&self) -> Progress {
        let position = self.partitions.handled_through();
        let suspects = self.suspects.as_ref().map_or(position, Suspects::through);
        let highest = self.partitions.handed_out_through().max(suspects);
        let handed_out_through = (highest > position).then_some(highest);
        let suspect = self.suspects.as_ref().and_then(Suspects::noted);
        Progress { handed_out_through, suspect, ..Progress::at(position) }
    }
}
