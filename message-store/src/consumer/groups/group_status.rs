//! The status of an elastic group, for operators.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::consumer::position_store::{PositionStore, Progress};
use crate::store::{GroupRecord, MemberRecord, SlotRecord};
use crate::{Category, Error, GlobalPosition, MessageStore, Result};

/// The members and slots of an elastic group, as they were read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupStatus {
    /// The name of the group, which begins with its category.
    pub group: String,
    /// The members that have a lease, in the order of their names.
    pub members: Vec<MemberRecord>,
    /// In the order of their numbers.
    pub slots: Vec<SlotStatus>,
    /// The time of the read, by the database's clock.
    pub at: Timestamp,
}

/// A slot of an elastic group.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlotStatus {
    #[allow(missing_docs)]
    pub number: u16,
    /// The name of the owner, if it has a lease.
    pub owner: Option<String>,
    /// The number of changes of the owner.
    pub epoch: i64,
    /// The global position up to which all messages of the slot are handled.
    pub position: GlobalPosition,
    /// The time since the last claim, release or end of the owner's lease.
    pub owned_or_free_for: Duration,
    /// The time of the last save.
    pub saved_at: Option<Timestamp>,
}

impl GroupStatus {
    /// The status of the group of a category and an identifier. `None` if it was never created.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid category; the store's errors.
    pub async fn of(store: &Arc<dyn MessageStore>, category: &str, identifier: Option<&str>) -> Result<Option<Self>> {
        let group = PositionStore::stream_name(&Category::new(category)?, identifier)?;
        let Some(leases) = store.leases() else { return Ok(None) };
        let record = leases.group(group.as_str()).await?;
        if record.slots.is_empty() {
            return Ok(None);
        }
        Self::from_record(group.as_str(), record, store.now().await?).map(Some)
    }

    pub(in crate::consumer) fn from_record(group: &str, record: GroupRecord, at: Timestamp) -> Result<Self> {
        let GroupRecord { members, slots, .. } = record;
        let status = |slot: SlotRecord| {
            let owner = members.iter().find(|member| Some(member.id) == slot.owner).map(|member| member.name.clone());
            Ok(SlotStatus {
                number: slot.number,
                owner,
                epoch: slot.epoch,
                position: progress_of(group, &slot)?.position,
                owned_or_free_for: slot.owned_or_free_for,
                saved_at: slot.saved_at,
            })
        };
        let slots = slots.into_iter().map(status).collect::<Result<_>>()?;
        Ok(Self { group: group.to_owned(), members, slots, at })
    }

    /// The slots without an owner that has a lease. No member handles their messages.
    pub fn unowned(&self) -> impl Iterator<Item = &SlotStatus> {
        self.slots.iter().filter(|slot| slot.owner.is_none())
    }

    /// The longest time for which a slot is without an owner.
    pub fn oldest_unowned(&self) -> Option<Duration> {
        self.unowned().map(|slot| slot.owned_or_free_for).max()
    }

    /// The slots whose owner has a lease, has been the owner for `time`, and in that time saved no progress although
    /// messages of the category wait. `end` is the category's end ([`Backlog::end`](crate::store::Backlog::end)).
    pub fn idle(&self, end: GlobalPosition, time: Duration) -> impl Iterator<Item = &SlotStatus> {
        let since = SignedDuration::try_from(time).ok().and_then(|time| self.at.checked_sub(time).ok());
        let is_old = move |saved_at: Option<Timestamp>| {
            saved_at.is_none_or(|saved_at| since.is_some_and(|since| saved_at < since))
        };
        self.slots.iter().filter(move |slot| {
            slot.owner.is_some() && slot.position < end && slot.owned_or_free_for >= time && is_old(slot.saved_at)
        })
    }
}

/// The progress of a slot.
///
/// # Errors
/// [`Error::Backend`] for progress that another program wrote.
pub(in crate::consumer) fn progress_of(group: &str, slot: &SlotRecord) -> Result<Progress> {
    slot.progress.decode().map_err(|error| {
        Error::backend(format!("reading the progress of slot {} of {group}", slot.number), false, error)
    })
}
