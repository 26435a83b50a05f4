//! The leases of elastic consumer groups. The writer's thread carries out each call that writes, so that a call is a part
//! of one transaction, and the file's turns are kept. The clock is the clock of the machine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};
use uuid::Uuid;

use super::failure::Failed;
use super::readers::Readers;
use super::writer::Writer;
use crate::store::{Fence, GroupRecord, Leases, MemberRecord, Membership, SlotRecord, SlotSave};
use crate::{Json, Result};

/// The leases in a file, over the connections of its store. They are threads of their own, so heartbeats wait for no
/// runtime.
#[derive(Clone, Debug)]
pub(super) struct SqliteLeases {
    pub(super) readers: Readers,
    pub(super) writer: Writer,
}

/// A change of a group.
#[derive(Debug)]
pub(super) enum LeaseChange {
    Create(String, Vec<Json>),
    Renew(Membership, Duration),
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
    fn is_done(&self) -> bool {
        matches!(self, Self::Done(true))
    }
}

#[async_trait]
impl Leases for SqliteLeases {
    async fn create_group(&self, group: &str, progress: Vec<Json>) -> Result<()> {
        self.writer.change_lease(LeaseChange::Create(group.to_owned(), progress)).await.map(drop)
    }

    async fn groups(&self) -> Result<Vec<String>> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare_cached(include_str!("sql/groups.sql"))?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        self.readers.read("listing groups", read).await
    }

    async fn group(&self, group: &str) -> Result<GroupRecord> {
        let group = group.to_owned();
        let read = move |connection: &Connection| {
            let now = Timestamp::now().as_microsecond();
            let mut members = connection.prepare_cached(include_str!("sql/group_members.sql"))?;
            let members = members.query_map((&group, now), |row| {
                Ok(MemberRecord::new(row.get::<_, String>(0)?, id(row.get(1)?), since(row.get::<_, i64>(2)?, now)))
            })?;
            let members = members.collect::<rusqlite::Result<_>>()?;
            let mut slots = connection.prepare_cached(include_str!("sql/group_slots.sql"))?;
            let slots = slots.query_map((&group, now), |row| slot_in(row, now))?;
            Ok(GroupRecord::new(members, slots.collect::<rusqlite::Result<_>>()?))
        };
        self.readers.read("reading a group", read).await
    }

    async fn renew(&self, member: &Membership, time: Duration) -> Result<bool> {
        let change = LeaseChange::Renew(member.clone(), time);
        self.writer.change_lease(change).await.map(|changed| changed.is_done())
    }

    async fn claim(&self, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
        match self.writer.change_lease(LeaseChange::Claim(member.clone(), slots.to_vec())).await? {
            LeaseChanged::Claimed(slots) => Ok(slots),
            _ => Ok(Vec::new()),
        }
    }

    async fn save(&self, member: &Membership, saves: Vec<SlotSave>) -> Result<Vec<u16>> {
        match self.writer.change_lease(LeaseChange::Save(member.clone(), saves)).await? {
            LeaseChanged::Saved(slots) => Ok(slots),
            _ => Ok(Vec::new()),
        }
    }

    async fn leave(&self, member: &Membership) -> Result<()> {
        self.writer.change_lease(LeaseChange::Leave(member.clone())).await.map(drop)
    }

    async fn set_progress(&self, group: &str, slots: Vec<(SlotRecord, Json)>) -> Result<bool> {
        let change = LeaseChange::Set(group.to_owned(), slots);
        self.writer.change_lease(change).await.map(|changed| changed.is_done())
    }

    async fn apart(&self) -> Result<Arc<dyn Leases>> {
        Ok(Arc::new(self.clone()))
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
        LeaseChange::Renew(Membership { group, name, id }, time) => {
            let sql = include_str!("sql/renew_member.sql");
            let until = now.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
            let renewed = transaction.prepare_cached(sql)?.execute((group, name, id.as_bytes(), until, now))?;
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
pub(super) fn assert_owned(transaction: &Transaction<'_>, fence: &Fence) -> Result<(), Failed> {
    let Fence { member: Membership { group, id, .. }, slot, epoch } = fence;
    let sql = include_str!("sql/owned_slot.sql");
    let parameters = (group, slot, epoch, id.as_bytes());
    let owned: Option<i64> = transaction.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()?;
    if owned.is_some() && has_lease(transaction, group, *id, Timestamp::now().as_microsecond())? {
        return Ok(());
    }
    Err(fence.lost().into())
}

fn has_lease(transaction: &Transaction<'_>, group: &str, id: Uuid, now: i64) -> rusqlite::Result<bool> {
    let sql = include_str!("sql/has_lease.sql");
    transaction.prepare_cached(sql)?.query_row((group, id.as_bytes(), now), |row| row.get(0))
}

fn slots_of(connection: &Connection, group: &str, now: i64) -> rusqlite::Result<Vec<SlotRecord>> {
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

fn id(bytes: [u8; 16]) -> Uuid {
    Uuid::from_bytes(bytes)
}

/// The time from `earlier` to `later`, both in microseconds. The clock may have been set back.
fn since(later: i64, earlier: i64) -> Duration {
    Duration::from_micros(later.saturating_sub(earlier).try_into().unwrap_or_default())
}
