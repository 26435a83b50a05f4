//! A restart of the loop after the store's history has changed.

use super::{ConsumerLoop, SOONER_BY, Subscription};
use crate::consumer::PlantedBug;
use crate::consumer::deliver::Deliver;
use crate::consumer::partitions::Partitions;
use crate::consumer::position_store::PositionStore;
use crate::consumer::saved_progress::SavedProgress;
use crate::{Error, Result};

impl<D: Deliver> ConsumerLoop<D> {
    /// Whether the store's history differs from the one to which the position belongs.
    pub(super) fn has_another_history(&self) -> bool {
        !self.has(PlantedBug::HistoryIgnored) && self.subscription.store.history() != self.positions.history()
    }

    /// Drops all messages that were read, and continues from the position that is saved in the store. The dropped
    /// messages belong to a history that the store no longer has, and other messages may have their positions now. The
    /// saved position belongs to the present history.
    pub(super) async fn restart_in_new_history(&mut self) -> Result<()> {
        tracing::warn!(
            target: "message_store::consumer",
            consumer = %self.subscription.positions,
            handled_through = %self.partitions.handled_through(),
            "the store has another history than before: the consumer restarts from the position that is saved there"
        );
        let outages = self.outages.clone();
        let mut call = outages.call_of_restart();
        loop {
            match self.reload_position().await {
                // It has changed again.
                Err(Error::HistoryChanged { .. }) => {}
                Err(error) if error.is_transient() && call.again(&error).await => {}
                result => return result,
            }
        }
    }

    async fn reload_position(&mut self) -> Result<()> {
        let Subscription { store, category, positions: stream, .. } = &self.subscription;
        match &mut self.positions {
            SavedProgress::Stream(positions) => {
                **positions = PositionStore::take_over(store, stream.clone(), &self.pace, &self.outages).await?;
                self.partitions = Partitions::new(positions.saved());
                if let Some(set_aside) = &self.set_aside {
                    set_aside.reload(positions.saved()).await?;
                }
            }
            // The keeper releases the slots, and claims them again.
            SavedProgress::Slots(positions) => {
                let count = self.role.owned().map_or(1, |owned| owned.count());
                self.partitions = Partitions::of_slots(count);
                positions.forget();
            }
            SavedProgress::Nowhere { history } => {
                let now = store.history();
                self.partitions = Partitions::new(store.given_out(Some(category)).await?);
                *history = now;
            }
        }
        self.aborts.clear();
        // No crash happened: a message that the saved progress names as under way was this consumer's own, and has
        // ended.
        (self.suspects, self.alone) = (None, None);
        self.expects_repeats = true;
        self.done_since_save = 0;
        self.counted.clear();
        self.begin_to_count();
        self.next_poll = self.pace.poll_interval / SOONER_BY;
        self.publish_progress();
        Ok(())
    }
}
