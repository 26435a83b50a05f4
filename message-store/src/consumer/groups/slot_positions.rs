//! The progress of a member's slots, saved in the slots themselves.
//!
//! A save names the epoch of each slot, so a member saves nothing for a slot that it has lost. A repeat of a save whose
//! answer was lost changes nothing, because the progress is the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::OwnedSlots;
use super::group_status::progress_of;
use crate::consumer::outages::Outages;
use crate::consumer::position_store::Progress;
use crate::store::{SlotRecord, SlotSave};
use crate::{Error, History, Json, MessageStore, Result};

#[derive(Debug)]
pub(in crate::consumer) struct SlotPositions {
    store: Arc<dyn MessageStore>,
    owned: Arc<OwnedSlots>,
    history: History,
    saved: BTreeMap<u16, Saved>,
    outages: Outages,
}

#[derive(Clone, Debug)]
struct Saved {
    epoch: i64,
    progress: Progress,
}

impl SlotPositions {
    pub(in crate::consumer) fn new(store: &Arc<dyn MessageStore>, owned: &Arc<OwnedSlots>, outages: &Outages) -> Self {
        let (store, owned) = (Arc::clone(store), Arc::clone(owned));
        let history = store.history();
        Self { store, owned, history, saved: BTreeMap::new(), outages: outages.clone() }
    }

    pub(in crate::consumer) fn history(&self) -> History {
        self.history
    }

    /// Forgets all slots, because the store has another history.
    pub(in crate::consumer) fn forget(&mut self) {
        self.history = self.store.history();
        for (slot, Saved { epoch, .. }) in std::mem::take(&mut self.saved) {
            self.owned.remove(slot, epoch);
        }
    }

    /// The progress of a slot that was claimed.
    ///
    /// # Errors
    /// [`Error::Backend`] for progress that another program wrote.
    pub(in crate::consumer) fn claimed(&mut self, slot: &SlotRecord) -> Result<Progress> {
        let progress = progress_of(&self.owned.member().group, slot)?;
        self.saved.insert(slot.number, Saved { epoch: slot.epoch, progress: progress.clone() });
        Ok(progress)
    }

    /// The epoch of a slot that the member owns.
    pub(in crate::consumer) fn epoch(&self, slot: u16) -> Option<i64> {
        self.saved.get(&slot).map(|saved| saved.epoch)
    }

    pub(in crate::consumer) fn is_saved(&self, progress: &BTreeMap<u16, Progress>) -> bool {
        let is_saved =
            |(slot, progress): (&u16, &Progress)| self.saved.get(slot).is_none_or(|saved| saved.progress == *progress);
        progress.iter().all(is_saved)
    }

    pub(in crate::consumer) fn has_suspect(&self) -> bool {
        self.saved.values().any(|saved| saved.progress.suspect.is_some())
    }

    /// The member no longer owns the slot in this epoch.
    pub(in crate::consumer) fn remove(&mut self, slot: u16, epoch: i64) {
        if self.epoch(slot) == Some(epoch) {
            self.saved.remove(&slot);
        }
        self.owned.remove(slot, epoch);
    }

    /// Saves what has changed, and releases the slots in `released`. Returns the slots that the member does not own any
    /// more: they are lost, or released. An outage is waited out.
    pub(in crate::consumer) async fn save(
        &mut self,
        progress: &BTreeMap<u16, Progress>,
        released: &[u16],
    ) -> Result<Vec<(u16, i64)>> {
        let mut saves = Vec::new();
        for (slot, progress) in progress {
            let Some(saved) = self.saved.get(slot) else { continue };
            let is_release = released.contains(slot);
            if saved.progress != *progress || is_release {
                let save = SlotSave::new(*slot, saved.epoch, Json::encode(progress)?);
                saves.push(if is_release { save.and_release() } else { save });
            }
        }
        if saves.is_empty() {
            return Ok(Vec::new());
        }
        let done = self.save_in_outages(&saves).await?;
        let mut gone = Vec::new();
        for SlotSave { number, epoch, is_release, .. } in saves {
            if done.contains(&number) && !is_release {
                if let (Some(saved), Some(progress)) = (self.saved.get_mut(&number), progress.get(&number)) {
                    saved.progress = progress.clone();
                }
            } else {
                self.remove(number, epoch);
                gone.push((number, epoch));
            }
        }
        Ok(gone)
    }

    async fn save_in_outages(&self, saves: &[SlotSave]) -> Result<Vec<u16>> {
        let Some(leases) = self.store.leases() else { return Ok(Vec::new()) };
        let mut call = self.outages.call();
        loop {
            match leases.save(self.owned.member(), saves.to_vec(), Some(self.history)).await {
                Err(error @ Error::HistoryChanged { .. }) => return Err(error),
                Err(error) if error.is_transient() && call.again(&error).await => {}
                result => {
                    if result.is_ok() {
                        call.answered();
                    }
                    return result;
                }
            }
        }
    }
}
