//! Changes of the leases of elastic consumer groups, as parts of transactions. The clock is the clock of the machine.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};
use uuid::Uuid;

use super::failure::Failed;
use crate::store::{Fence, Membership, SlotRecord, SlotSave};
use crate::{Json, Result};

/// A change of a group.
#[derive(Debug)]
pub(super) enum LeaseChange {
    Create(String, Vec<Json>),
    /// The last value is whether the member wants slots.
    Renew(Membership, Duration, bool),
    Claim(Membership, Vec<SlotRecord>),
    Save(Membership, Vec<SlotSave>),
    Leave(Membership),
    Set(String, Vec<(SlotRecord, Json)>),
}

/// The result of a change.
#[derive(Debug)]
pub(super) enum LeaseChanged {
    /// Whether it was carried out.
    Done(bool),
    Claimed(Vec<SlotRecord>),
    Saved(Vec<u16>),
}

impl LeaseChanged {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done(true))
    }
}

/// Carries out a change, as a part of a transaction.
pub(super) fn change(transaction: &Transaction<'_>, change: &LeaseChange) -> rusqlite::Result<LeaseChanged> {
    let now = Timestamp::now().as_microsecond();
    Ok(match change {
        LeaseChange::Create(group, progress) => {
            let sql = include_str!("sql/create_slot.sql");
            if slots_of(transaction, group, now)?.is_empty() {
                for (number, progress) in (0_u16..).zip(progress) {
                    transaction.prepare_cached(sql)?.execute((group, number, progress.as_str(), now))?;
                }
            }
            LeaseChanged::Done(true)
        }
        LeaseChange::Renew(Membership { group, name, id }, time, wants_slots) => {
            let sql = include_str!("sql/renew_member.sql");
            let until = now.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
            let renewed =
                transaction.prepare_cached(sql)?.execute((group, name, id.as_bytes(), until, now, wants_slots))?;
            LeaseChanged::Done(renewed > 0)
        }
        LeaseChange::Claim(member, wanted) => LeaseChanged::Claimed(claim(transaction, member, wanted, now)?),
        LeaseChange::Save(member, saves) => LeaseChanged::Saved(save(transaction, member, saves, now)?),
        LeaseChange::Leave(Membership { group, id, .. }) => {
            transaction.prepare_cached(include_str!("sql/remove_member.sql"))?.execute((group, id.as_bytes()))?;
            let sql = include_str!("sql/release_slots_of.sql");
            transaction.prepare_cached(sql)?.execute((group, id.as_bytes(), now))?;
            LeaseChanged::Done(true)
        }
        LeaseChange::Set(group, changes) => {
            let found = slots_of(transaction, group, now)?;
            let is_same = |wanted: &SlotRecord, found: &SlotRecord| {
                (found.number, found.epoch, found.saves) == (wanted.number, wanted.epoch, wanted.saves)
            };
            let is_unchanged = changes.iter().all(|(wanted, _)| found.iter().any(|found| is_same(wanted, found)));
            if is_unchanged {
                let sql = include_str!("sql/set_slot.sql");
                for (slot, progress) in changes {
                    transaction.prepare_cached(sql)?.execute((group, slot.number, progress.as_str(), now))?;
                }
            }
            LeaseChanged::Done(is_unchanged)
        }
    })
}

fn claim(
    transaction: &Transaction<'_>,
    Membership { group, id, .. }: &Membership,
    wanted: &[SlotRecord],
    now: i64,
) -> rusqlite::Result<Vec<SlotRecord>> {
    let mut claimed = Vec::new();
    if !has_lease(transaction, group, *id, now)? {
        return Ok(claimed);
    }
    for mut slot in slots_of(transaction, group, now)? {
        let is_wanted = wanted.iter().any(|wanted| (wanted.number, wanted.epoch) == (slot.number, slot.epoch));
        if is_wanted && slot.owner.is_none() {
            let sql = include_str!("sql/claim_slot.sql");
            transaction.prepare_cached(sql)?.execute((group, slot.number, id.as_bytes(), now))?;
            (slot.owner, slot.epoch, slot.owned_or_free_for) = (Some(*id), slot.epoch + 1, Duration::ZERO);
            claimed.push(slot);
        }
    }
    Ok(claimed)
}

fn save(
    transaction: &Transaction<'_>,
    Membership { group, id, .. }: &Membership,
    saves: &[SlotSave],
    now: i64,
) -> rusqlite::Result<Vec<u16>> {
    let mut saved = Vec::new();
    if !has_lease(transaction, group, *id, now)? {
        return Ok(saved);
    }
    for SlotSave { number, epoch, progress, is_release } in saves {
        let progress = progress.as_ref().and_then(Json::as_str);
        let sql = include_str!("sql/save_slot.sql");
        let parameters = (group, number, epoch, id.as_bytes(), progress, is_release, now);
        if transaction.prepare_cached(sql)?.execute(parameters)? > 0 {
            saved.push(*number);
        }
    }
    Ok(saved)
}

/// Fails unless the member owns the slot of the fence, and has a lease.
pub(super) fn assert_owned(transaction: &Connection, fence: &Fence) -> Result<(), Failed> {
    let Fence { member: Membership { group, id, .. }, slot, epoch } = fence;
    let sql = include_str!("sql/owned_slot.sql");
    let parameters = (group, slot, epoch, id.as_bytes());
    let owned: Option<i64> = transaction.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()?;
    if owned.is_some() && has_lease(transaction, group, *id, Timestamp::now().as_microsecond())? {
        return Ok(());
    }
    Err(fence.lost().into())
}

fn has_lease(transaction: &Connection, group: &str, id: Uuid, now: i64) -> rusqlite::Result<bool> {
    let sql = include_str!("sql/has_lease.sql");
    transaction.prepare_cached(sql)?.query_row((group, id.as_bytes(), now), |row| row.get(0))
}

pub(super) fn slots_of(connection: &Connection, group: &str, now: i64) -> rusqlite::Result<Vec<SlotRecord>> {
    let mut statement = connection.prepare_cached(include_str!("sql/group_slots.sql"))?;
    statement.query_map((group, now), |row| slot_in(row, now))?.collect()
}

fn slot_in(row: &Row<'_>, now: i64) -> rusqlite::Result<SlotRecord> {
    let mut slot = SlotRecord::new(row.get(0)?, Json::from_database(row.get(3)?));
    slot.owner = row.get::<_, Option<[u8; 16]>>(1)?.map(id);
    slot.epoch = row.get(2)?;
    slot.saves = row.get(4)?;
    slot.owned_or_free_for = since(now, row.get(5)?);
    let saved_at: Option<i64> = row.get(6)?;
    slot.saved_at = saved_at.and_then(|at| Timestamp::from_microsecond(at).ok());
    Ok(slot)
}

pub(super) fn id(bytes: [u8; 16]) -> Uuid {
    Uuid::from_bytes(bytes)
}

/// The time from `earlier` to `later`, both in microseconds. The clock may have been set back.
pub(super) fn since(later: i64, earlier: i64) -> Duration {
    Duration::from_micros(later.saturating_sub(earlier).try_into().unwrap_or_default())
}
