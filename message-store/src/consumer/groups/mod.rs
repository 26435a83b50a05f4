//! Elastic groups: consumers that divide a category among themselves, and take over from each other.
//!
//! Problem: the members of a group come and go, and may stand still without an end. Each entity must have one member at a
//! time, and a member that continues after a pause must not undo what its successor has done. Fix: the entities are
//! divided into a fixed number of slots. A member claims slots for itself while its lease lasts, and every write of its
//! consumer for a slot names the epoch in which the member owns the slot. Why it is right: the store refuses a write of
//! an earlier epoch (see [`crate::store::Leases`]), and a slot's progress is saved before the slot is released. Why no
//! slot waits for ever: each member sees the same members and slots, computes the same shares, and takes what is free.

mod beginnings;
mod elastic_group;
mod group_status;
mod keeper;
mod membership;
mod owned_slots;
mod plan;
mod share;
mod slot_positions;

pub(in crate::consumer) use beginnings::create_group;
pub use elastic_group::ElasticGroup;
pub(in crate::consumer) use group_status::progress_of;
pub use group_status::{GroupStatus, SlotStatus};
pub(in crate::consumer) use keeper::{Change, Keeper};
pub(in crate::consumer) use membership::join;
pub(in crate::consumer) use owned_slots::OwnedSlots;
pub(in crate::consumer) use share::Share;
pub(in crate::consumer) use slot_positions::SlotPositions;
