//! The leases of elastic consumer groups. The writer's thread carries out each call that writes, so that a call is a part
//! of one transaction, and the file's turns are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;

use super::lease_changes::{LeaseChange, LeaseChanged, id, since, slots_of};
use super::readers::Readers;
use super::writer::Writer;
use crate::store::{GroupRecord, Leases, MemberRecord, Membership, SlotRecord, SlotSave};
use crate::{Error, History, Json, Result};

/// The leases in a file, over the connections of its store. They are threads of their own, so heartbeats wait for no
/// runtime.
#[derive(Clone, Debug)]
pub(super) struct SqliteLeases {
    pub(super) readers: Readers,
    pub(super) writer: Writer,
    /// The number of rotations of the identity by the store's handle.
    pub(super) rotations: Arc<AtomicU64>,
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
                Ok(MemberRecord::new(
                    row.get::<_, String>(0)?,
                    id(row.get(1)?),
                    since(row.get::<_, i64>(2)?, now),
                    row.get(3)?,
                ))
            })?;
            let members = members.collect::<rusqlite::Result<_>>()?;
            Ok(GroupRecord::new(members, slots_of(connection, &group, now)?))
        };
        self.readers.read("reading a group", read).await
    }

    async fn renew(&self, member: &Membership, time: Duration, wants_slots: bool) -> Result<bool> {
        let change = LeaseChange::Renew(member.clone(), time, wants_slots);
        self.writer.change_lease(change).await.map(|changed| changed.is_done())
    }

    async fn claim(&self, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
        match self.writer.change_lease(LeaseChange::Claim(member.clone(), slots.to_vec())).await? {
            LeaseChanged::Claimed(slots) => Ok(slots),
            _ => Ok(Vec::new()),
        }
    }

    async fn save(&self, member: &Membership, saves: Vec<SlotSave>, history: Option<History>) -> Result<Vec<u16>> {
        if history.is_some_and(|history| history != History(self.rotations.load(Ordering::SeqCst))) {
            return Err(Error::HistoryChanged { store: "the SQLite store".to_owned() });
        }
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
