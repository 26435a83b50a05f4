//! Leases with planned faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::store::{GroupRecord, Leases, Membership, SlotRecord, SlotSave};
use crate::{Error, History, Json, MessageStore, Result};

/// The leases of a faulty store, or those apart for the heartbeats of a member.
#[derive(Clone)]
pub(super) struct FaultyLeases {
    pub(super) store: Arc<dyn MessageStore>,
    /// The right leases apart. `None`: those of the store.
    pub(super) apart: Option<Arc<dyn Leases>>,
    pub(super) is_away: Arc<AtomicBool>,
    pub(super) are_heartbeats_lost: Arc<AtomicBool>,
    /// The number of histories that were begun.
    pub(super) histories: Arc<AtomicU64>,
}

impl FaultyLeases {
    /// The right leases, if they can be reached.
    fn right(&self) -> Result<&dyn Leases> {
        let is_lost = self.apart.is_some() && self.are_heartbeats_lost.load(Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) || is_lost {
            return Err(Error::backend("a planted fault", true, "the store is away"));
        }
        let unsupported = || Error::Unsupported { store: self.store.describe(), what: "leases".to_owned() };
        self.apart.as_deref().or_else(|| self.store.leases()).ok_or_else(unsupported)
    }
}

impl std::fmt::Debug for FaultyLeases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyLeases").finish_non_exhaustive()
    }
}

#[async_trait]
impl Leases for FaultyLeases {
    async fn create_group(&self, group: &str, progress: Vec<Json>) -> Result<()> {
        self.right()?.create_group(group, progress).await
    }

    async fn groups(&self) -> Result<Vec<String>> {
        self.right()?.groups().await
    }

    async fn group(&self, group: &str) -> Result<GroupRecord> {
        self.right()?.group(group).await
    }

    async fn renew(&self, member: &Membership, time: Duration, wants_slots: bool) -> Result<bool> {
        self.right()?.renew(member, time, wants_slots).await
    }

    async fn claim(&self, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
        self.right()?.claim(member, slots).await
    }

    async fn save(&self, member: &Membership, saves: Vec<SlotSave>, history: Option<History>) -> Result<Vec<u16>> {
        let inner = self.store.history();
        let now = History(inner.0 + self.histories.load(Ordering::SeqCst));
        if history.is_some_and(|history| history != now) {
            return Err(Error::HistoryChanged { store: self.store.describe() });
        }
        self.right()?.save(member, saves, history.map(|_| inner)).await
    }

    async fn leave(&self, member: &Membership) -> Result<()> {
        self.right()?.leave(member).await
    }

    async fn set_progress(&self, group: &str, slots: Vec<(SlotRecord, Json)>) -> Result<bool> {
        self.right()?.set_progress(group, slots).await
    }

    async fn apart(&self) -> Result<Arc<dyn Leases>> {
        let apart = Some(self.right()?.apart().await?);
        Ok(Arc::new(Self { apart, ..self.clone() }))
    }
}
