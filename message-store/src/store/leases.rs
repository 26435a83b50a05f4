//! An optional part of a store: leases on the slots of elastic consumer groups.
//!
//! Problem: the members of a group divide its slots among themselves, and a member can stand still for a while, and then
//! go on as if nothing had happened. Fix: a member owns its slots while its lease lasts, by the database's clock. Each
//! change of a slot's owner begins a new epoch of the slot, and everything that an owner writes names the epoch. Why it
//! is right: a write of an earlier owner names an earlier epoch, so the store refuses it, whatever the clock of the
//! owner shows.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{Error, History, Json, Result};

/// The leases of groups. [`Consumer::elastic_group`](crate::consumer::Consumer::elastic_group) uses them.
///
/// Every time is of the database's clock.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Creates a group with one slot for each element, in its first epoch, without an owner. An element is the progress
    /// of its slot. If the group exists, this changes nothing.
    async fn create_group(&self, group: &str, progress: Vec<Json>) -> Result<()>;

    /// The names of all groups that were created, in order.
    async fn groups(&self) -> Result<Vec<String>>;

    /// The members and slots of a group. Both are empty if it was never created.
    async fn group(&self, group: &str) -> Result<GroupRecord>;

    /// Gives a member a lease that ends after `time` from now. Returns `false`, and gives none, if another member of
    /// the same name has a lease. The member joins the group by its first lease, and keeps its slots when it renews one
    /// that has ended. `wants_slots` is false for a member that is about to leave: others do not leave it a share.
    async fn renew(&self, member: &Membership, time: Duration, wants_slots: bool) -> Result<bool>;

    /// Makes the member the owner of those of these slots that have no owner with a lease, and are still in the epochs of
    /// the records. Begins a new epoch of each, and returns them. A member without a lease gets none.
    async fn claim(&self, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>>;

    /// Saves the progress of slots, and releases those that say so. Returns the slots that were saved. A slot is not
    /// saved if the member no longer owns it in the epoch of the save, or its lease has ended. A save may be tied to the
    /// history ([`MessageStore::history`](crate::MessageStore::history)) to which the progress belongs.
    ///
    /// # Errors
    /// [`HistoryChanged`](crate::Error::HistoryChanged) in another history: nothing is saved.
    async fn save(&self, member: &Membership, saves: Vec<SlotSave>, history: Option<History>) -> Result<Vec<u16>>;

    /// Ends the member's lease, and releases its slots.
    async fn leave(&self, member: &Membership) -> Result<()>;

    /// Sets the progress of slots for an operator, and releases them. Begins a new epoch of each. Returns `false`, and
    /// changes nothing, if a slot has been claimed or saved since its record was read.
    async fn set_progress(&self, group: &str, slots: Vec<(SlotRecord, Json)>) -> Result<bool>;

    /// The same leases, for the heartbeats of one member: calls need nothing that other callers of the store can keep
    /// busy, such as a connection of its pool or another runtime than the caller's.
    async fn apart(&self) -> Result<Arc<dyn Leases>>;
}

/// A member of a group. Each start of a process is another member, perhaps with the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Membership {
    #[allow(missing_docs)]
    pub group: String,
    /// Only one member of a name can have a lease.
    pub name: String,
    /// The member itself.
    pub id: Uuid,
}

impl Membership {
    /// A new member.
    pub fn new(group: impl Into<String>, name: impl Into<String>) -> Self {
        Self { group: group.into(), name: name.into(), id: Uuid::now_v7() }
    }
}

/// The state of a group.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GroupRecord {
    /// The members that have a lease, in the order of their names.
    pub members: Vec<MemberRecord>,
    /// In the order of their numbers, from 0.
    pub slots: Vec<SlotRecord>,
}

impl GroupRecord {
    /// A group with these members and slots.
    pub fn new(members: Vec<MemberRecord>, slots: Vec<SlotRecord>) -> Self {
        Self { members, slots }
    }
}

/// A member that has a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberRecord {
    #[allow(missing_docs)]
    pub name: String,
    #[allow(missing_docs)]
    pub id: Uuid,
    /// The rest of its lease.
    pub lease_left: Duration,
    /// Whether it wants slots, or is about to leave.
    pub wants_slots: bool,
}

impl MemberRecord {
    /// A member with this rest of its lease.
    pub fn new(name: impl Into<String>, id: Uuid, lease_left: Duration, wants_slots: bool) -> Self {
        Self { name: name.into(), id, lease_left, wants_slots }
    }
}

/// A slot of a group.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlotRecord {
    #[allow(missing_docs)]
    pub number: u16,
    /// The owner, if it has a lease.
    pub owner: Option<Uuid>,
    /// The number of changes of the owner, from 0. A release is none.
    pub epoch: i64,
    /// The progress that was saved last.
    pub progress: Json,
    /// The number of saves.
    pub saves: i64,
    /// The time since the last claim, release or end of the owner's lease.
    pub owned_or_free_for: Duration,
    /// The time of the last save. `None` before the first.
    pub saved_at: Option<Timestamp>,
}

impl SlotRecord {
    /// A slot without an owner, in its first epoch.
    pub fn new(number: u16, progress: Json) -> Self {
        Self { number, owner: None, epoch: 0, progress, saves: 0, owned_or_free_for: Duration::ZERO, saved_at: None }
    }
}

/// A save of a slot's progress.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlotSave {
    /// The slot.
    pub number: u16,
    /// The epoch in which the member owns the slot.
    pub epoch: i64,
    /// `None`: the progress does not change.
    pub progress: Option<Json>,
    /// Whether the slot is released.
    pub is_release: bool,
}

impl SlotSave {
    /// A save of this progress.
    pub fn new(number: u16, epoch: i64, progress: Json) -> Self {
        Self { number, epoch, progress: Some(progress), is_release: false }
    }

    /// A release of the slot, without a save.
    pub fn release_of(number: u16, epoch: i64) -> Self {
        Self { number, epoch, progress: None, is_release: true }
    }

    /// Releases the slot too.
    #[must_use]
    pub fn and_release(mut self) -> Self {
        self.is_release = true;
        self
    }
}

/// The right of a slot's owner to write. An append with a fence is refused when the owner has lost the slot or its
/// lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fence {
    /// The owner.
    pub member: Membership,
    /// The slot.
    pub slot: u16,
    /// The epoch in which it owns the slot.
    pub epoch: i64,
}

impl Fence {
    /// The fence of a slot that this member owns in this epoch.
    pub fn new(member: Membership, slot: u16, epoch: i64) -> Self {
        Self { member, slot, epoch }
    }

    /// The error of an append that is refused.
    pub fn lost(&self) -> Error {
        Error::SlotLost { group: self.member.group.clone(), slot: self.slot, epoch: self.epoch }
    }
}
