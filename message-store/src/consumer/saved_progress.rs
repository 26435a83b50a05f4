//! The place where a consumer's progress is saved.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::groups::SlotPositions;
use super::position_store::{PositionStore, Progress, assert_store_is_not_behind};
use crate::{GlobalPosition, History, MessageStore, Result, StreamName};

/// The progress of a consumer, for each of its slots. A consumer that is no member of an elastic group has slot 0 alone.
#[derive(Debug)]
pub(super) enum SavedProgress {
    /// One position, in a stream.
    Stream(Box<PositionStore>),
    /// In the slots of an elastic group.
    Slots(SlotPositions),
    /// The letter consumer of a member of an elastic group saves nothing: the next owner of a slot finds the letters that
    /// were left half done.
    Nowhere { history: History },
}

impl SavedProgress {
    /// The history of the store to which the progress belongs.
    pub(super) fn history(&self) -> History {
        match self {
            Self::Stream(positions) => positions.history(),
            Self::Slots(positions) => positions.history(),
            Self::Nowhere { history } => *history,
        }
    }

    /// Whether this progress is saved, and no save is without an answer.
    pub(super) fn is_saved(&self, progress: &BTreeMap<u16, Progress>) -> bool {
        match self {
            Self::Stream(positions) => progress.values().all(|progress| positions.is_saved(progress)),
            Self::Slots(positions) => positions.is_saved(progress),
            Self::Nowhere { .. } => true,
        }
    }

    /// Whether the saved progress names a suspect.
    pub(super) fn has_suspect(&self) -> bool {
        match self {
            Self::Stream(positions) => positions.has_suspect(),
            Self::Slots(positions) => positions.has_suspect(),
            Self::Nowhere { .. } => false,
        }
    }

    /// Saves the progress if it has changed, and releases the slots in `released`. Returns the slots, with their epochs,
    /// that the consumer has lost or released. An outage is waited out.
    pub(super) async fn save(
        &mut self,
        progress: &BTreeMap<u16, Progress>,
        released: &[u16],
    ) -> Result<Vec<(u16, i64)>> {
        match self {
            Self::Stream(positions) => {
                for progress in progress.values() {
                    positions.save(progress).await?;
                }
                Ok(Vec::new())
            }
            Self::Slots(positions) => positions.save(progress, released).await,
            Self::Nowhere { .. } => Ok(Vec::new()),
        }
    }

    /// Fails if the store has not given out the position `handled`.
    pub(super) async fn assert_store_is_not_behind(
        &self,
        store: &Arc<dyn MessageStore>,
        stream: &StreamName,
        handled: GlobalPosition,
    ) -> Result<()> {
        match self {
            Self::Stream(positions) => positions.assert_store_is_not_behind(handled).await,
            Self::Slots(_) => assert_store_is_not_behind(&**store, stream, handled).await,
            Self::Nowhere { .. } => Ok(()),
        }
    }
}
