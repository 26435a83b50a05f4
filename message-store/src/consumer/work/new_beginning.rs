//! Beginning anew when the store has another history.

use super::{SOONER, Work};
use crate::Result;
use crate::consumer::PlantedBug;
use crate::consumer::deliver::Deliver;
use crate::consumer::partitions::Partitions;
use crate::consumer::pause::Pause;
use crate::consumer::position_store::PositionStore;

impl<D: Deliver> Work<D> {
    /// Whether the store has another history than the one that the position is of.
    pub(super) fn has_another_history(&self) -> bool {
        !self.has(PlantedBug::HistoryIgnored) && self.source.store.history() != self.positions.history()
    }

    /// What was read belongs to a history that the store no longer has: the messages behind the position may be others
    /// by now. The position that stands in the store belongs to the history that it has.
    pub(super) async fn begin_anew(&mut self) -> Result<()> {
        tracing::warn!(
            consumer = %self.positions.stream(),
            handled_through = %self.partitions.handled_through(),
            "the store has another history than before: the consumer begins anew, from the position that stands there"
        );
        let mut pause = Pause::new(self.pace.retries);
        loop {
            match self.take_over_again().await {
                Err(error) if error.is_transient() && pause.again(&error).await => {}
                result => return result,
            }
        }
    }

    async fn take_over_again(&mut self) -> Result<()> {
        let (store, stream) = (&self.source.store, self.positions.stream().clone());
        self.positions = PositionStore::take_over(store, stream, &self.pace).await?;
        self.partitions = Partitions::new(self.positions.saved());
        if let Some(set_aside) = &self.set_aside {
            set_aside.begin_anew(self.positions.saved()).await?;
        }
        // Nothing was broken off: what the record says was under way was this consumer's own.
        (self.suspects, self.alone) = (None, None);
        self.done_since_save = 0;
        self.next_look = self.pace.poll_interval / SOONER;
        self.report();
        Ok(())
    }
}
